"""A picture drawn with characters is the picture."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from numpy.typing import NDArray

from vlmq.cli import terminal
from vlmq.cli.terminal import PALETTE, TRUE_COLOUR


def read_back(drawn: str) -> NDArray[np.uint8]:
    """The pixels that a terminal of 24-bit colours would show."""
    rows = []
    for line in drawn.split("\n"):
        assert line.endswith("\x1b[0m")
        cells = re.findall(
            rf"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m{terminal.HALF_BLOCK}", line
        )
        numbers = np.array(cells, dtype=np.uint8).reshape(-1, 2, 3)
        rows += [numbers[:, 0], numbers[:, 1]]
    return np.stack(rows)


def test_every_pixel_of_a_small_picture_is_drawn() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    assert np.array_equal(read_back(terminal.drawn(image, 80, 24, TRUE_COLOUR)), image)
    odd = read_back(terminal.drawn(image[:5], 80, 24, TRUE_COLOUR))
    assert np.array_equal(odd[:5], image[:5])


@pytest.mark.parametrize("size", [(300, 40), (40, 300), (1, 1000), (240, 320)])
def test_a_large_picture_shrinks_to_what_there_is_room_for(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 77, np.uint8)
    small = read_back(terminal.drawn(image, 60, 20, TRUE_COLOUR))
    assert small.shape[0] <= 40
    assert small.shape[1] <= 60
    assert small.shape[0] == 40 or small.shape[1] == 60, "and no further"
    assert (small == 77).all()


def test_the_palette_holds_the_nearest_colour() -> None:
    image = np.array([[[255, 0, 0], [0, 0, 0]], [[128, 128, 128], [90, 140, 255]]], dtype=np.uint8)
    codes = re.findall(r"38;5;(\d+);48;5;(\d+)m", terminal.drawn(image, 80, 24, PALETTE))
    # pure red is cube cell (5, 0, 0): 16 + 36 * 5; grey 128 is 8 + 10 * 12: code 244;
    # (90, 140, 255) is nearest to (95, 135, 255), cell (1, 2, 5): 16 + 36 + 12 + 5
    assert codes == [("196", "244"), ("16", "69")]


@pytest.mark.parametrize(
    ("environ", "depth"),
    [
        ({"TERM": "xterm-256color"}, PALETTE),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, TRUE_COLOUR),
        ({"TERM": "xterm", "COLORTERM": "yes"}, PALETTE),
        ({"TERM": "xterm"}, 0),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, 0),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, 0),
        ({}, 0),
    ],
)
def test_a_terminal_says_itself_how_many_colours_it_shows(environ: dict[str, str], depth: int) -> None:
    assert terminal.colours(environ) == depth


class Screen(io.TextIOWrapper):
    """A file that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_only_a_terminal_that_knows_the_half_block_is_drawn_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.can_draw(Screen(io.BytesIO(), encoding="utf-8"))
    assert not terminal.can_draw(Screen(io.BytesIO(), encoding="ascii"))
    assert not terminal.can_draw(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    monkeypatch.setenv("TERM", "dumb")
    assert not terminal.can_draw(Screen(io.BytesIO(), encoding="utf-8"))
