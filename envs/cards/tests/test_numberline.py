"""The rules of NumberLine, its chance level, and the oddities of the original that it must not have."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from vlmq_env_cards.numberline import HIGHEST, NumberLine


def at(target: int, current: int) -> NumberLine:
    """A game dealt with these numbers: the first seed that deals them."""
    env = NumberLine(modality="text")
    for seed in range(2000):
        if env.reset(seed=seed)[1]["state_key"] == (target, current):
            return env
    raise AssertionError(f"no seed deals target {target}, current {current}")


def test_reward_is_one_at_the_target_minus_one_when_not_closer_else_zero() -> None:
    env = at(target=3, current=1)
    assert env.step("+")[1:4] == (0.0, False, False)  # 2: closer
    assert env.step("-")[1:4] == (-1.0, False, False)  # 1: farther
    assert env.step("+")[1:4] == (0.0, False, False)  # 2
    _, reward, terminated, truncated, info = env.step("+")  # 3: there
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)


@pytest.mark.parametrize(("target", "current", "action"), [(2, 0, "-"), (2, 5, "+")])
def test_the_ends_of_the_line_hold_and_cost(target: int, current: int, action: str) -> None:
    env = at(target, current)
    _, reward, _, _, info = env.step(action)
    assert (reward, info["state_key"]) == (-1.0, (target, current))


def test_ten_turns_without_the_target_truncate() -> None:
    env = at(target=5, current=0)
    ends = [env.step("+-"[turn % 2])[2:4] for turn in range(10)]
    assert ends == [(False, False)] * 9 + [(False, True)]


def test_the_tenth_turn_can_still_win() -> None:
    env = at(target=1, current=0)
    for _ in range(9):
        env.step("-")
    _, reward, terminated, truncated, info = env.step("+")
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)


def test_the_two_numbers_always_differ_and_every_pair_is_dealt() -> None:
    # The original's reset may deal the goal, and then moves the target during the episode.
    env = NumberLine(modality="text")
    env.reset(seed=0)
    pairs = {env.reset()[1]["state_key"] for _ in range(2000)}
    everything = {(t, c) for t in range(HIGHEST + 1) for c in range(HIGHEST + 1) if t != c}
    assert pairs == everything


def test_an_equal_pair_becomes_the_next_target_modulo_5() -> None:
    # The six equal pairs of 36 each double one other: C = 0..5 with T = 1, 2, 3, 4, 0, 1. The chance level of
    # the game depends on it, so the frequencies matter, not only the pairs.
    env = NumberLine(modality="text")
    env.reset(seed=0)
    deals = Counter(env.reset()[1]["state_key"] for _ in range(7200))
    doubled = {(1, 0), (2, 1), (3, 2), (4, 3), (0, 4), (1, 5)}
    # Expected 400 for those and 200 for the others, with standard deviations of 19 and 14.
    assert {pair for pair, count in deals.items() if count > 300} == doubled


def test_the_target_never_moves_within_an_episode() -> None:
    env = NumberLine(modality="text")
    for seed in range(50):
        target = env.reset(seed=seed)[1]["state_key"][0]
        assert {env.step("xyz")[4]["state_key"][0] for _ in range(10)} == {target}


def test_seeds_are_obeyed() -> None:
    # The original ignores them: it draws from the global generator.
    env = NumberLine(modality="text")
    first = [env.reset(seed=seed)[1]["state_key"] for seed in range(30)]
    assert first == [env.reset(seed=seed)[1]["state_key"] for seed in range(30)]
    assert len(set(first)) > 10


@pytest.mark.parametrize("text", ["", "up", "I add + now", "+ or -", "plus", "+1"])
def test_unparseable_text_is_never_turned_into_an_action(text: str) -> None:
    # In the original's training loop it becomes a random action. Ten tries would almost surely move once.
    env = at(target=4, current=1)
    for _ in range(10):
        info = env.step(text)[4]
        assert (info["state_key"], info["action_ok"]) == ((4, 1), False)


def exact_random_play() -> tuple[float, float]:
    """Probability to reach the target, and of a return above 0, from the rules on paper."""
    reached = positive = 0.0
    chances: dict[tuple[int, int, int], float] = defaultdict(float)  # target, current, return so far
    for current in range(6):
        for target in range(6):
            chances[(target + 1) % 5 if target == current else target, current, 0] += 1 / 36
    for _ in range(10):
        after: dict[tuple[int, int, int], float] = defaultdict(float)
        for (target, current, so_far), chance in chances.items():
            for move in (-1, 1):
                there = min(max(current + move, 0), 5)
                if there == target:
                    reached += chance / 2
                    positive += chance / 2 * (so_far + 1 > 0)
                else:
                    closer = abs(there - target) < abs(current - target)
                    after[target, there, so_far - (not closer)] += chance / 2
        chances = after
    return reached, positive


def test_random_play_reaches_the_target_in_61_and_earns_in_28_3_percent() -> None:
    reached, positive = exact_random_play()
    assert round(100 * reached, 1) == 61.1
    assert round(100 * positive, 1) == 28.3
    episodes = 4000
    env, chooser = NumberLine(modality="text"), np.random.default_rng(0)
    env.reset(seed=0)
    won = earned = 0
    for _ in range(episodes):
        env.reset()
        over, total = False, 0.0
        while not over:
            _, reward, terminated, truncated, info = env.step("+-"[chooser.integers(2)])
            total += reward
            over = terminated or truncated
        won += info["success"]
        earned += total > 0
    for count, chance in ((won, reached), (earned, positive)):
        spread = (chance * (1 - chance) / episodes) ** 0.5
        assert abs(count / episodes - chance) < 4 * spread
