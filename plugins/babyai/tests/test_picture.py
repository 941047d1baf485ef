"""The picture: square, of the size asked for, and in it each thing can be told from the others."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from minigrid.core.constants import COLOR_NAMES
from minigrid.core.world_object import Ball, Box, Door, Key
from numpy.typing import NDArray
from vlmq_env_babyai.env import BabyAI
from vlmq_env_babyai.picture import SMALLEST_CELL_PX, cells_across, draw

KINDS = {
    "ball": Ball,
    "box": Box,
    "key": Key,
    "closed door": Door,
    "open door": lambda colour: Door(colour, is_open=True),
    "locked door": lambda colour: Door(colour, is_locked=True),
}


def level_of(env: BabyAI) -> Any:
    env.reset(seed=0)
    return env._level


def cell_with(thing: Any, cell_px: int) -> NDArray[np.int64]:
    """The picture of the one cell before the agent."""
    level = level_of(BabyAI("GoToRedBallNoDists-v0", modality="text"))
    level.agent_pos, level.agent_dir = (4, 4), 3
    level.grid.set(4, 3, thing)
    picture = draw(level, "agent", 7 * cell_px)
    return picture[5 * cell_px : 6 * cell_px, 3 * cell_px : 4 * cell_px].astype(int)


def differing(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """Pixels that differ clearly."""
    return int((np.abs(one - other).max(axis=-1) > 25).sum())


@pytest.mark.parametrize("cell_px", [SMALLEST_CELL_PX, 64 // 7])
def test_every_thing_and_its_absence_can_be_told_apart(cell_px: int) -> None:
    for colour in COLOR_NAMES:
        cells = [cell_with(make(colour), cell_px) for make in KINDS.values()]
        assert min(differing(*pair) for pair in combinations([*cells, cell_with(None, cell_px)], 2)) > 5
    for make in KINDS.values():
        cells = [cell_with(make(colour), cell_px) for colour in COLOR_NAMES]
        assert min(differing(*pair) for pair in combinations(cells, 2)) > 5


@pytest.mark.parametrize("colour", COLOR_NAMES)
def test_ball_key_and_box_differ_in_a_sixth_of_their_cell_at_the_default_size(colour: str) -> None:
    cells = [cell_with(KINDS[kind](colour), 64 // 7) for kind in ("ball", "key", "box")]
    assert min(differing(*pair) for pair in combinations(cells, 2)) > (64 // 7) ** 2 / 6


@pytest.mark.parametrize("view", ["agent", "full"])
@pytest.mark.parametrize("name", ["KeyCorridorS3R1-v0", "PutNextS4N1-v0", "OneRoomS8-v0"])
def test_any_size_holds_the_level_in_the_middle_in_whole_pixels(name: str, view: str) -> None:
    level = level_of(BabyAI(name, modality="text"))
    cells = cells_across(level, view)
    for size in (7 * cells, 7 * cells + 1, 128):
        picture, cell_px = draw(level, view, size), size // cells
        assert (picture.shape, picture.dtype) == ((size, size, 3), np.uint8)
        frame = level.get_frame(tile_size=cell_px, agent_pov=view == "agent")
        height, width = frame.shape[:2]
        top, left = (size - height) // 2, (size - width) // 2
        np.testing.assert_array_equal(picture[top : top + height, left : left + width], frame)
        picture[top : top + height, left : left + width] = 0
        assert not picture.any()


def test_a_picture_is_the_callers_own() -> None:
    env = BabyAI("GoToRedBall-v0")
    first = env.reset(seed=0)[0]["image"]
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(env.step("nonsense")[0]["image"], kept)
