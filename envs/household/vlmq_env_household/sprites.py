"""The sprites, read from text, coloured and scaled for one picture."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image

INKS = {
    "k": (38, 38, 44),  # black
    "w": (252, 252, 250),  # white
    "s": (205, 210, 216),  # silver
    "S": (128, 134, 144),  # grey
    "r": (214, 44, 38),  # red
    "R": (138, 22, 28),
    "o": (240, 140, 40),  # orange
    "y": (246, 208, 50),  # yellow
    "g": (76, 178, 72),  # green
    "G": (28, 102, 52),
    "b": (70, 130, 222),  # blue
    "B": (28, 58, 140),
    "t": (112, 208, 216),  # turquoise
    "n": (172, 112, 60),  # brown
    "N": (102, 62, 34),
    "c": (244, 224, 180),  # cream
    "p": (242, 150, 182),  # pink
    "v": (150, 96, 196),  # violet
    "V": (92, 52, 128),
    "m": (230, 0, 170),  # magenta: the agent's own
}
"""What the letters of `sprites.txt` stand for."""

_LETTERS = tuple(INKS)
_ENLARGE = 8
"""A sprite is scaled by an uneven factor by way of one this much larger, so that its edges stay where they are."""

Palette = NDArray[np.uint8]
"""(number of inks + 1, 4): red, green, blue, opacity of each letter; the first row is transparent."""


def palette(rng: np.random.Generator | None) -> Palette:
    """The inks, each a little off for one episode; without a generator, as they stand in `INKS`."""
    colours = np.array([(0, 0, 0), *INKS.values()], np.int64)
    if rng is not None:
        colours += rng.integers(-14, 15, size=colours.shape)
    opacity = np.full((len(colours), 1), 255)
    opacity[0] = 0
    return np.concatenate([colours.clip(0, 255), opacity], axis=1).astype(np.uint8)


def sprite(name: str, inks: Palette, width: int, height: int, mirrored: bool = False) -> Image.Image:
    """A sprite as an image with opacity, scaled to this many pixels."""
    dots = shapes()[name]
    image = Image.fromarray(inks[dots[:, ::-1] if mirrored else dots])
    if image.size == (width, height):
        return image
    if width % image.width == 0 and height % image.height == 0:
        return image.resize((width, height), Image.Resampling.NEAREST)
    large = image.resize((image.width * _ENLARGE, image.height * _ENLARGE), Image.Resampling.NEAREST)
    return large.resize((width, height), Image.Resampling.BOX)


@lru_cache(maxsize=1)
def shapes() -> dict[str, NDArray[np.uint8]]:
    """Every sprite by name: (height, width), the row of its ink in a `Palette`, 0 where it is transparent."""
    text = resources.files(__package__).joinpath("sprites.txt").read_text(encoding="ascii")
    blocks = text.split("\n= ")[1:]
    return {name: _shape(name, rows) for name, *rows in (block.split() for block in blocks)}


def _shape(name: str, rows: list[str]) -> NDArray[np.uint8]:
    if len({len(row) for row in rows}) != 1:
        raise ValueError(f"sprites.txt: the rows of '{name}' differ in length")
    return np.array([[_LETTERS.index(c) + 1 if c != "." else 0 for c in row] for row in rows], np.uint8)
