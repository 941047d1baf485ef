"""Drawing: cached glyph masks, stamped with numpy on a square canvas, and the colours of one episode.

Pillow only rasterises each glyph once; a frame is then a few array operations, so drawing costs less than
most of what an agent does between two frames. The font is the scalable one inside Pillow itself: no file
is opened, so the working directory does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vlmq.api import PluginError

Mask = NDArray[np.float32]
"""Coverage in [0, 1] of shape (height, width), cropped to the ink."""

Colour = NDArray[np.float32]
"""Three channels in [0, 255]."""

UNIT_PX = 64
"""Layouts are written for a picture of this side and scaled to the side that was asked for."""

WEIGHTS = (0.0, 0.35, 0.7)
"""Stroke widths, in layout pixels, added around a glyph: regular, medium, bold."""

_SUPERSAMPLE = 4


def rgb(red: float, green: float, blue: float) -> Colour:
    """A colour from its channels in [0, 255]."""
    return np.array((red, green, blue), np.float32)


def dark(rng: np.random.Generator) -> Colour:
    """A random colour that reads well on any `light` one: no channel above 90."""
    return rng.integers(0, 91, size=3).astype(np.float32)


def light(rng: np.random.Generator) -> Colour:
    """A random colour that reads well on any `dark` one: no channel below 185."""
    return rng.integers(185, 256, size=3).astype(np.float32)


def jitter(rng: np.random.Generator, across: int, down: int | None = None) -> tuple[int, int]:
    """A random displacement (x, y) in whole layout pixels, at most `across` and `down` either way."""
    down = across if down is None else down
    return int(rng.integers(-across, across + 1)), int(rng.integers(-down, down + 1))


@dataclass(frozen=True, eq=False)
class Grain:
    """Additive noise of one episode.

    Attributes:
        offsets: (size, size, 3), added to every frame of the episode; None for a clean picture.
    """

    offsets: NDArray[np.int8] | None = None

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int, strongest: int = 12) -> Grain:
        """Uniform noise whose amplitude is itself random, at least 2 and at most `strongest` grey levels."""
        reach = int(rng.integers(2, strongest + 1))
        return cls(rng.integers(-reach, reach + 1, size=(size, size, 3), dtype=np.int8))


class Canvas:
    """A square picture under construction. Positions and lengths are in layout pixels, see `UNIT_PX`."""

    def __init__(self, size: int, background: Colour) -> None:
        self.size = size
        self.scale = size / UNIT_PX
        self._pixels = np.empty((size, size, 3), np.float32)
        self._pixels[:] = background

    def copy(self) -> Canvas:
        """An independent canvas with the same content."""
        twin = object.__new__(Canvas)
        twin.size, twin.scale, twin._pixels = self.size, self.scale, self._pixels.copy()
        return twin

    def fill(self, left: float, top: float, width: float, height: float, colour: Colour) -> None:
        """Paint a rectangle."""
        x0, y0 = round(left * self.scale), round(top * self.scale)
        x1, y1 = round((left + width) * self.scale), round((top + height) * self.scale)
        self._pixels[max(y0, 0) : y1, max(x0, 0) : x1] = colour

    def write(
        self,
        text: str,
        x: float,
        y: float,
        height: float,
        colour: Colour,
        weight: float = 0.0,
        room: float = 0.0,
    ) -> None:
        """Write `text` with its ink centred on (x, y).

        `height` is that of a digit; a text wider than `room`, where one is given, is made smaller.
        """
        mask = glyph(text, height * self.scale, weight * self.scale)
        if room and mask.shape[1] > room * self.scale:
            smaller = height * room * self.scale / mask.shape[1]
            mask = glyph(text, smaller * self.scale, weight * self.scale)
        self.stamp(mask, x, y, colour)

    def stamp(self, mask: Mask, x: float, y: float, colour: Colour) -> None:
        """Blend a mask in, centred on (x, y); one that would leave the picture is moved back inside."""
        height, width = mask.shape
        top = min(max(round(y * self.scale - height / 2), 0), self.size - height)
        left = min(max(round(x * self.scale - width / 2), 0), self.size - width)
        region = self._pixels[top : top + height, left : left + width]
        region += mask[:, :, None] * (colour - region)

    def finish(self, grain: Grain) -> NDArray[np.uint8]:
        """The picture as a new uint8 array of shape (size, size, 3)."""
        pixels = self._pixels if grain.offsets is None else self._pixels + grain.offsets
        # The half rounds to nearest, for the cast cuts the fraction off.
        return (np.clip(pixels, 0, 255) + 0.5).astype(np.uint8)


@lru_cache(maxsize=2048)
def glyph(text: str, height_px: float, weight_px: float) -> Mask:
    """The mask of `text` at a size where a digit's ink, its stroke not counted, is `height_px` tall."""
    font = _font(height_px / _digit_height())
    left, top, right, bottom = font.getbbox(text, stroke_width=weight_px)
    margin = 2
    image = Image.new("L", (int(right - left) + 2 * margin + 1, int(bottom - top) + 2 * margin + 1))
    pen = ImageDraw.Draw(image)
    pen.text((margin - left, margin - top), text, fill=255, font=font, stroke_width=weight_px)
    return _cropped(image)


@lru_cache(maxsize=256)
def pip(suit: str, height_px: int) -> Mask:
    """The mask of a suit: "S"pades, "H"earts, "D"iamonds or "C"lubs."""
    side = max(4, height_px) * _SUPERSAMPLE
    image = Image.new("L", (side, side))
    pen = ImageDraw.Draw(image)

    def dot(x: float, y: float, radius: float) -> None:
        box = [(x - radius) * side, (y - radius) * side, (x + radius) * side, (y + radius) * side]
        pen.ellipse(box, fill=255)

    def polygon(*points: tuple[float, float]) -> None:
        pen.polygon([(x * side, y * side) for x, y in points], fill=255)

    if suit == "D":
        polygon((0.5, 0.0), (0.88, 0.5), (0.5, 1.0), (0.12, 0.5))
    elif suit == "H":
        dot(0.27, 0.29, 0.25)
        dot(0.73, 0.29, 0.25)
        polygon((0.05, 0.41), (0.95, 0.41), (0.5, 1.0))
    elif suit == "S":
        dot(0.27, 0.57, 0.23)
        dot(0.73, 0.57, 0.23)
        polygon((0.06, 0.47), (0.94, 0.47), (0.5, 0.0))
        polygon((0.5, 0.5), (0.7, 1.0), (0.3, 1.0))
    else:
        dot(0.5, 0.23, 0.23)
        dot(0.25, 0.58, 0.23)
        dot(0.75, 0.58, 0.23)
        polygon((0.5, 0.3), (0.7, 1.0), (0.3, 1.0))
    return _cropped(image.reduce(_SUPERSAMPLE))


def _cropped(image: Image.Image) -> Mask:
    box = image.getbbox()
    ink = image if box is None else image.crop(box)
    mask: Mask = np.asarray(ink, np.float32) / np.float32(255)
    mask.setflags(write=False)  # it is shared by every frame that shows it
    return mask


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise PluginError(
            "vlmq-env-cards: this Pillow has no FreeType support and cannot scale its font; "
            "reinstall it from a wheel: pip install --force-reinstall pillow"
        )
    return font


@lru_cache(maxsize=1)
def _digit_height() -> float:
    """Height of a digit's ink, as a fraction of the font size."""
    _, top, _, bottom = _font(200).getbbox("0")
    return (bottom - top) / 200
