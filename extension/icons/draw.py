"""Draws the icons: a market stall's awning. `python extension/icons/draw.py` writes the four PNG."""

from pathlib import Path

from PIL import Image, ImageDraw

GREEN, WHITE, PALE = (0, 122, 99, 255), (255, 255, 255, 255), (178, 224, 211, 255)
SIDE = 1024


def draw() -> Image.Image:
    image = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((32, 32, 992, 992), 220, fill=GREEN)
    left, width, top, bottom = 192, 160, 256, 480
    for place in range(4):  # the awning's stripes end in scallops
        x = left + place * width
        colour = WHITE if place % 2 == 0 else PALE
        pen.rectangle((x, top, x + width, bottom), fill=colour)
        pen.pieslice((x, bottom - width // 2, x + width, bottom + width // 2), 0, 180, fill=colour)
    pen.rectangle((240, 600, 784, 776), fill=WHITE)  # the counter
    pen.rectangle((320, 664, 704, 712), fill=GREEN)
    return image


if __name__ == "__main__":
    drawn = draw()
    for side in (16, 32, 48, 128):
        drawn.resize((side, side), Image.Resampling.LANCZOS).save(
            Path(__file__).with_name(f"{side}.png"), optimize=True
        )
