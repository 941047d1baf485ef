"""Set-of-marks: writes each element's bid on the picture, for an agent that is given no element list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""

_SIZE_PX = 10
_PADDING_PX = 1
_COLOUR = (200, 0, 0)
_SMALL_PX2 = 600
"""Area of a box below which a tag on it may hide what it holds, such as a check mark."""

# A pixel that a tag hides costs 1 where it differs from those around it, as text does; and beyond that
_SMALL_COST = 0.1  # of a small box of its own
_OTHER_COST = 0.3  # of another's box, whose tag it might be taken for
_TAG_COST = 10.0  # of another tag
_STEP_COST = 6.0  # and this much for each place that is less usual than the one before


def draw_marks(image: NDArray[np.uint8], marks: Iterable[tuple[str, Box]]) -> NDArray[np.uint8]:
    """A copy of the picture with a thin frame around each box and a small tag at it, where the tag hides least.

    Args:
        image: uint8 of shape (H, W, 3).
        marks: what to write, and the box to write it at.
    """
    marks = list(marks)
    height, width = image.shape[:2]
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=_SIZE_PX)
    inside = np.zeros((height, width), dtype=int)
    """In how many boxes each pixel lies."""
    for _, (left, top, wide, high) in marks:
        right, bottom = min(left + wide, width - 1), min(top + high, height - 1)
        pen.rectangle((max(left, 0), max(top, 0), right, bottom), outline=_COLOUR)
        inside[_part((left, top, wide, high))] += 1
    tagged = np.zeros((height, width))
    tag_high = _SIZE_PX + 2 * _PADDING_PX
    for text, box in marks:
        tag_wide = int(pen.textlength(text, font=font)) + 2 * _PADDING_PX
        own = np.zeros((height, width), dtype=int)
        own[_part(box)] = 1
        costs = _TAG_COST * tagged + _OTHER_COST * (inside > own)
        costs += _SMALL_COST * own * (box[2] * box[3] < _SMALL_PX2)
        places = list(_places(box, tag_wide, tag_high, width, height))
        hides = [_hidden(image, costs, (x, y, tag_wide, tag_high)) for x, y in places]
        x, y = places[int(np.argmin(np.array(hides) + _STEP_COST * np.arange(len(places))))]
        tagged[_part((x, y, tag_wide, tag_high))] = 1
        pen.rectangle((x, y, x + tag_wide, y + tag_high), fill=_COLOUR)
        pen.text((x + _PADDING_PX, y), text, fill=(255, 255, 255), font=font)
    return np.array(picture, dtype=np.uint8)


def _part(box: Box) -> tuple[slice, slice]:
    """Rows and columns of a box, as far as they are in the picture."""
    left, top, wide, high = box
    return slice(max(int(top), 0), max(int(top + high) + 1, 0)), slice(
        max(int(left), 0), max(int(left + wide) + 1, 0)
    )


def _hidden(image: NDArray[np.uint8], costs: NDArray[np.float64], tag: Box) -> float:
    """What a tag would hide."""
    part = _part(tag)
    under = image[part].reshape(-1, 3).astype(int)
    differs = np.abs(under - np.median(under, axis=0)).max(axis=1) > 40
    return float(differs.sum() + costs[part].sum())


def _places(box: Box, wide: int, high: int, width: int, height: int) -> Iterator[tuple[int, int]]:
    """Where a tag may stand, inside the picture: at the corner, then around the box."""
    left, top, box_wide, box_high = box
    middle = top + (box_high - high) / 2
    for x, y in (
        (left, top),
        (left - wide - 1, middle),
        (left + box_wide + 1, middle),
        (left, top - high - 1),
        (left, top + box_high + 1),
        (left + box_wide - wide, top),
    ):
        yield int(min(max(x, 0), width - wide - 1)), int(min(max(y, 0), height - high - 1))
