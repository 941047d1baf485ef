"""Draws 64x64 training pictures quickly: cached glyph and shape masks blended onto varied backgrounds."""

from __future__ import annotations

from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIDE = 64
"""Width and height of every picture, in pixels."""

RGB = tuple[int, int, int]
Mask = NDArray[np.uint8]

SHAPES = ("circle", "square", "triangle", "star", "cross", "diamond")
COLOURS: dict[str, RGB] = {
    "red": (215, 35, 35),
    "green": (30, 150, 50),
    "blue": (40, 70, 220),
    "yellow": (240, 215, 30),
    "orange": (245, 135, 20),
    "purple": (135, 45, 165),
    "pink": (250, 140, 190),
    "brown": (115, 70, 35),
    "black": (15, 15, 15),
    "white": (245, 245, 245),
}

_SUPERSAMPLING = 4
_NOISE_SIDE = 256
_LABELS = (
    *("goal", "now", "first", "last", "value", "score", "level", "count", "total", "item", "next", "start"),
    *("Goal", "Now", "Value", "Score", "Level", "Room", "Step", "Page", "Total", "From", "To", "New", "Old"),
    *("Target", "Current", "points", "a", "b", "x", "y", "A:", "B:", "Goal:", "Now:", "Score:", "No."),
)
_POINTS: dict[str, tuple[tuple[float, float], ...]] = {
    "triangle": ((0.5, 0.0), (1.0, 1.0), (0.0, 1.0)),
    "diamond": ((0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)),
    "cross": (
        *((0.34, 0.0), (0.66, 0.0), (0.66, 0.34), (1.0, 0.34), (1.0, 0.66), (0.66, 0.66)),
        *((0.66, 1.0), (0.34, 1.0), (0.34, 0.66), (0.0, 0.66), (0.0, 0.34), (0.34, 0.34)),
    ),
    "star": (
        *((0.5, 0.0), (0.62, 0.36), (1.0, 0.36), (0.7, 0.6), (0.81, 1.0)),
        *((0.5, 0.76), (0.19, 1.0), (0.3, 0.6), (0.0, 0.36), (0.38, 0.36)),
    ),
}


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


@lru_cache(maxsize=60_000)
def glyphs(text: str, size: int, bold: bool = False, shear: int = 0, stretch: int = 0) -> Mask:
    """Coverage 0-255 of `text`, cropped to its ink.

    `size` is the font size in pixels; `shear` slants and `stretch` widens by that many tenths.
    """
    pad = 2 + size // 2
    font = _font(size)
    width = int(font.getlength(text)) + 2 * pad
    picture = Image.new("L", (width, 2 * size), 0)
    ImageDraw.Draw(picture).text((pad, size // 3), text, fill=255, font=font, stroke_width=int(bold))
    if shear:
        slant = shear / 10
        matrix = (1.0, slant, -slant * size, 0.0, 1.0, 0.0)
        picture = picture.transform(picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    if stretch:
        wide = max(1, round(picture.width * (1 + stretch / 10)))
        picture = picture.resize((wide, picture.height), Image.Resampling.BILINEAR)
    box = picture.getbbox()
    return np.asarray(picture.crop(box) if box else picture, np.uint8).copy()


@lru_cache(maxsize=4096)
def shape_mask(shape: str, size: int) -> Mask:
    """Coverage 0-255 of a filled shape that spans `size` x `size` pixels."""
    large = size * _SUPERSAMPLING
    picture = Image.new("L", (large, large), 0)
    pen = ImageDraw.Draw(picture)
    if shape == "circle":
        pen.ellipse((0, 0, large - 1, large - 1), fill=255)
    elif shape == "square":
        inset = large // 12
        pen.rectangle((inset, inset, large - 1 - inset, large - 1 - inset), fill=255)
    else:
        pen.polygon([(x * (large - 1), y * (large - 1)) for x, y in _POINTS[shape]], fill=255)
    return np.asarray(picture.resize((size, size), Image.Resampling.BOX), np.uint8).copy()


@lru_cache(maxsize=1)
def _noise_bank() -> NDArray[np.float32]:
    return np.random.default_rng(7).normal(0, 1, (_NOISE_SIDE, _NOISE_SIDE, 3)).astype(np.float32)


def luminance(colour: RGB) -> float:
    """Perceived brightness, 0 (black) to 255 (white)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def any_colour(rng: Random) -> RGB:
    """A uniformly drawn colour."""
    return int(rng.random() * 256), int(rng.random() * 256), int(rng.random() * 256)


def shade(rng: Random, name: str, spread: int = 14) -> RGB:
    """A named colour, each channel moved by at most `spread`."""
    moved = [min(255, max(0, c + int((2 * rng.random() - 1) * spread))) for c in COLOURS[name]]
    return moved[0], moved[1], moved[2]


def contrasting(rng: Random, ground: RGB, gap: float = 85.0) -> RGB:
    """A colour whose luminance differs from that of `ground` by at least `gap`; often black or white."""
    level = luminance(ground)
    if rng.random() < 0.35:
        return (0, 0, 0) if level > 128 else (255, 255, 255)
    for _ in range(12):
        colour = any_colour(rng)
        if abs(luminance(colour) - level) >= gap:
            return colour
    return (0, 0, 0) if level > 128 else (255, 255, 255)


class Canvas:
    """A 64x64 picture under construction; `ground` is its main background colour."""

    def __init__(self, rng: Random, ground: RGB | None = None, plain: bool = False) -> None:
        """A background: of one colour, graded or in two bands; a third of them nearly white or black.

        With `plain` it is of one colour, and `finish` adds no noise.
        """
        self.plain = plain
        self.rng = rng
        if ground is None:
            kind = rng.random()
            if kind < 0.2:
                ground = shade(rng, "white", 10)
            elif kind < 0.35:
                ground = shade(rng, "black", 20)
            else:
                ground = any_colour(rng)
        self.ground = ground
        self.pixels: NDArray[np.float32] = np.empty((SIDE, SIDE, 3), np.float32)
        self.pixels[:] = ground
        if plain:
            return
        kind = rng.random()
        if kind < 0.2:
            ramp = np.linspace(-1, 1, SIDE, dtype=np.float32) * (rng.random() * 44 - 22)
            self.pixels += ramp[:, None, None] if rng.random() < 0.5 else ramp[None, :, None]
        elif kind < 0.35:
            edge, step = rng.randrange(16, 48), rng.random() * 50 - 25
            if rng.random() < 0.6:
                self.pixels[edge:] += step
            else:
                self.pixels[:, edge:] += step

    def blend(self, mask: Mask, x: int, y: int, colour: RGB) -> None:
        """Paint `colour` through `mask`, whose top left corner lies at (x, y); what lies outside is cut."""
        top, left = max(y, 0), max(x, 0)
        bottom, right = min(y + mask.shape[0], SIDE), min(x + mask.shape[1], SIDE)
        if bottom <= top or right <= left:
            return
        part = mask[top - y : bottom - y, left - x : right - x, None] * np.float32(1 / 255)
        target = self.pixels[top:bottom, left:right]
        target += part * (np.asarray(colour, np.float32) - target)

    def box(self, x0: int, y0: int, x1: int, y1: int, colour: RGB) -> None:
        """Fill the rectangle from (x0, y0) up to, not including, (x1, y1)."""
        self.pixels[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = colour

    def frame(self, x0: int, y0: int, x1: int, y1: int, colour: RGB) -> None:
        """Outline a rectangle, one pixel wide; corners are inclusive and must lie inside the picture."""
        for row in (y0, y1):
            self.pixels[row, x0 : x1 + 1] = colour
        for column in (x0, x1):
            self.pixels[y0 : y1 + 1, column] = colour

    def clutter(self, amount: float = 1.0) -> None:
        """Things that do not matter: a thin frame along the border, a small label at an edge."""
        rng = self.rng
        faint = contrasting(rng, self.ground, 40.0)
        if rng.random() < 0.25 * amount:
            inset = rng.randrange(0, 4)
            self.frame(inset, inset, SIDE - 1 - inset, SIDE - 1 - inset, faint)
        if rng.random() < 0.1 * amount:
            self.small_label(rng.randrange(0, 40), rng.choice((0, SIDE - 8)))

    def small_label(self, x: int, y: int) -> None:
        """A word 7 to 9 pixels tall that names nothing."""
        rng = self.rng
        mask = glyphs(rng.choice(_LABELS), rng.randrange(8, 11))
        self.blend(mask, min(x, SIDE - 1 - mask.shape[1]), y, contrasting(rng, self.ground, 60.0))

    def finish(self) -> NDArray[np.uint8]:
        """The picture, with pixel noise in about half of the cases."""
        rng = self.rng
        if not self.plain and rng.random() < 0.5:
            x, y = rng.randrange(_NOISE_SIDE - SIDE), rng.randrange(_NOISE_SIDE - SIDE)
            self.pixels += _noise_bank()[y : y + SIDE, x : x + SIDE] * np.float32(rng.random() * 12)
        return np.clip(self.pixels, 0, 255).astype(np.uint8)
