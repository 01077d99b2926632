"""Draws the icons: a market stall's awning. `python extension/icons/draw.py` writes the extension's four PNG,
and those of the pages as an app."""

from pathlib import Path

from PIL import Image, ImageDraw

Colour = tuple[int, int, int, int]
GREEN, WHITE, PALE = (0, 122, 99, 255), (255, 255, 255, 255), (178, 224, 211, 255)
SIDE = 1024


def draw(*, bleeds: bool = False) -> Image.Image:
    """`bleeds`: to the edges, and the stall smaller, for a system that cuts it to a shape of its own."""
    image = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    if bleeds:
        pen.rectangle((0, 0, SIDE, SIDE), fill=GREEN)
        small = stall().resize((SIDE * 3 // 4, SIDE * 3 // 4), Image.Resampling.LANCZOS)
        image.alpha_composite(small, (SIDE // 8, SIDE // 8))
    else:
        pen.rounded_rectangle((32, 32, 992, 992), 220, fill=GREEN)
        image.alpha_composite(stall())
    return image


def stall(
    counter: tuple[int, int, int, int] = GREEN, stripe: tuple[int, int, int, int] = PALE
) -> Image.Image:
    image = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    left, width, top, bottom = 192, 160, 256, 480
    for place in range(4):  # the awning's stripes end in scallops
        x = left + place * width
        colour = WHITE if place % 2 == 0 else stripe
        pen.rectangle((x, top, x + width, bottom), fill=colour)
        pen.pieslice((x, bottom - width // 2, x + width, bottom + width // 2), 0, 180, fill=colour)
    pen.rectangle((240, 600, 784, 776), fill=WHITE)  # the counter
    pen.rectangle((320, 664, 704, 712), fill=counter)
    return image


def write(image: Image.Image, side: int, path: Path) -> None:
    image.resize((side, side), Image.Resampling.LANCZOS).save(path, optimize=True)


if __name__ == "__main__":
    for side in (16, 32, 48, 128):
        write(draw(), side, Path(__file__).with_name(f"{side}.png"))
    pages = Path(__file__).parents[2] / "everystall/web/static"
    write(draw(), 192, pages / "icon-192.png")
    write(draw(), 512, pages / "icon-512.png")
    write(draw(bleeds=True), 512, pages / "icon-maskable.png")
    clear = (0, 0, 0, 0)  # systems take the shape alone
    write(stall(counter=clear, stripe=(255, 255, 255, 150)), 96, pages / "icon-badge.png")
