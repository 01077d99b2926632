"""What touches the pixels of a file that somebody sent: runs only as a child process of photos.py, under
limits of memory, time, files and core dumps, with an empty environment.

It speaks over stdin and stdout: a line of JSON, then `size` bytes. It imports nothing of Everystall, so it
starts in a tenth of a second, reads no file and no setting, and ends when its stdin does. It never writes
a file and never answers with anything but JSON and JPEG bytes (no pickle: a child taken over by a hostile
file must not reach its parent).
"""

from __future__ import annotations

import io
import json
import resource
import sys
import warnings
from contextlib import suppress
from typing import Any, BinaryIO

from PIL import Image, ImageChops, ImageCms, ImageFile, ImageOps, ImageStat, UnidentifiedImageError

#: More is a bomb: 40 megapixels are 160 MB as RGBA; a warning of Pillow's is an error here.
MAX_PIXELS = 40_000_000
#: Shortest side that a buyer could see anything on.
MIN_SIDE = 50
#: Address space of the child: 40 megapixels decoded, laid on white and turned, and Python itself.
MEMORY_BYTES = 1_500_000_000
#: Processor seconds for one file.
CPU_SECONDS = 20
#: Pillow's names → what we call them. MPO is what many phones write as .jpg; opened as JPEG.
#: HEIF is what iPhones write (.heic), and comes with pillow-heif.
FORMATS = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp",
           "GIF": "image/gif", "AVIF": "image/avif", "HEIF": "image/heic"}  # fmt: skip
#: How such a file begins, at byte 8.
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
#: The middles, by width / height, that a fingerprint knows a photo by besides its whole: what sites cut to.
MIDDLES = (1.0, 4 / 3, 3 / 4)
#: Levels of 255 up to which a margin counts as plain: JPEG leaves a few around a white ground's edges.
PLAIN = 16
#: Never below this quality; rather fewer pixels.
MIN_QUALITY = 45
WHITE = (255, 255, 255)


class Unusable(Exception):
    """The file is no photo we can use; the message is for the person who sent it."""


def main(source: BinaryIO, sink: BinaryIO) -> None:
    """Answers until stdin ends."""
    confine()
    sink.write(json.dumps({"ready": True, "formats": formats()}).encode() + b"\n")
    sink.flush()
    while line := source.readline():
        request = json.loads(line)
        data = source.read(request["size"])
        used = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + CPU_SECONDS, soft_only=True)
        answer, made = reply(request, data)
        sink.write(json.dumps({**answer, "size": len(made)}).encode() + b"\n" + made)
        sink.flush()
        if answer.get("last"):
            return


def confine() -> None:
    """The limits of this process, for good. What a system lacks (macOS has no RLIMIT_AS) is left out."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.preinit()
    Image.init()
    ImageCms.createProfile("sRGB")
    with suppress(ImportError):  # where there is no wheel of it, HEIC is refused in words
        from pillow_heif import register_heif_opener

        # in this thread, and the photo only: a thumbnail could be of something else
        register_heif_opener(decode_threads=0, thumbnails=False, depth_images=False, aux_images=False)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, 32)
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)


def formats() -> list[str]:
    """Pillow's names of what this Pillow can read, of what we take."""
    return [name for name in FORMATS if name in Image.OPEN]


def reply(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """({"ok": …} or {"refused": words}, bytes). After running out of memory also "last": we end."""
    try:
        if request["do"] == "look":
            return {"ok": look(data)}, b""
        if request["do"] == "dhash":
            return {"ok": dhash(data)}, b""
        if request["do"] == "fingerprint":
            return {"ok": fingerprint(data, request["turn"])}, b""
        return {"ok": True}, render(data, **request["rule"])
    except Unusable as e:
        return {"refused": str(e)}, b""
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return {"refused": f"The photo has more than {MAX_PIXELS // 1_000_000} megapixels."}, b""
    except MemoryError:
        return {"refused": "The photo needs more memory than a photo may.", "last": True}, b""
    except (
        Exception
    ) as e:  # whatever a decoder raises on a broken file: SyntaxError, struct.error, EOFError …
        return {"refused": "The photo is damaged or cut off.", "because": type(e).__name__}, b""


def look(data: bytes) -> dict[str, Any]:
    """Decodes all of it; {"width", "height" upright, "content_type"}."""
    image = _open(data)
    content_type = FORMATS[image.format or ""]
    image.load()
    width, height = _turned(image)
    if min(width, height) < MIN_SIDE:
        raise Unusable(f"The photo is {width} x {height} pixels; each side needs {MIN_SIDE} at least.")
    return {"width": width, "height": height, "content_type": content_type}


def render(
    data: bytes, longest_side: int, quality: int, ratio: float | None, max_bytes: int, turn: int = 0
) -> bytes:
    """A JPEG: upright, then turned clockwise by so many degrees, sRGB, no metadata, the whole photo on white
    in the ratio asked for, no side longer than asked for, never enlarged, quality (then size) lowered until
    it fits `max_bytes`."""
    image = _open(data)
    if image.format in ("JPEG", "MPO"):
        image.draft(None, (longest_side, longest_side))  # decodes at 1/2, 1/4, 1/8 where that is enough
    upright = _on_white(_clockwise(_upright(image), turn))
    while True:
        placed = _fitted(upright, longest_side, ratio)
        for step in range(quality, min(MIN_QUALITY, quality) - 1, -9):
            made = io.BytesIO()
            placed.save(made, "JPEG", quality=step)
            if made.tell() <= max_bytes:
                return made.getvalue()
        longest_side = int(max(placed.size) * 0.8)
        if longest_side < MIN_SIDE:
            raise Unusable(f"The photo cannot be made smaller than {max_bytes} bytes.")


def dhash(data: bytes) -> str:
    """64 bits as 16 hex digits: is each pixel of a 9 x 8 grey miniature brighter than its right neighbour?
    Survives recompression and scaling. Our own few lines: imagehash would bring SciPy and PyWavelets."""
    image = _open(data)
    image.draft("L", (72, 64))
    return _difference(_on_white(_upright(image)))


def fingerprint(data: bytes, turn: int = 0) -> dict[str, Any]:
    """{"views": dhashes of the whole, of its MIDDLES and of it without plain margins, "tints": the mean [red,
    green, blue] of the centre of each}. A site that cuts a photo to one of these middles, or lays it on a
    plain ground, leaves one view as it was; a dhash knows no colour, hence the tints."""
    image = _open(data)
    image.draft("RGB", (160, 160))
    photo = _on_white(_clockwise(_upright(image), turn))
    views = [photo, *(_middle(photo, ratio) for ratio in MIDDLES), _without_margins(photo)]
    return {"views": [_difference(view) for view in views], "tints": [_tint(view) for view in views]}


# ---- parts ----------------------------------------------------------------------------------------


def _difference(photo: Image.Image) -> str:
    small = photo.convert("L").resize((9, 8), Image.Resampling.BOX)
    pixels = small.tobytes()
    bits = 0
    for row in range(8):
        for column in range(8):
            at = row * 9 + column
            bits = bits << 1 | (pixels[at] > pixels[at + 1])
    return f"{bits:016x}"


def _tint(photo: Image.Image) -> list[int]:
    width, height = photo.size
    centre = photo.crop((width // 4, height // 4, width - width // 4, height - height // 4))
    return [round(mean) for mean in ImageStat.Stat(centre).mean]


def _middle(photo: Image.Image, ratio: float) -> Image.Image:
    """The largest part of this ratio (width / height) around the centre."""
    width = min(photo.width, max(1, round(photo.height * ratio)))
    height = min(photo.height, max(1, round(photo.width / ratio)))
    left, top = (photo.width - width) // 2, (photo.height - height) // 2
    return photo.crop((left, top, left + width, top + height))


def _without_margins(photo: Image.Image) -> Image.Image:
    """Without the rows and columns around it that are plainly of its corner's colour; all of it where nothing
    else is there."""
    ground = Image.new("RGB", photo.size, photo.getpixel((0, 0)))
    beyond = ImageChops.difference(photo, ground).convert("L").point(lambda level: 255 * (level > PLAIN))
    return photo.crop(beyond.getbbox())


def _open(data: bytes) -> Image.Image:
    """The first frame, not yet decoded. Only the listed formats are tried."""
    try:
        return Image.open(io.BytesIO(data), formats=formats())
    except UnidentifiedImageError:
        if data[4:8] == b"ftyp" and data[8:12] in HEIC:
            raise Unusable(
                "The photo is HEIC that cannot be read here, damaged or of a rare kind; save it as JPEG "
                "(iPhone: Settings, Camera, Formats, Most Compatible)."
            ) from None
        raise Unusable(
            "The file is not a photo that can be read (JPEG, HEIC, PNG, WebP, AVIF or GIF)."
        ) from None


def _orientation(image: Image.Image) -> int:
    """EXIF's 1 to 8; 1 where it says nothing or nonsense, and for HEIC, which comes out of its decoder
    upright whatever its EXIF says."""
    if image.format == "HEIF":
        return 1
    try:
        found = image.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF of a sound photo
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _turned(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def _upright(image: Image.Image) -> Image.Image:
    if _orientation(image) == 1:
        image.load()
        return image
    return ImageOps.exif_transpose(image)


#: Pillow turns the other way round.
_TURNS = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}


def _clockwise(image: Image.Image, turn: int) -> Image.Image:
    return image.transpose(_TURNS[turn]) if turn else image


def _on_white(image: Image.Image) -> Image.Image:
    """sRGB on white, in a new image that has no metadata of the old one."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith(("I", "F")):
        # 16-bit grey: scaled, where Pillow's own conversion would clip
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
        profile = None
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    if alpha is not None:
        image = image.convert("RGB")
    if profile:
        image = _to_srgb(image, profile)
    clean = Image.new("RGB", image.size, WHITE)
    clean.paste(image.convert("RGB"), mask=alpha)
    return clean


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Converted if the profile says something else than sRGB; as it is where the profile is damaged."""
    with suppress(ImageCms.PyCMSError, OSError, ValueError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        if converted is not None:
            return converted
    return image


def _fitted(photo: Image.Image, longest_side: int, ratio: float | None) -> Image.Image:
    """The whole photo, scaled down where needed, on a white ground of the ratio (width / height)."""
    width, height = photo.size
    ground_width, ground_height = float(width), float(height)
    if ratio is not None:
        ground_width, ground_height = max(width, height * ratio), max(height, width / ratio)
    scale = min(1.0, longest_side / max(ground_width, ground_height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size != photo.size:
        photo = photo.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    if ratio is None:
        return photo
    ground = Image.new(
        "RGB", (max(size[0], round(ground_width * scale)), max(size[1], round(ground_height * scale))), WHITE
    )
    ground.paste(photo, ((ground.width - size[0]) // 2, (ground.height - size[1]) // 2))
    return ground


def _limit(which: int, value: int, *, soft_only: bool = False) -> None:
    with suppress(ValueError, OSError):
        hard = resource.getrlimit(which)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(which, (value, hard if soft_only else value))


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
