"""The expert: it succeeds wherever a way exists, from any state, and asking it changes nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from vlmq_env_babyai.env import LEGAL_ACTIONS, BabyAI
from vlmq_env_babyai.levels import EXPERT_SUCCESS, LEVELS

ALWAYS_SOLVED = tuple(level for level in LEVELS if level not in EXPERT_SUCCESS)


def succeeds(env: BabyAI, seed: int, stray_turns: int = 0) -> bool:
    """Whether the expert solves the episode, after so many turns of random play."""
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for turn in range(10_000):
        action = env.expert_action()
        if turn < stray_turns:
            action = LEGAL_ACTIONS[int(rng.integers(len(LEGAL_ACTIONS)))]
        assert action in LEGAL_ACTIONS
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            return bool(info["success"])
    raise AssertionError("the episode does not end")


@pytest.mark.parametrize("level", ALWAYS_SOLVED)
def test_it_solves_an_episode_of_every_level(level: str) -> None:
    assert succeeds(BabyAI(level, modality="text"), seed=1000)


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_it_solves_twenty_episodes_of_every_level(level: str) -> None:
    env, rate = BabyAI(level, modality="text"), EXPERT_SUCCESS.get(level, 1.0)
    solved = sum(succeeds(env, seed) for seed in range(20))
    # three standard deviations of a binomial; none at all where success is certain
    assert abs(solved / 20 - rate) <= 3 * math.sqrt(rate * (1 - rate) / 20)


def can_be_reached(level: Any) -> bool:
    """Whether the goal of GoToImpUnlock can be, each thing being in nobody's way for long."""
    keys: set[str] = set()
    while True:
        seen, edge = set(), [tuple(map(int, level.agent_pos))]
        while edge:
            x, y = edge.pop()
            cell = level.grid.get(x, y)
            closed = cell is not None and (
                cell.type == "wall" or (cell.type == "door" and cell.is_locked and cell.color not in keys)
            )
            if closed or (x, y) in seen:
                continue
            seen.add((x, y))
            edge += [(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)]
        found = {cell.color for cell in (level.grid.get(*at) for at in seen) if cell and cell.type == "key"}
        if found <= keys:
            return any(place in seen for place in level.instrs.desc.obj_poss)
        keys |= found


def test_it_fails_only_where_the_key_is_behind_the_door_that_it_opens() -> None:
    env = BabyAI("GoToImpUnlock-v0", modality="text")
    outcomes = []
    for seed in range(3, 8):
        env.reset(seed=seed)
        solvable = can_be_reached(env._level)
        outcomes.append((solvable, succeeds(env, seed)))
    assert set(outcomes) == {(True, True), (False, False)}


@pytest.mark.parametrize("level", ["GoToRedBall-v0", "OpenTwoDoors-v0", "KeyInBox-v0", "KeyCorridorS3R2-v0"])
def test_it_goes_on_from_what_others_left(level: str) -> None:
    # on these levels random play can spoil nothing for good: no box is needed as it is
    env = BabyAI(level, modality="text", max_turns=400)
    for seed in range(3):
        assert succeeds(env, seed, stray_turns=40)


def test_asking_changes_nothing_and_is_answered_alike() -> None:
    asked, unasked = (BabyAI("KeyInBox-v0", modality="text") for _ in range(2))
    rng = np.random.default_rng(0)
    for seed in (0, 1):
        states = [asked.reset(seed=seed), unasked.reset(seed=seed)]
        for _ in range(60):
            assert states[0] == states[1]
            answers = {asked.expert_action() for _ in range(3)}
            assert len(answers) == 1
            assert asked.np_random.bit_generator.state == unasked.np_random.bit_generator.state
            action = LEGAL_ACTIONS[int(rng.integers(len(LEGAL_ACTIONS)))]
            states = [asked.step(action), unasked.step(action)]  # type: ignore[misc]
            if any(states[0][2:4]):
                break


def test_nonsense_leaves_its_advice_as_it_was() -> None:
    env = BabyAI("GoToRedBall-v0", modality="text")
    env.reset(seed=0)
    advice = env.expert_action()
    env.step("nonsense")
    assert env.expert_action() == advice


def test_it_puts_down_the_thing_that_it_is_to_go_to() -> None:
    env = BabyAI("GoToObjS6-v1", modality="text", max_turns=100)
    env.reset(seed=0)
    level = env._level
    (place,) = level.instrs.desc.obj_poss
    thing = level.grid.get(*place)
    level.grid.set(*place, None)
    level.carrying, thing.cur_pos = thing, np.array([-1, -1])
    while (action := env.expert_action()) is not None:
        _, _, terminated, _, info = env.step(action)
    assert terminated
    assert info["success"]


def test_without_a_plan_it_walks_about_and_plans_ever_more_seldom() -> None:
    env = BabyAI("GoToImpUnlock-v0", modality="text")
    env.reset(seed=6)
    assert not can_be_reached(env._level)
    actions, grids = [], set()
    while (action := env.expert_action()) is not None:
        actions.append(action)
        grids.add(env._level.grid.encode().tobytes() if len(actions) > 400 else b"")
        env.step(action)
    assert set(actions[400:]) == {"go forward", "turn left"}
    assert len(grids) == 2
    assert env._guide._pause > 100
