"""Data inside an HTML page: JSON that cannot break out of its element, and every distinct picture once."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmq.data.images import content_key

LARGEST_SIDE_PX = 800
"""A longer side is shrunk to this on the page."""
THUMBNAIL_PX = 128
"""Longest side of a thumbnail; a picture that is hardly larger is its own."""
MAX_PICTURE_BYTES = 96 * 2**20
"""Of all pictures of a page, as they stand in it: a browser must still open it."""


def safe_json(value: Any) -> str:
    """JSON in plain ASCII without `<`, `>` and `&`: whatever it holds, no HTML parser sees an end of it.

    Numbers that JSON does not know become null; others keep five significant digits.
    """
    text = json.dumps(_plain(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


class Pictures:
    """The pictures of a page, each of which is written when it is first met.

    Args:
        write: takes what stands in the page.
        most: bytes that they may take.

    Attributes:
        left_out: how many were not written because there was no room.
        shrunk: how many were larger than the page shows.
    """

    def __init__(self, write: Callable[[str], object], most: int = MAX_PICTURE_BYTES) -> None:
        self._write, self._room = write, most
        self._numbers: dict[bytes, int] = {}
        self.left_out = self.shrunk = 0

    def number(self, image: NDArray[np.uint8] | None) -> int:
        """The picture's number, -1 for none, -2 for one that is left out. Element `p<number>` holds its PNG file."""
        if image is None:
            return -1
        key = content_key(image)
        if key not in self._numbers:
            content, thumbnail = self._encoded(image)
            needed = len(content) + len(thumbnail)
            fits = needed <= self._room
            self._numbers[key] = sum(number >= 0 for number in self._numbers.values()) if fits else -2
            if fits:
                self._room -= needed
                self._put(f"p{self._numbers[key]}", content)
                if thumbnail:
                    self._put(f"t{self._numbers[key]}", thumbnail)
            else:
                self.left_out += 1
        return self._numbers[key]

    def _encoded(self, image: NDArray[np.uint8]) -> tuple[str, str]:
        picture = Image.fromarray(np.ascontiguousarray(image))
        longest = max(picture.size)
        thumbnail = _base64(_fitting(picture, THUMBNAIL_PX)) if longest > 2 * THUMBNAIL_PX else ""
        self.shrunk += longest > LARGEST_SIDE_PX
        return _base64(_fitting(picture, LARGEST_SIDE_PX)), thumbnail

    def _put(self, name: str, content: str) -> None:
        self._write(f'<script type="text/plain" id="{name}">{content}</script>\n')


def _fitting(picture: Image.Image, longest: int) -> Image.Image:
    factor = longest / max(picture.size)
    if factor >= 1:
        return picture
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    return picture.resize(size, Image.Resampling.BOX)


def _base64(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
