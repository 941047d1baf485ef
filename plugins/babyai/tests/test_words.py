"""The level in words, on a room furnished by hand, and beside the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from minigrid.core.world_object import Ball, Box, Door, Key
from vlmq_env_babyai.env import LEGAL_ACTIONS, BabyAI
from vlmq_env_babyai.words import describe


def furnished(things: dict[tuple[int, int], Any], at: tuple[int, int], heading: int) -> Any:
    """A room of 6 x 6 cells within walls; headings: 0 is right, 1 down, 2 left, 3 up."""
    env = BabyAI("GoToRedBallNoDists-v0", modality="text")
    env.reset(seed=0)
    level = env._level
    for x in range(1, 7):
        for y in range(1, 7):
            level.grid.set(x, y, None)
    for place, thing in things.items():
        level.grid.set(*place, thing)
    level.agent_pos, level.agent_dir = at, heading
    return level


THINGS = {
    (4, 1): Ball("red"),
    (6, 4): Key("grey"),
    (2, 3): Box("blue"),
    (4, 6): Ball("green"),
    (0, 4): Door("yellow", is_locked=True),
    (7, 2): Door("purple", is_open=True),
    (5, 0): Door("red"),
}


def test_the_agents_own_view_ends_at_its_sides() -> None:
    # at (4, 4), looking up: the picture is 7 cells wide, from three to its left to three to its right
    told = describe(furnished(THINGS, (4, 4), 3), "agent")
    assert told == (
        "You see: grey key 2 right; red ball 3 ahead; blue box 1 ahead 2 left;"
        " closed red door 4 ahead 1 right; open purple door 2 ahead 3 right.\n"
        "Walls: 4 ahead, 3 right."
    )


def test_the_full_view_tells_what_is_behind_as_well() -> None:
    told = describe(furnished(THINGS, (4, 4), 3), "full")
    assert told == (
        "You see: grey key 2 right; green ball 2 behind; red ball 3 ahead; blue box 1 ahead 2 left;"
        " locked yellow door 4 left; closed red door 4 ahead 1 right; open purple door 2 ahead 3 right.\n"
        "Walls: 4 ahead, 3 right, 3 behind."
    )


@pytest.mark.parametrize("heading", range(4))
def test_the_words_turn_with_the_agent(heading: int) -> None:
    # two cells before it and one to its right
    ahead = ((1, 0), (0, 1), (-1, 0), (0, -1))[heading]
    place = (4 + 2 * ahead[0] - ahead[1], 4 + 2 * ahead[1] + ahead[0])
    for view in ("agent", "full"):
        told = describe(furnished({place: Ball("red")}, (4, 4), heading), view)
        assert told.startswith("You see: red ball 2 ahead 1 right.\nWalls: ")


def test_an_empty_view_says_so() -> None:
    assert describe(furnished({}, (6, 6), 1), "agent") == "You see: nothing.\nWalls: 1 ahead, 1 left."


@pytest.mark.parametrize("view", ["agent", "full"])
@pytest.mark.parametrize("level", ["SynthS5R2-v0", "KeyInBox-v0", "PutNextS4N1-v0"])
def test_where_the_pictures_are_alike_so_are_the_words(level: str, view: str) -> None:
    env, rng = BabyAI(level, modality="both", view=view, size=160), np.random.default_rng(0)
    told: dict[bytes, str] = {}
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        mission = env._level.mission
        for _ in range(60):
            seen = observation["text"].partition("You see")[2].partition("You carry")[0]
            assert told.setdefault(observation["image"].tobytes() + mission.encode(), seen) == seen
            observation, _, terminated, truncated, _ = env.step(LEGAL_ACTIONS[int(rng.integers(6))])
            if terminated or truncated:
                break
    assert len(set(told.values())) > 10
