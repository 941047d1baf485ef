"""Paints icons: things, furniture and signs, in many colours and sizes, kept once they were painted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlmq_model_tiny.draw import RGB, Canvas
from vlmq_model_tiny.icon_shapes import SHAPES

Paint = tuple[int, int, int, int]

VARIANTS = 8
"""Sets of inks; the even ones outline every stroke, the odd ones the pale strokes alone."""

INKS: dict[str, RGB] = {
    "k": (38, 38, 44),
    "w": (250, 250, 248),
    "s": (204, 208, 214),
    "S": (128, 132, 142),
    "r": (214, 46, 40),
    "o": (240, 142, 42),
    "y": (244, 206, 52),
    "g": (76, 176, 74),
    "G": (30, 104, 54),
    "b": (70, 128, 220),
    "B": (30, 60, 170),
    "t": (112, 206, 214),
    "n": (172, 114, 62),
    "N": (102, 64, 36),
    "c": (243, 224, 182),
    "p": (242, 150, 182),
    "v": (150, 96, 196),
    "m": (228, 0, 168),
}
_MAIN = "robgtpvny"
_PALE = "wsc"
_DARK: Paint = (30, 30, 36, 255)
_FAINT: Paint = (84, 84, 92, 255)
_GRID = 16
_ENLARGE = 4
_JITTER = 18


@dataclass(frozen=True, eq=False)
class Sprite:
    """A painted icon: its colours times their opacity (h, w, 3), and what it lets through (h, w, 1)."""

    ink: NDArray[np.float32]
    rest: NDArray[np.float32]


def icon(name: str, width: int, height: int, variant: int = 0, mirrored: bool = False) -> Sprite:
    """An icon of this size in pixels, in one of the `VARIANTS`."""
    sprite = _painted(name, width, height, variant)
    return Sprite(sprite.ink[:, ::-1], sprite.rest[:, ::-1]) if mirrored else sprite


def stamp(canvas: Canvas, sprite: Sprite, x: int, y: int) -> None:
    """Put an icon on the canvas, its top left corner at (x, y); it must lie inside."""
    height, width = sprite.ink.shape[:2]
    target = canvas.pixels[y : y + height, x : x + width]
    target *= sprite.rest
    target += sprite.ink


@lru_cache(maxsize=16_384)
def _painted(name: str, width: int, height: int, variant: int) -> Sprite:
    scale = np.array((width, height)) * _ENLARGE / _GRID
    picture = Image.new("RGBA", (width * _ENLARGE, height * _ENLARGE))
    pen = ImageDraw.Draw(picture)
    inks = _inks(name, variant)
    for stroke in SHAPES[name].split("|"):
        form, ink, *numbers = stroke.split()
        pale = _FAINT if ink in _PALE else None
        outline = pale if variant % 2 else _DARK
        _paint(pen, form, (*inks[ink], 255), [int(number) for number in numbers], scale, outline)
    pixels = np.asarray(picture.convert("RGBa").reduce(_ENLARGE), np.float32)  # "a": colours times opacity
    return Sprite(pixels[..., :3].copy(), 1 - pixels[..., 3:] / np.float32(255))


@lru_cache(maxsize=1024)
def _inks(name: str, variant: int) -> dict[str, RGB]:
    rng = Random(f"{name} {variant}")
    inks = {letter: _moved(rng, colour) for letter, colour in INKS.items()}
    main = inks[rng.choice(_MAIN)]
    return inks | {"1": main, "2": (main[0] * 6 // 10, main[1] * 6 // 10, main[2] * 6 // 10)}


def _moved(rng: Random, colour: RGB) -> RGB:
    red, green, blue = (min(255, max(0, c + rng.randint(-_JITTER, _JITTER))) for c in colour)
    return red, green, blue


def _paint(
    pen: ImageDraw.ImageDraw,
    form: str,
    ink: Paint,
    numbers: list[int],
    scale: NDArray[np.float64],
    outline: Paint | None,
) -> None:
    thick = numbers.pop(0) if form in "OL" else 0
    points = np.array(numbers, np.float64).reshape(-1, 2) * scale
    width = max(2, round(thick * scale.min()))
    if form == "L":
        flat = [tuple(point) for point in points.tolist()]
        if outline:
            pen.line(flat, outline, width + 2, joint="curve")
        pen.line(flat, ink, width, joint="curve")
        return
    if form == "P":
        pen.polygon([tuple(point) for point in points.tolist()], ink, outline, 2)
        return
    box = (points[0, 0], points[0, 1], points[1, 0] - 1, points[1, 1] - 1)
    if form == "R":
        pen.rectangle(box, ink, outline, 2)
    elif form == "E":
        pen.ellipse(box, ink, outline, 2)
    else:
        pen.ellipse(box, None, ink, width)
