"""Photos come in whole or not at all, keep their bytes, and go out upright, clean and uncropped."""

import asyncio
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import textwrap
import zlib
from contextlib import suppress
from pathlib import Path

import pillow_heif
import pytest
import structlog
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw

from everystall import doctor
from everystall.content import photos as photos_module
from everystall.content.photos import PHOTO_DISTANCE, Photos, hamming
from everystall.errors import Misconfigured, NotFound, PhotoMissing, PhotoRefused, StorageFull
from everystall.marketplaces.base import PhotoRule, photo_name
from everystall.settings import Settings

pillow_heif.register_heif_opener()  # to write HEIC here; what reads it is the child
RULE = PhotoRule(max_count=16, longest_side=800)
DEMO = sorted((Path(photos_module.__file__).parents[1] / "demo" / "photos").glob("*.jpg"))


@pytest.fixture
async def photos(tmp_path):
    store = Photos(Settings(_env_file=None, everystall_home=tmp_path))
    yield store
    await store.close()


def picture(width=240, height=160, mode="RGB"):
    """Red left, blue right, a green bar on top: every turn of it looks different."""
    image = Image.new("RGB", (width, height), (220, 30, 30))
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 2, 0, width, height), fill=(30, 30, 220))
    draw.rectangle((0, 0, width, height // 5), fill=(30, 200, 30))
    return image.convert(mode)


def encoded(image, kind="JPEG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def decoded(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def near(pixel, wanted, by=24):
    return all(abs(a - b) <= by for a, b in zip(pixel, wanted, strict=True))


async def rendered(photos, data, rule=RULE):
    return decoded(await photos.rendition((await photos.put(data)).sha256, rule))


# ---- keeping --------------------------------------------------------------------------------------


async def test_an_original_keeps_its_bytes_under_their_hash(photos, tmp_path):
    data = encoded(picture(), exif=_exif(6)) + b"trailing bytes of a phone"
    stored = await photos.put(data)
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert (stored.width, stored.height) == (160, 240)
    assert stored.content_type == "image/jpeg"
    assert stored.byte_size == len(data)
    assert await photos.get(stored.sha256) == data
    assert (tmp_path / "photos" / "originals" / stored.sha256).read_bytes() == data


async def test_the_same_bytes_twice_are_one_photo(photos, tmp_path):
    data = encoded(picture())
    assert await photos.put(data) == await photos.put(data)
    assert len(list((tmp_path / "photos" / "originals").iterdir())) == 1


async def test_the_folder_is_the_owners_alone(photos, tmp_path):
    assert (tmp_path / "photos").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("demo", DEMO, ids=lambda p: p.name)
async def test_a_real_photograph_comes_through(photos, demo):
    data = demo.read_bytes()
    stored = await photos.put(data)
    sent = decoded(await photos.rendition(stored.sha256, RULE))
    assert max(sent.size) == 800
    assert sent.width / sent.height == pytest.approx(stored.width / stored.height, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp"), ("GIF", "image/gif"),
     ("AVIF", "image/avif"), ("HEIF", "image/heic")],
)  # fmt: skip
async def test_each_format_is_taken_and_sent_as_jpeg(photos, kind, content_type):
    data = encoded(picture(), kind)
    assert (await photos.put(data)).content_type == content_type
    sent = await rendered(photos, data)
    assert sent.format == "JPEG"
    assert sent.size == (240, 160)
    assert near(sent.getpixel((60, 120)), (220, 30, 30), by=40)


async def test_a_rendition_is_made_once(photos, tmp_path):
    sha256 = (await photos.put(encoded(picture()))).sha256
    first = await photos.rendition(sha256, RULE)
    (kept,) = (tmp_path / "photos" / "renditions" / sha256).iterdir()
    kept.write_bytes(b"kept")
    assert await photos.rendition(sha256, RULE) == b"kept"
    other = await photos.rendition(sha256, PhotoRule(max_count=16, longest_side=100))
    assert other not in (first, b"kept")


# ---- pixels ---------------------------------------------------------------------------------------


def _exif(orientation, gps=False):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "CANARY-CAMERA"
    if gps:
        exif[0x8825] = {1: "N", 2: (48.0, 51.0, 29.0), 3: "E", 4: (2.0, 17.0, 40.0)}
    return exif


def _turned_away(orientation):
    """The picture as a camera would store it that was held so."""
    back = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270}.get(orientation)  # fmt: skip
    return picture() if back is None else picture().transpose(back)


def _is_upright(sent):
    assert sent.size == (240, 160)
    return (near(sent.getpixel((60, 120)), (220, 30, 30), by=40)
            and near(sent.getpixel((180, 120)), (30, 30, 220), by=40)
            and near(sent.getpixel((120, 10)), (30, 200, 30), by=40))  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_every_exif_orientation_ends_upright(photos, orientation):
    data = encoded(_turned_away(orientation), quality=95, exif=_exif(orientation))
    facts = await photos.put(data)
    assert (facts.width, facts.height) == (240, 160)
    assert _is_upright(await rendered(photos, data))


async def test_nothing_of_the_camera_or_the_place_is_sent(photos):
    data = encoded(picture(), exif=_exif(6, gps=True), comment=b"CANARY-COMMENT", xmp=b"<x>CANARY-XMP</x>",
                   icc_profile=_gamma_one(), dpi=(300, 300))  # fmt: skip
    assert b"CANARY" in data
    sent = await photos.rendition((await photos.put(data)).sha256, RULE)
    assert b"CANARY" not in sent
    assert b"Exif" not in sent
    assert b"ICC_PROFILE" not in sent
    assert not decoded(sent).getexif()


async def test_a_polyglot_is_sent_as_its_picture_only(photos):
    sent = await photos.rendition(
        (await photos.put(encoded(picture(), "GIF") + b"<script>CANARY</script>PK\x03\x04")).sha256, RULE
    )
    assert b"CANARY" not in sent
    assert decoded(sent).format == "JPEG"


async def test_transparency_is_laid_on_white(photos):
    for kind, image in (("PNG", picture(mode="RGBA")), ("WEBP", picture(mode="RGBA"))):
        image.paste((0, 0, 0, 0), (0, 0, 60, 160))
        sent = await rendered(photos, encoded(image, kind))
        assert near(sent.getpixel((20, 120)), (255, 255, 255)), kind
        assert near(sent.getpixel((180, 120)), (30, 30, 220), by=40), kind


async def test_a_palette_with_a_transparent_colour_is_laid_on_white(photos):
    image = Image.new("P", (100, 100), 0)
    image.putpalette([0, 0, 0, 200, 0, 0] + [0] * 750)
    image.paste(1, (50, 0, 100, 100))
    sent = await rendered(photos, encoded(image, "PNG", transparency=0))
    assert near(sent.getpixel((10, 50)), (255, 255, 255))
    assert near(sent.getpixel((90, 50)), (200, 0, 0), by=40)


async def test_cmyk_and_grey_become_rgb(photos):
    sent = await rendered(photos, encoded(picture(mode="CMYK")))
    assert sent.mode == "RGB"
    assert near(sent.getpixel((60, 120)), (220, 30, 30), by=60)
    grey = await rendered(photos, encoded(picture(mode="L")))
    assert grey.mode == "RGB"


async def test_16_bit_grey_is_scaled_not_clipped(photos):
    image = Image.new("I;16", (100, 100), 0x8000)
    sent = await rendered(photos, encoded(image, "PNG"))
    assert near(sent.getpixel((50, 50)), (128, 128, 128), by=6)


async def test_16_bit_colour_comes_through(photos):
    sent = await rendered(photos, _png(100, 100, 16, 2, struct.pack(">HHH", 0xC000, 0x4000, 0x2000)))
    assert near(sent.getpixel((50, 50)), (0xC0, 0x40, 0x20), by=6)


async def test_another_colour_space_is_converted_to_srgb(photos):
    data = encoded(picture(), icc_profile=_gamma_one())
    plain = await rendered(photos, encoded(picture()))
    sent = await rendered(photos, data)
    assert sent.getpixel((60, 120))[1] > plain.getpixel((60, 120))[1] + 30  # linear 30 is a brighter sRGB


async def test_a_damaged_profile_does_not_cost_the_photo(photos):
    assert (await rendered(photos, encoded(picture(), icc_profile=b"nonsense" * 40))).size == (240, 160)


async def test_of_an_animation_the_first_frame_is_sent(photos):
    frames = [Image.new("RGB", (100, 100), c) for c in ((200, 0, 0), (0, 0, 200))]
    for kind in ("GIF", "PNG", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
        assert near((await rendered(photos, data)).getpixel((50, 50)), (200, 0, 0), by=40), kind


async def test_a_photo_is_never_enlarged(photos):
    assert (await rendered(photos, encoded(picture(120, 80)))).size == (120, 80)


@pytest.mark.parametrize("ratio", [1.0, 4 / 3, 0.5])
async def test_a_forced_ratio_fits_the_whole_photo_on_white(photos, ratio):
    sent = await rendered(photos, encoded(picture(1200, 800), quality=95),
                          PhotoRule(max_count=1, longest_side=600, ratio=ratio))  # fmt: skip
    assert max(sent.size) <= 600
    assert sent.width / sent.height == pytest.approx(ratio, abs=0.01)
    shown = [(x, y) for x in range(0, sent.width, 3) for y in range(0, sent.height, 3)
             if not near(sent.getpixel((x, y)), (255, 255, 255))]  # fmt: skip
    left, right = min(x for x, _ in shown), max(x for x, _ in shown)
    top, bottom = min(y for _, y in shown), max(y for _, y in shown)
    assert (right - left) / (bottom - top) == pytest.approx(1.5, abs=0.06)  # all of it, unstretched
    middle = (top + bottom) // 2
    assert near(sent.getpixel((left + 5, middle)), (220, 30, 30), by=50)
    assert near(sent.getpixel((right - 5, middle)), (30, 30, 220), by=50)


async def test_a_limit_of_bytes_is_kept(photos):
    noise = Image.frombytes("RGB", (900, 700), os.urandom(900 * 700 * 3))
    data = encoded(noise, quality=95)
    for most in (300_000, 60_000, 8_000):
        sha256 = (await photos.put(data)).sha256
        sent = await photos.rendition(sha256, PhotoRule(max_count=1, longest_side=900, max_bytes=most))
        assert len(sent) <= most


# ---- HEIC, as iPhones write it --------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_a_heic_is_turned_once_not_twice(photos, orientation):
    """Its turn stands twice in the file: for the decoder (irot, imir) and in EXIF."""
    data = encoded(_turned_away(orientation), "HEIF", quality=90, exif=_exif(orientation).tobytes())
    assert (b"irot" in data or b"imir" in data) == (orientation > 1)
    facts = await photos.put(data)
    assert (facts.width, facts.height) == (240, 160)
    assert await photos.get(facts.sha256) == data
    assert _is_upright(await rendered(photos, data))


async def test_a_turn_that_a_heic_tells_in_exif_only_is_none(photos):
    """As Apple's own viewers have it."""
    data = encoded(picture(), "HEIF", quality=90, exif=_exif(1).tobytes())
    entry = struct.pack(">HHIH", 0x0112, 3, 1, 1)
    assert data.count(entry) == 1
    turned = data.replace(entry, struct.pack(">HHIH", 0x0112, 3, 1, 6))
    assert _is_upright(await rendered(photos, turned))


async def test_nothing_of_the_camera_or_the_place_is_sent_of_a_heic(photos):
    data = encoded(picture(), "HEIF", exif=_exif(6, gps=True).tobytes(), xmp=b"<x>CANARY-XMP</x>",
                   icc_profile=_gamma_one())  # fmt: skip
    assert data.count(b"CANARY") == 2
    sent = await photos.rendition((await photos.put(data)).sha256, RULE)
    assert b"CANARY" not in sent
    assert b"Exif" not in sent
    assert b"ICC_PROFILE" not in sent


@pytest.mark.longer
async def test_a_heic_looks_as_the_same_photo_in_jpeg(photos):
    image = Image.open(DEMO[0]).convert("RGB")
    image.thumbnail((1000, 1000))
    heic, jpeg = encoded(image, "HEIF", quality=90), encoded(image, quality=95)
    assert hamming(await photos.dhash(heic), await photos.dhash(jpeg)) <= 2
    one, other = await rendered(photos, heic), await rendered(photos, jpeg)
    assert one.size == other.size
    differences = ImageChops.difference(one.convert("L"), other.convert("L")).histogram()
    assert sum(n * by for by, n in enumerate(differences)) / (one.width * one.height) < 4


async def test_the_colour_space_the_transparency_and_the_16_bits_of_a_heic_are_kept_to(photos):
    plain = await rendered(photos, encoded(picture(), "HEIF"))
    linear = await rendered(photos, encoded(picture(), "HEIF", icc_profile=_gamma_one()))
    assert linear.getpixel((60, 120))[1] > plain.getpixel((60, 120))[1] + 30
    clear = picture(mode="RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 60, 160))
    assert near((await rendered(photos, encoded(clear, "HEIF"))).getpixel((20, 120)), (255, 255, 255))
    grey = await rendered(photos, encoded(Image.new("I;16", (100, 100), 0x8000), "HEIF"))
    assert near(grey.getpixel((50, 50)), (128, 128, 128), by=6)


@pytest.mark.extended  # writing it takes 4 s
async def test_forty_megapixels_of_heic_are_taken_within_the_limits(photos):
    image = Image.new("RGBA", (8_000, 5_000), (200, 30, 30, 128))
    stored = await photos.put(encoded(image, "HEIF", quality=10, enc_params={"preset": "ultrafast"}))
    assert (stored.width, stored.height) == (8_000, 5_000)
    assert decoded(await photos.rendition(stored.sha256, RULE)).size == (800, 500)


@pytest.mark.parametrize(
    ("width", "height", "said"),
    [
        (30_000, 30_000, "megapixels"),
        (2**31 - 1, 2**31 - 1, "megapixels"),
        (6_000, 6_000, "damaged"),
        (60, 60, "damaged"),
    ],
)
async def test_a_heic_that_lies_about_its_size_is_refused(photos, width, height, said):
    data = encoded(picture(), "HEIF")
    at = data.index(b"ispe") + 8
    with pytest.raises(PhotoRefused, match=said):
        await photos.put(data[:at] + struct.pack(">II", width, height) + data[at + 8 :])
    assert (await photos.put(data)).width == 240


def test_where_heic_cannot_be_read_it_is_refused_with_what_to_do():
    data = encoded(picture(), "HEIF")
    without = (
        "import runpy, sys\nsys.modules['pillow_heif'] = None\n"
        "runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    asked = json.dumps({"do": "look", "size": len(data)}).encode() + b"\n" + data
    ran = subprocess.run(
        [sys.executable, "-c", without, photos_module._CHILD], input=asked, capture_output=True, timeout=60
    )
    ready, answer = map(json.loads, ran.stdout.splitlines())
    assert "HEIF" not in ready["formats"]
    assert "save it as JPEG" in answer["refused"]


# ---- refusing -------------------------------------------------------------------------------------


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width, height, depth, colour, pixel):
    """A plain PNG written by hand, its rows packed one by one so that a bomb costs us nothing."""
    packer = zlib.compressobj(9)
    row = b"\x00" + pixel * width
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return _png_of(head, body)


def _png_of(head, body):
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _gamma_one():
    """sRGB's primaries with a linear curve, as an ICC profile of version 2."""

    def xyz(*values):
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">I", 0)
    text = b"linear\0"
    tags = [
        (b"desc", b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * 79),
        (b"wtpt", xyz(0.9642, 1.0, 0.8249)),
        (b"rXYZ", xyz(0.4361, 0.2225, 0.0139)), (b"gXYZ", xyz(0.3851, 0.7169, 0.0971)),
        (b"bXYZ", xyz(0.1431, 0.0606, 0.7141)),
        (b"rTRC", curve), (b"gTRC", curve), (b"bTRC", curve),
    ]  # fmt: skip
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags:
        data += b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    head = bytearray(128)
    head[0:4] = struct.pack(">I", at + len(body))
    head[8:12], head[12:24], head[36:40] = b"\x02\x10\0\0", b"mntrRGB XYZ ", b"acsp"
    head[68:80] = struct.pack(">iii", 63190, 65536, 54061)
    return bytes(head) + struct.pack(">I", len(tags)) + table + body


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
REFUSED = {
    "nothing": b"",
    "text": b"this is not a photo, whatever its name says",
    "svg": SVG,
    "html": b"<!doctype html><img src=x onerror=alert(1)>",
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n",
    "zip": b"PK\x03\x04" + b"\0" * 100,
    "tiff": encoded(picture(), "TIFF"),
    "bmp": encoded(picture(), "BMP"),
    "cut off jpeg": encoded(picture())[:1500],
    "cut off heic": encoded(picture(), "HEIF")[:-10],
    "cut off png": encoded(Image.frombytes("RGB", (200, 200), os.urandom(120_000)), "PNG")[:50_000],
    "only a magic": b"\xff\xd8\xff\xe0",
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200,
    "too small": encoded(picture(30, 30)),
    "a thin line": encoded(picture(2000, 3), "PNG"),
    "a broken checksum": encoded(picture(), "PNG").replace(b"IDAT", b"IDBT", 1),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_no_usable_photo_is_refused_in_words(photos, tmp_path, what):
    with pytest.raises(PhotoRefused) as refused:
        await photos.put(REFUSED[what])
    assert len(refused.value.message) > 15
    assert "Traceback" not in refused.value.message
    assert not (tmp_path / "photos" / "originals").exists()


async def test_a_broken_heic_is_refused_with_what_to_do(photos):
    with pytest.raises(PhotoRefused, match="save it as JPEG"):
        await photos.put(REFUSED["heic"])


@pytest.mark.parametrize(("width", "height"), [(12_000, 12_000), (20_000, 20_000), (60_000, 1_000)])
async def test_a_bomb_is_refused_and_the_next_photo_is_taken(photos, width, height):
    bomb = _png(width, height, 8, 0, b"\0")
    assert len(bomb) < 2_000_000
    with pytest.raises(PhotoRefused, match="megapixels"):
        await photos.put(bomb)
    assert (await photos.put(encoded(picture()))).width == 240


async def test_huge_dimensions_in_a_tiny_file_are_refused(photos):
    lie = _png_of(struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0), zlib.compress(b"\0" * 100))
    with pytest.raises(PhotoRefused):
        await photos.put(lie)


@pytest.mark.longer
async def test_forty_megapixels_are_taken_within_the_limits(photos):
    stored = await photos.put(_png(8_000, 5_000, 8, 6, b"\x80\x40\x20\x80"))
    assert (stored.width, stored.height) == (8_000, 5_000)
    sent = decoded(await photos.rendition(stored.sha256, RULE))
    assert sent.size == (800, 500)


async def test_more_than_25_mb_is_refused_unread(photos):
    with pytest.raises(PhotoRefused, match="25 MB"):
        await photos.put(b"\xff\xd8\xff" + b"\0" * 25_000_000)


async def test_a_child_that_is_killed_refuses_one_photo_and_no_more(photos, monkeypatch):
    await photos.warm()
    monkeypatch.setattr(photos_module, "TIMEOUT", 0.5)
    (child,) = photos._children
    os.kill(child._process.pid, 19)  # SIGSTOP: it answers nothing, like a decoder in a loop
    with (
        structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines,
        structlog.contextvars.bound_contextvars(user_id="hers"),
        pytest.raises(PhotoRefused, match="too long"),
    ):
        await photos.put(encoded(picture()))
    (ended,) = [line for line in lines if line["event"] == "photos.child_ended"]
    assert ended["user_id"] == "hers"
    monkeypatch.setattr(photos_module, "TIMEOUT", 30.0)
    assert (await photos.put(encoded(picture()))).width == 240


async def test_many_at_once_use_two_children_at_most(photos):
    data = [encoded(picture(200 + i, 160)) for i in range(20)]
    stored = await asyncio.gather(*map(photos.put, data))
    assert [s.width for s in stored] == [200 + i for i in range(20)]
    assert 1 <= len(photos._children) <= 2


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
async def test_a_damaged_photo_is_taken_or_refused_and_never_more(photos, data):
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "HEIF"]))
    broken = bytearray(encoded(picture(80, 60), kind))
    for _ in range(data.draw(st.integers(1, 20))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PhotoRefused):
        stored = await photos.put(bytes(broken))
        await photos.rendition(stored.sha256, RULE)


# ---- names, disk, processes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "a" * 64 + "\0", "A" * 64, "", "/etc/passwd",
             "a" * 63, "a" * 65, "ａ" * 64, "a" * 60 + "/../", "\n" + "a" * 63],
)  # fmt: skip
async def test_no_name_but_a_hash_reaches_the_store(photos, name):
    with pytest.raises(NotFound):
        await photos.get(name)
    with pytest.raises(NotFound):
        await photos.rendition(name, RULE)


async def test_a_photo_that_is_not_there_is_the_installations_fault(photos, tmp_path):
    for wanted in (photos.get("0" * 64), photos.rendition("0" * 64, RULE)):
        with pytest.raises(PhotoMissing, match="does not have a photo") as missing:
            await wanted
        assert missing.value.fate == "operator"
        assert "PHOTOS_URL" in missing.value.action


@pytest.mark.parametrize(
    ("told", "warns"),
    [({"database_url": "postgresql://a@db/x"}, True), ({}, False),
     ({"database_url": "postgresql://a@db/x", "photos_url": "/"}, False)],
)  # fmt: skip
async def test_photos_of_one_home_over_a_database_of_many_are_told_at_start_and_by_the_doctor(
    tmp_path, told, warns
):
    given = {name: str(tmp_path) if value == "/" else value for name, value in told.items()}
    settings = Settings(_env_file=None, everystall_home=tmp_path, **given)
    store = Photos(settings)
    try:
        with structlog.testing.capture_logs() as logged:
            await store.check()
    finally:
        await store.close()
    assert [line["event"] for line in logged] == ["photos.of_this_home"] * warns
    said = await asyncio.to_thread(doctor._photos, settings, print)
    assert ("the same PHOTOS_URL" in said) is warns


FULL_DISK = """
    import asyncio, os, resource, signal, sys
    from pathlib import Path
    from everystall.content.photos import Photos
    from everystall.errors import StorageFull
    from everystall.settings import Settings

    async def main(home, photo):
        store = Photos(Settings(_env_file=None, everystall_home=home))
        await store.warm()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
        try:
            await store.put(Path(photo).read_bytes())
        except StorageFull as e:
            print("full:", e.message)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        left = [p for p in Path(home).rglob("*") if p.is_file()]
        print("left:", left)
        stored = await store.put(Path(photo).read_bytes())
        print("then:", stored.width)
        await store.close()

    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


@pytest.mark.longer
def test_a_write_that_the_system_cuts_off_leaves_nothing_and_says_so(tmp_path):
    """The kernel refuses the write half-way (RLIMIT_FSIZE), for everyone, root or not."""
    photo = tmp_path / "photo.png"
    photo.write_bytes(encoded(Image.frombytes("RGB", (200, 200), os.urandom(120_000)), "PNG"))
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), tmp_path / "home", photo, "20000"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "full: There is no room" in ran.stdout, ran.stdout + ran.stderr
    assert "left: []" in ran.stdout
    assert "then: 200" in ran.stdout


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KB; only root can mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True
    ).returncode:  # fmt: skip
        pytest.skip("mounting a small disk needs root; the test above covers the same path")
    yield place
    subprocess.run(["umount", place], check=True)


async def test_a_full_disk_leaves_nothing_half_written(small_disk):
    store = Photos(Settings(_env_file=None, everystall_home=small_disk))
    try:
        small = await store.put(encoded(picture()))
        with pytest.raises(StorageFull):
            await store.put(encoded(Image.frombytes("RGB", (400, 400), os.urandom(480_000)), "PNG"))
        assert [p.name for p in small_disk.rglob("*") if p.is_file()] == [small.sha256]
        filling = small_disk / "filling"
        with filling.open("wb", buffering=0) as f, suppress(OSError):
            while True:
                f.write(bytes(4096))
        # the rendition cannot be kept, but it can be sent
        assert decoded(await store.rendition(small.sha256, RULE)).size == (240, 160)
        assert not list(small_disk.glob("photos/renditions/**/*.jpg"))
    finally:
        await store.close()


def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "photos").write_text("a file is in the way")
    with pytest.raises(Misconfigured, match="photo folder"):
        Photos(Settings(_env_file=None, everystall_home=tmp_path))


def test_a_store_that_we_do_not_know_says_so_without_its_secret(tmp_path):
    with pytest.raises(Misconfigured) as refused:
        Photos(Settings(_env_file=None, everystall_home=tmp_path, photos_url="gopher://user:CANARY@host/x"))
    assert "CANARY" not in refused.value.message


async def test_a_store_in_memory_works_alike(tmp_path):
    store = Photos(Settings(_env_file=None, everystall_home=tmp_path, photos_url="memory:///"))
    try:
        data = encoded(picture())
        assert await store.get((await store.put(data)).sha256) == data
    finally:
        await store.close()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")
async def test_the_child_has_no_secret_and_no_freedom(photos, monkeypatch):
    monkeypatch.setenv("SESSION_ENCRYPTION_KEY", "CANARY")
    await photos.warm()
    (child,) = photos._children
    process = Path(f"/proc/{child._process.pid}")
    assert b"CANARY" not in (process / "environ").read_bytes()
    limits = (process / "limits").read_text()
    for line in (
        "Max core file size        0",
        "Max file size             0",
        "Max address space         1500000000",
    ):
        assert line in limits
    await photos.close()
    assert not process.exists()


@pytest.mark.longer
def test_a_child_ends_with_its_killed_parent(tmp_path):
    script = (
        "import asyncio, os, sys\nfrom pathlib import Path\n"
        "from everystall.content.photos import Photos\nfrom everystall.settings import Settings\n"
        "p = Photos(Settings(_env_file=None, everystall_home=Path(sys.argv[1])))\n"
        "asyncio.run(p.warm())\nprint(p._children[0]._process.pid, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=60)
    pid = int(ran.stdout)
    for _ in range(50):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rsplit(")")[-1].split()[0] == "Z":
            return
        subprocess.run(["sleep", "0.1"], check=True)
    raise AssertionError("the child outlived its parent")


# ---- likeness -------------------------------------------------------------------------------------


async def test_a_recompressed_and_scaled_photo_looks_like_itself(photos):
    hashes = {}
    for demo in DEMO:
        image = Image.open(demo).convert("RGB")
        hashes[demo.name] = await photos.dhash(demo.read_bytes())
        assert len(hashes[demo.name]) == 16
        small = image.resize((image.width // 3, image.height // 3))
        again = await photos.dhash(encoded(small, quality=55))
        assert hamming(hashes[demo.name], again) <= 4
    names = list(hashes)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert hamming(hashes[one], hashes[other]) > 10


@pytest.mark.parametrize("ratio", [1.0, 4 / 3, 3 / 4, None])
async def test_a_photo_that_was_cut_or_framed_is_known_by_one_of_its_views(photos, ratio):
    """None: the whole of it on a white square."""
    before, after = [], []
    for demo in DEMO:
        image = Image.open(demo).convert("RGB")
        width, height = image.size
        if ratio is None:
            changed = Image.new("RGB", (max(image.size), max(image.size)), "white")
            changed.paste(image, ((changed.width - width) // 2, (changed.height - height) // 2))
        else:
            size = min(width, int(height * ratio)), min(height, int(width / ratio))
            left, top = (width - size[0]) // 2, (height - size[1]) // 2
            changed = image.crop((left, top, left + size[0], top + size[1]))
        changed.thumbnail((600, 600))
        before.append(await photos.fingerprint(demo.read_bytes()))
        after.append(await photos.fingerprint(encoded(changed, quality=60)))
    for i, one in enumerate(before):
        for j, other in enumerate(after):
            distances = list(map(hamming, one.views, other.views))
            nearest = min(distances)
            view = distances.index(nearest)
            assert (nearest <= PHOTO_DISTANCE) == (i == j)
            if i == j:
                assert all(abs(a - b) <= 8 for a, b in zip(one.tints[view], other.tints[view], strict=True))


def test_hamming_counts_bits():
    assert hamming("0" * 16, "f" * 16) == 64
    assert hamming("00000000000000ff", "00000000000000fe") == 1


@pytest.mark.parametrize(
    ("turn", "at"), [(0, (30, 100)), (90, (100, 30)), (180, (170, 100)), (270, (100, 170))]
)
async def test_a_photo_is_turned_clockwise(photos, turn, at):
    image = Image.new("RGB", (200, 200), "blue")
    image.paste((255, 0, 0), (0, 0, 60, 200))  # red at the left
    out = io.BytesIO()
    image.save(out, "PNG")
    sha256 = (await photos.put(out.getvalue())).sha256
    seen = decoded(await photos.rendition(photo_name(sha256, turn), RULE)).getpixel(at)
    assert seen[0] > 200
    assert seen[2] < 60
    assert await photos.get(sha256) == out.getvalue()
    looks = [await photos.fingerprint(out.getvalue(), by) for by in (0, turn)]
    assert (looks[0] == looks[1]) == (turn == 0)
