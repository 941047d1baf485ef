"""Draws the pictures of the memory task. What is random comes from the generator passed in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIZE_PX = 64

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (200, 40, 40),
    "green": (40, 150, 60),
    "blue": (50, 80, 200),
    "yellow": (230, 200, 40),
}

SHAPES = ("circle", "square", "triangle")

_BACKGROUNDS = ((245, 245, 240), (225, 230, 240), (210, 205, 200), (60, 60, 70), (30, 35, 40))
# Light grey and not mid-grey: a picture of 127 or 128 throughout is nothing at all after normalisation, and
# some models drop it.
_GREY = (190, 190, 190)
_INK = (90, 90, 90)

_SCALE = 4  # drawn large and shrunk: smooth edges


def draw_cue(colour: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture to remember: one shape of this colour; shape, size, place and background vary."""
    background = _BACKGROUNDS[rng.integers(len(_BACKGROUNDS))]
    image, draw = _canvas(background)
    radius = rng.uniform(10, 20)
    x, y = rng.uniform(radius + 2, SIZE_PX - radius - 2, size=2)
    jitter = rng.integers(-15, 16, size=3)
    red, green, blue = (int(np.clip(c + j, 0, 255)) for c, j in zip(COLOURS[colour], jitter, strict=True))
    _shape(draw, SHAPES[rng.integers(len(SHAPES))], float(x), float(y), radius, (red, green, blue))
    return _pixels(image)


def draw_distractor(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture without the answer: grey shapes on a lighter grey."""
    image, draw = _canvas(_GREY)
    for _ in range(int(rng.integers(2, 5))):
        radius = rng.uniform(4, 9)
        x, y = rng.uniform(radius, SIZE_PX - radius, size=2)
        _shape(draw, SHAPES[rng.integers(len(SHAPES))], float(x), float(y), radius, _INK)
    return _pixels(image)


def draw_question() -> NDArray[np.uint8]:
    """The picture of the last turn: a question mark, the same in every episode."""
    image, draw = _canvas(_GREY)
    s = _SCALE
    draw.arc((20 * s, 12 * s, 44 * s, 36 * s), start=180, end=90, fill=_INK, width=5 * s)
    draw.rectangle((30 * s, 34 * s, 35 * s, 44 * s), fill=_INK)
    draw.ellipse((29 * s, 48 * s, 36 * s, 55 * s), fill=_INK)
    return _pixels(image)


def _canvas(colour: tuple[int, int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (SIZE_PX * _SCALE, SIZE_PX * _SCALE), colour)
    return image, ImageDraw.Draw(image)


def _shape(
    draw: ImageDraw.ImageDraw, shape: str, x: float, y: float, radius: float, fill: tuple[int, int, int]
) -> None:
    x, y, r = x * _SCALE, y * _SCALE, radius * _SCALE
    if shape == "circle":
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    elif shape == "square":
        draw.rectangle((x - 0.85 * r, y - 0.85 * r, x + 0.85 * r, y + 0.85 * r), fill=fill)
    else:
        draw.polygon([(x, y - r), (x - r, y + 0.8 * r), (x + r, y + 0.8 * r)], fill=fill)


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.reduce(_SCALE), dtype=np.uint8)
