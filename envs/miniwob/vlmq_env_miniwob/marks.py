"""Set-of-marks: writes each element's bid on the picture, for an agent that is given no element list."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_SIZE_PX = 10
_PADDING_PX = 1


def draw_marks(
    image: NDArray[np.uint8], marks: Iterable[tuple[str, tuple[float, float, float, float]]]
) -> NDArray[np.uint8]:
    """A copy of the picture with a small red tag at the top left corner of each box.

    Args:
        image: uint8 of shape (H, W, 3).
        marks: what to write, and the box (left, top, width, height in pixels) to write it on.
    """
    picture = Image.fromarray(image)
    height, width = image.shape[:2]
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=_SIZE_PX)
    for text, (left, top, _, _) in marks:
        tag_width = int(pen.textlength(text, font=font)) + 2 * _PADDING_PX
        tag_height = _SIZE_PX + 2 * _PADDING_PX
        x = int(min(max(left, 0), width - tag_width))
        y = int(min(max(top, 0), height - tag_height))
        pen.rectangle((x, y, x + tag_width, y + tag_height), fill=(200, 0, 0))
        pen.text((x + _PADDING_PX, y), text, fill=(255, 255, 255), font=font)
    return np.array(picture, dtype=np.uint8)
