"""Draws a picture with a terminal's characters: half blocks, two pixels each, one in front and one as the ground."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HALF_BLOCK = "▀"
TRUE_COLOUR, PALETTE = 2**24, 256


def colours(environ: Mapping[str, str]) -> int:
    """How many colours a terminal of these environment variables shows; 0 where too few, or none are wanted."""
    if environ.get("NO_COLOR") or environ.get("TERM", "dumb") == "dumb":
        return 0
    if environ.get("COLORTERM") in ("truecolor", "24bit"):
        return TRUE_COLOUR
    return PALETTE if "256color" in environ["TERM"] or environ.get("COLORTERM") else 0


def can_draw(out: TextIO) -> bool:
    """Whether what is written there reaches a terminal that shows colours and knows the half block."""
    try:
        HALF_BLOCK.encode(out.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return out.isatty() and colours(os.environ) > 0


def drawn(image: NDArray[np.uint8], columns: int, lines: int, depth: int) -> str:
    """The picture (height, width, 3) in at most so many columns and lines; it shrinks to fit, and never grows."""
    import numpy as np

    small = _shrunk(image, columns, 2 * lines)
    if len(small) % 2:
        small = np.concatenate([small, small[-1:]])
    codes = _true_codes(small) if depth == TRUE_COLOUR else _palette_codes(small)
    rows = []
    for upper, lower in zip(codes[::2], codes[1::2], strict=True):
        cells = (f"\x1b[38;{top};48;{bottom}m{HALF_BLOCK}" for top, bottom in zip(upper, lower, strict=True))
        rows.append("".join(cells) + "\x1b[0m")
    return "\n".join(rows)


def _shrunk(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image

    factor = min(width / image.shape[1], height / image.shape[0])
    if factor >= 1:
        return image
    size = max(1, int(image.shape[1] * factor)), max(1, int(image.shape[0] * factor))
    # each new pixel the mean of those it stands for: thin lines fade, and do not vanish
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _true_codes(image: NDArray[np.uint8]) -> list[list[str]]:
    return [[f"2;{r};{g};{b}" for r, g, b in row] for row in image.tolist()]


def _palette_codes(image: NDArray[np.uint8]) -> list[list[str]]:
    """The nearest of the 240 fixed colours: a cube of six levels a channel (16 to 231), and greys (232 to 255)."""
    import numpy as np

    levels = np.array([0, 95, 135, 175, 215, 255])
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    table = np.concatenate([cube, np.repeat(8 + 10 * np.arange(24), 3).reshape(-1, 3)])
    seen, which = np.unique(image.reshape(-1, 3).astype(int), axis=0, return_inverse=True)
    nearest = 16 + np.square(seen[:, None] - table[None]).sum(axis=-1).argmin(axis=1)
    return [[f"5;{code}" for code in row] for row in nearest[which].reshape(image.shape[:2]).tolist()]
