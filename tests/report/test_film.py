"""Episodes as film: a frame a turn and one for the end, whatever was said and however large."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from vlmq.api import Episode, Observation, Turn
from vlmq.report.film import strip, write_gif


def _episode(*shapes: tuple[int, int] | None, text: str = "go", success: bool = True) -> Episode:
    def seen(shape: tuple[int, int] | None, shade: int) -> Observation:
        image = None if shape is None else np.full((*shape, 3), shade % 256, np.uint8)
        return Observation(text, image)

    turns = tuple(
        Turn(seen(shape, 40 * number), text, text, 1.0, parsed=number != 1)
        for number, shape in enumerate(shapes)
    )
    return Episode("a/B-v0", 0, turns, seen(shapes[-1], 255), True, False, success)


def _frames(path: Path) -> list[Image.Image]:
    with Image.open(path) as picture:
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(picture)]


def test_each_turn_is_a_frame_and_the_end_one_more(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    assert write_gif(path, [_episode((8, 8), (8, 8)), _episode((8, 8))]) == 5
    frames = _frames(path)
    assert len(frames) == 5
    assert len({frame.size for frame in frames}) == 1
    # the middle of the picture, which 8 pixels were enlarged to: the shades of the turns, and of the end
    shades = [frame.getpixel((frame.width // 2, 100)) for frame in frames]
    wanted = [0, 40, 255, 0, 255]
    assert all(abs(rgb[0] - shade) < 12 for rgb, shade in zip(shades, wanted, strict=True)), shades


@pytest.mark.parametrize("text", ["", "a" * 3000, "line\n" * 200, "\udc80 \u2028 <b>", "猫"])
def test_whatever_was_said_fits_into_a_frame(tmp_path: Path, text: str) -> None:
    for number, shape in enumerate([(900, 1600), None]):
        path = tmp_path / f"{number}.gif"
        write_gif(path, [_episode(shape, text=text)])
        assert all(frame.width <= 760 and frame.height <= 900 for frame in _frames(path))


def test_a_failure_looks_different_from_a_success(tmp_path: Path) -> None:
    ends = []
    for success in (True, False):
        write_gif(tmp_path / "a.gif", [_episode((8, 8), success=success)])
        ends.append(np.asarray(_frames(tmp_path / "a.gif")[-1]))
    assert not np.array_equal(*ends)


def test_a_strip_shows_the_first_turns_and_the_end(tmp_path: Path) -> None:
    short, long = strip(_episode(*[(8, 8)] * 2)), strip(_episode(*[(8, 8)] * 30), most=4)
    assert short.dtype == np.uint8
    assert short.shape[1] / 3 == long.shape[1] / 4, "frames of one width"
    frame = long.shape[1] // 4
    assert [int(long[100, frame * n + frame // 2, 0]) for n in range(4)] == [0, 40, 80, 255]
