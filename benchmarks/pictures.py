"""Product photographs, drawn: a thing of some cut and fabric on some ground, in some light, as a seller takes
them; and what marketplaces make of them. Drawn, not taken: figures that come of them say so. The same seed
draws the same picture."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field, replace
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Color = tuple[int, int, int]
WHITE: Color = (255, 255, 255)
#: Outlines in a frame of 0 to 1.
CUTS: dict[str, list[tuple[float, float]]] = {
    "top": [(.3, .12), (.42, .17), (.58, .17), (.7, .12), (.95, .35), (.84, .46), (.74, .38), (.73, .9),
            (.27, .9), (.26, .38), (.16, .46), (.05, .35)],
    "long sleeves": [(.3, .1), (.43, .14), (.57, .14), (.7, .1), (.82, .25), (.95, .78), (.83, .82),
                     (.72, .42), (.73, .92), (.27, .92), (.28, .42), (.17, .82), (.05, .78), (.18, .25)],
    "dress": [(.36, .06), (.44, .13), (.56, .13), (.64, .06), (.66, .36), (.85, .95), (.15, .95), (.34, .36)],
    "trousers": [(.3, .06), (.7, .06), (.76, .5), (.74, .95), (.56, .95), (.5, .38), (.44, .95),
                 (.26, .95), (.24, .5)],
    "shoe": [(.06, .62), (.1, .4), (.25, .36), (.4, .44), (.6, .55), (.9, .6), (.96, .7), (.94, .78),
             (.08, .78)],
    "bag": [(.15, .4), (.3, .38), (.36, .15), (.64, .15), (.7, .38), (.85, .4), (.9, .88), (.1, .88)],
    "box": [(.15, .3), (.55, .2), (.88, .32), (.86, .78), (.48, .9), (.14, .76)],
    "round": [(.5 + .36 * math.cos(t * math.tau / 12), .5 + .36 * math.sin(t * math.tau / 12))
              for t in range(12)],
}  # fmt: skip
#: Frames that phones and cameras take.
FRAMES = ((180, 320), (240, 320), (214, 320), (280, 280), (320, 240))
GROUNDS = ("white", "wall", "boards", "carpet")


@dataclass(frozen=True)
class Look:
    """How a thing looks. What is drawn of it follows from this and a shot's own seed."""

    seed: int
    cut: str
    color: Color
    ground: str
    frame: tuple[int, int]
    pattern: str = field(default="plain")

    def in_color(self, color: Color) -> Look:
        return replace(self, color=color)


def new_look(rng: Random, cut: str, color: Color, usual_ground: str) -> Look:
    """Most of a seller's photos are taken in one place."""
    return Look(
        seed=rng.getrandbits(32),
        cut=cut,
        color=tuple(min(255, max(0, c + rng.randint(-14, 14))) for c in color),  # type: ignore[arg-type]
        ground=usual_ground if rng.random() < 0.7 else rng.choice(GROUNDS),
        frame=rng.choice(FRAMES),
        pattern=rng.choice(("plain", "plain", "stripes", "checks", "print", "print")),
    )


def shoot(look: Look, shots: int, seed: int) -> list[Image.Image]:
    """Front, back, and details; another seed is another day with the same thing."""
    kinds = ("front", "back", "detail", "tag", "detail", "detail")
    return [draw(look, kind, Random(f"{seed} {place}")) for place, kind in enumerate(kinds[:shots])]


def draw(look: Look, shot: str, rng: Random) -> Image.Image:
    size = look.frame
    if shot in ("detail", "tag"):
        photo = _fabric(look, size, rng, scale=rng.uniform(2.5, 4.5))
        _seams(photo, rng)
        if shot == "tag":
            _label(photo, look, rng)
    else:
        photo = _ground(look.ground, size, rng)
        outline = _outline(look, size, rng)
        mask = Image.new("L", size)
        ImageDraw.Draw(mask).polygon(outline, fill=255)
        shadow = mask.filter(ImageFilter.GaussianBlur(7)).point(lambda v: v // 3)
        photo.paste((20, 20, 25), (5, 6), shadow)
        plain = replace(look, pattern="plain") if shot == "back" and look.pattern == "print" else look
        photo.paste(_fabric(plain, size, rng, scale=1.0), mask=mask.filter(ImageFilter.GaussianBlur(0.8)))
    return _lit(photo, rng)


# ---- parts ----------------------------------------------------------------------------------------


def _outline(look: Look, size: tuple[int, int], rng: Random) -> list[tuple[float, float]]:
    """The cut with this thing's own proportions, as it lies this time."""
    own = Random(look.seed)
    wide, high = own.uniform(0.8, 1.05), own.uniform(0.8, 1.05)
    wobble = [(own.uniform(-0.03, 0.03), own.uniform(-0.03, 0.03)) for _ in CUTS[look.cut]]
    turn, scale = rng.uniform(-0.12, 0.12), min(size) * rng.uniform(0.8, 1.0)
    mid_x, mid_y = size[0] * rng.uniform(0.45, 0.55), size[1] * rng.uniform(0.45, 0.55)
    points = []
    for (x, y), (dx, dy) in zip(CUTS[look.cut], wobble, strict=True):
        x, y = (x + dx - 0.5) * wide, (y + dy - 0.5) * high
        points.append((mid_x + scale * (x * math.cos(turn) - y * math.sin(turn)),
                       mid_y + scale * (x * math.sin(turn) + y * math.cos(turn))))  # fmt: skip
    return points


def _fabric(look: Look, size: tuple[int, int], rng: Random, scale: float) -> Image.Image:
    own = Random(look.seed + 1)
    cloth = Image.new("RGB", size, look.color)
    pen = ImageDraw.Draw(cloth)
    second = tuple((c + own.randint(60, 190)) % 256 for c in look.color)
    step = max(6, int(own.uniform(0.05, 0.13) * min(size) * scale))
    if look.pattern in ("stripes", "checks"):
        for left in range(0, size[0], step):
            pen.rectangle((left, 0, left + step * 2 // 5, size[1]), fill=second)
    if look.pattern == "checks":
        for top in range(0, size[1], step):
            pen.rectangle((0, top, size[0], top + step // 4), fill=second)
    if look.pattern == "print":
        for _ in range(own.randint(3, 9)):
            x, y = own.gauss(0.5, 0.12) * size[0], own.gauss(0.45, 0.12) * size[1]
            r = own.uniform(0.03, 0.13) * min(size) * scale
            fill = tuple(own.randrange(256) for _ in range(3))
            if own.random() < 0.5:
                pen.ellipse((x - r, y - r, x + r, y + r * own.uniform(0.4, 1.2)), fill=fill)
            else:
                pen.polygon([(x + own.gauss(0, r), y + own.gauss(0, r)) for _ in range(4)], fill=fill)
    return _folded(cloth, rng)


def _folded(cloth: Image.Image, rng: Random) -> Image.Image:
    """Folds fall otherwise each time it is laid out."""
    folds = Image.new("L", cloth.size, 128)
    pen = ImageDraw.Draw(folds)
    width, height = cloth.size
    for _ in range(rng.randint(4, 9)):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        to = (x + rng.gauss(0, width * 0.3), y + rng.gauss(0, height * 0.4))
        pen.line((x, y, *to), fill=rng.choice((40, 70, 190, 215)), width=rng.randint(5, 18))
    return ImageChops.overlay(cloth, folds.filter(ImageFilter.GaussianBlur(9)).convert("RGB"))


def _seams(photo: Image.Image, rng: Random) -> None:
    pen = ImageDraw.Draw(photo)
    width, height = photo.size
    for _ in range(rng.randint(1, 3)):
        start, end = rng.uniform(-0.2, 1.2), rng.uniform(-0.2, 1.2)
        across = (0.0, start * height, float(width), end * height)
        down = (start * width, 0.0, end * width, float(height))
        shade = rng.randrange(30, 230)
        pen.line(rng.choice((across, down)), fill=(shade, shade, shade), width=rng.randint(3, 12))
    for _ in range(rng.randint(0, 3)):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.03, 0.09) * width
        shade = rng.randrange(256)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(shade, shade, min(255, shade + 20)))


def _label(photo: Image.Image, look: Look, rng: Random) -> None:
    own = Random(look.seed + 2)
    pen = ImageDraw.Draw(photo)
    width, height = photo.size
    left, top = rng.uniform(0.15, 0.4) * width, rng.uniform(0.15, 0.4) * height
    right, bottom = left + rng.uniform(0.35, 0.5) * width, top + rng.uniform(0.25, 0.45) * height
    ground = own.choice((245, 240, 25, 60))
    pen.rectangle((left, top, right, bottom), fill=(ground, ground, ground))
    for y in range(int(top) + 8, int(bottom) - 6, 11):
        pen.line(
            (left + 8, y, left + own.uniform(0.4, 0.95) * (right - left), y), fill=(128, 128, 130), width=4
        )


def _ground(kind: str, size: tuple[int, int], rng: Random) -> Image.Image:
    if kind == "white":
        return Image.new("RGB", size, WHITE)
    base = {"wall": (214, 208, 198), "boards": (156, 118, 82), "carpet": (120, 122, 128)}[kind]
    ground = Image.new("RGB", size, tuple(c + rng.randint(-12, 12) for c in base))
    pen = ImageDraw.Draw(ground)
    if kind == "boards":
        step = rng.randint(34, 60)
        for x in range(rng.randint(-step, 0), size[0], step):
            shade = rng.randint(-26, 26)
            pen.rectangle((x, 0, x + step - 2, size[1]), fill=tuple(c + shade for c in base))
    if kind == "carpet":
        return Image.blend(ground, _noise(size, rng).filter(ImageFilter.GaussianBlur(2)), 0.25)
    return ground


def _lit(photo: Image.Image, rng: Random) -> Image.Image:
    """Light from one side, and a sensor's noise."""
    light = Image.linear_gradient("L").rotate(rng.uniform(0, 360), resample=Image.Resampling.BILINEAR)
    light = light.crop((40, 40, 216, 216)).resize(photo.size).point(lambda v: 255 - v // 3)
    shaded = ImageChops.multiply(photo, light.convert("RGB"))
    return Image.blend(shaded, _noise(photo.size, rng), 0.03)


def _noise(size: tuple[int, int], rng: Random) -> Image.Image:
    return Image.frombytes("L", size, rng.randbytes(size[0] * size[1])).convert("RGB")


# ---- what marketplaces make of them ---------------------------------------------------------------


def cropped(photo: Image.Image, ratio: float) -> Image.Image:
    width = min(photo.width, round(photo.height * ratio))
    height = min(photo.height, round(photo.width / ratio))
    left, top = (photo.width - width) // 2, (photo.height - height) // 2
    return photo.crop((left, top, left + width, top + height))


def framed(photo: Image.Image) -> Image.Image:
    """The whole of it on a white square."""
    side = max(photo.size)
    ground = Image.new("RGB", (side, side), WHITE)
    ground.paste(photo, ((side - photo.width) // 2, (side - photo.height) // 2))
    return ground


def resized(photo: Image.Image, longest: int) -> Image.Image:
    scale = longest / max(photo.size)
    return photo.resize((max(1, round(photo.width * scale)), max(1, round(photo.height * scale))))


def jpeg(photo: Image.Image, quality: int) -> bytes:
    made = io.BytesIO()
    photo.save(made, "JPEG", quality=quality)
    return made.getvalue()
