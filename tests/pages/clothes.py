"""Photos of things that a seller may have, drawn: what the pictures of docs/screenshots show."""

from __future__ import annotations

import io
from functools import cache
from random import Random

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

#: Of a photo; it is drawn at half of it.
SIZE = (900, 1200)
HALF = (450, 600)
Points = list[tuple[int, int]]

#: Outlines, on 900 × 1200: the first is the thing's cloth, the others lie on it, so much darker or lighter.
SHAPES: dict[str, list[tuple[Points, float]]] = {
    "jacket": [
        ([(330, 190), (570, 190), (690, 250), (800, 640), (780, 900), (690, 900), (672, 560), (680, 1010),
          (220, 1010), (228, 560), (210, 900), (120, 900), (100, 640), (210, 250)], 1.0),
        ([(330, 190), (450, 330), (400, 380), (300, 215)], 0.72),
        ([(570, 190), (450, 330), (500, 380), (600, 215)], 0.72),
        ([(446, 330), (454, 330), (454, 1010), (446, 1010)], 0.55),
        ([(270, 480), (400, 480), (400, 620), (335, 650), (270, 620)], 0.86),
        ([(500, 480), (630, 480), (630, 620), (565, 650), (500, 620)], 0.86),
        ([(222, 960), (678, 960), (680, 1010), (220, 1010)], 0.8),
    ],
    "shirt": [
        ([(350, 180), (550, 180), (690, 240), (820, 480), (710, 550), (650, 460), (660, 1020), (240, 1020),
          (250, 460), (190, 550), (80, 480), (210, 240)], 1.0),
        ([(350, 180), (450, 310), (400, 350), (320, 205)], 0.84),
        ([(550, 180), (450, 310), (500, 350), (580, 205)], 0.84),
        ([(440, 310), (460, 310), (460, 1020), (440, 1020)], 0.88),
        ([(530, 440), (620, 440), (620, 540), (575, 560), (530, 540)], 0.9),
    ],
    "jeans": [
        ([(280, 150), (620, 150), (650, 400), (680, 1080), (500, 1090), (455, 480), (400, 1090), (220, 1080),
          (250, 400)], 1.0),
        ([(280, 150), (620, 150), (626, 200), (274, 200)], 0.75),
        ([(446, 200), (456, 200), (456, 400), (446, 400)], 0.7),
        ([(268, 235), (370, 205), (376, 218), (266, 262)], 0.72),
        ([(632, 235), (530, 205), (524, 218), (634, 262)], 0.72),
        ([(222, 1050), (402, 1060), (400, 1090), (220, 1080)], 1.25),
        ([(498, 1060), (679, 1050), (680, 1080), (500, 1090)], 1.25),
    ],
    "dress": [
        ([(350, 150), (390, 150), (420, 260), (480, 260), (510, 150), (550, 150), (600, 300), (560, 500),
          (740, 1080), (160, 1080), (340, 500), (300, 300)], 1.0),
        ([(340, 490), (560, 490), (566, 530), (334, 530)], 0.72),
        ([(400, 530), (420, 530), (330, 1080), (300, 1080)], 0.9),
        ([(500, 530), (480, 530), (570, 1080), (600, 1080)], 0.9),
    ],
    "bag": [
        ([(170, 470), (730, 470), (780, 1020), (120, 1020)], 1.0),
        ([(280, 480), (300, 480), (330, 220), (570, 220), (600, 480), (620, 480), (590, 196),
          (310, 196)], 0.7),
        ([(170, 470), (730, 470), (735, 530), (165, 530)], 0.85),
        ([(390, 640), (510, 640), (510, 720), (390, 720)], 0.72),
    ],
    "boot": [
        ([(300, 180), (560, 180), (570, 620), (760, 760), (800, 900), (800, 960), (270, 960),
          (280, 620)], 1.0),
        ([(262, 950), (808, 950), (808, 1010), (262, 1010)], 0.4),
        ([(300, 180), (560, 180), (562, 240), (298, 240)], 0.78),
        *[([(390, 300 + n * 66), (564, 290 + n * 66), (564, 306 + n * 66), (390, 316 + n * 66)], 1.5)
          for n in range(5)],
    ],
    "bowl": [
        ([(140, 470), (760, 470), (730, 660), (640, 800), (560, 850), (340, 850), (260, 800),
          (170, 660)], 1.0),
        ([(140, 470), (760, 470), (756, 520), (144, 520)], 1.16),
        ([(340, 850), (560, 850), (580, 890), (320, 890)], 0.8),
        *[([(240 + n * 140, 600), (290 + n * 140, 640), (240 + n * 140, 700), (190 + n * 140, 640)], 1.3)
          for n in range(4)],
    ],
    "watch": [
        ([(380, 120), (520, 120), (530, 430), (620, 520), (620, 680), (530, 770), (520, 1080), (380, 1080),
          (370, 770), (280, 680), (280, 520), (370, 430)], 1.0),
        ([(390, 470), (510, 470), (580, 540), (580, 660), (510, 730), (390, 730), (320, 660),
          (320, 540)], 1.75),
        ([(444, 500), (456, 500), (456, 606), (444, 606)], 0.4),
        ([(450, 594), (530, 640), (524, 650), (444, 606)], 0.4),
    ],
}  # fmt: skip


@cache
def photo(thing: str, colour: str, ground: str = "#e9e4dc", turn: float = 0) -> bytes:
    """A JPEG of one, lying on that ground; turned by so many degrees."""
    paper = Image.new("RGB", HALF, ground)
    light = Image.linear_gradient("L").resize(HALF).point(lambda value: 255 - value // 9)
    paper = ImageChops.multiply(paper, Image.merge("RGB", (light,) * 3))
    cloth = Image.new("RGBA", HALF)
    draw = ImageDraw.Draw(cloth)
    for points, shade in SHAPES[thing]:
        tone = [min(255, round(part * shade)) for part in ImageColor.getrgb(colour)]
        draw.polygon([(x / 2, y / 2) for x, y in points], fill=(*tone, 255))
    edge = cloth.getchannel("A").filter(ImageFilter.GaussianBlur(1.5))
    edge = edge.point(lambda value: max(0, value - 96) * 8 // 5)
    folds = bytes(Random(f"{thing} {colour}").choices(range(60, 196), k=9 * 12))
    fold = Image.frombytes("L", (9, 12), folds).resize(HALF, Image.Resampling.BICUBIC)
    fold = fold.point(lambda value: 214 + value // 6)
    folded = ImageChops.multiply(cloth.convert("RGB"), Image.merge("RGB", (fold,) * 3))
    folded.putalpha(edge)
    folded = folded.rotate(turn, Image.Resampling.BICUBIC)
    shadow = folded.getchannel("A").filter(ImageFilter.GaussianBlur(11)).point(lambda value: value // 3)
    paper.paste("black", (7, 11), shadow)
    paper.paste(folded, (0, 0), folded)
    out = io.BytesIO()
    paper.resize(SIZE, Image.Resampling.BICUBIC).save(out, "JPEG", quality=82)
    return out.getvalue()
