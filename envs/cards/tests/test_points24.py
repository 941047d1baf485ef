"""The rules of Points24, which deals can be solved, and the oddities of the original that it must not have."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from vlmq_env_cards.arithmetic import evaluate, uses_exactly
from vlmq_env_cards.playing_cards import RANKS, WORTH
from vlmq_env_cards.points24 import GOAL, Points24
from vlmq_env_cards.solver import formulas, values

GOING, WON, WRONG, LOST_SYMBOL = (
    (0.0, False, False),
    (10.0, True, False),
    (-1.0, True, False),
    (-1.0, False, False),
)


def dealt(*ranks: str) -> Points24:
    """A game with these cards."""
    env = Points24(modality="text", solvable_only=False)
    env.reset(seed=0)
    env._ranks = ranks
    return env


def play(env: Points24, actions: str) -> list[tuple[float, bool, bool]]:
    return [env.step(action)[1:4] for action in actions.split()]


@pytest.mark.parametrize(
    ("cards", "formula"),
    [
        ("8 3 8 3", "8 / ( 3 - 8 / 3 ) ="),  # wrong by a hair where floats judge
        ("A 2 3 4", "1 * 2 * 3 * 4 ="),
        ("K Q 2 2", "10 + 10 + 2 + 2 ="),
        ("5 5 5 A", "5 * ( 5 - 1 / 5 ) ="),
    ],
)
def test_a_formula_that_makes_24_of_all_cards_earns_10(cards: str, formula: str) -> None:
    assert play(dealt(*cards.split()), formula)[-1] == WON


@pytest.mark.parametrize(
    ("cards", "formula"),
    [
        ("2 4 A A", "2 4 * 1 * 1 ="),  # digits do not join
        ("6 4 A A", "6 * 4 ="),  # two cards are left over
        ("2 3 4 A", "2 * 3 * 4 + 1 ="),
        ("2 3 4 A", "="),
        ("2 2 6 A", "2 * * 2 * 6 * 1 ="),
        ("2 3 4 A", "( 2 * 3 * 4 * 1 ="),
    ],
)
def test_any_other_formula_costs_1_and_ends(cards: str, formula: str) -> None:
    assert play(dealt(*cards.split()), formula)[-1] == WRONG


def test_a_number_no_unused_card_is_worth_costs_1_and_is_not_written() -> None:
    env = dealt("2", "3", "4", "A")
    assert play(env, "9 2 2") == [LOST_SYMBOL, GOING, LOST_SYMBOL]
    assert env._formula == ("2",)


def test_the_twenty_first_symbol_truncates() -> None:
    env = dealt("2", "3", "4", "A")
    results = play(env, " ".join(["("] * 21))
    assert results[:20] == [GOING] * 20
    assert results[20] == (-1.0, False, True)


def test_of_28561_deals_20876_can_make_24() -> None:
    deals = Counter(tuple(sorted(four)) for four in product((WORTH[rank] for rank in RANKS), repeat=4))
    assert sum(deals.values()) == 28_561
    assert sum(count for four, count in deals.items() if GOAL in values(four)) == 20_876


def test_only_solvable_deals_occur_unless_asked_otherwise() -> None:
    for only, share in ((True, 1.0), (False, 0.73)):
        env = Points24(modality="text", solvable_only=only)
        env.reset(seed=0)
        solvable = []
        for _ in range(200):
            env.reset()
            solvable.append(GOAL in values(tuple(sorted(env._numbers()))))
        assert np.mean(solvable) == pytest.approx(share, abs=0.0 if only else 0.1)


@pytest.mark.parametrize(
    "numbers", [(3, 3, 8, 8), (1, 2, 3, 4), (5, 5, 5, 1), (10, 10, 10, 4), (4, 4, 6, 10)]
)
def test_every_formula_of_the_solver_is_right_and_uses_each_number_once(numbers: tuple[int, ...]) -> None:
    found = formulas(tuple(sorted(numbers)), GOAL)
    assert bool(found) == (Fraction(GOAL) in values(tuple(sorted(numbers))))
    for formula in found:
        assert evaluate(formula) == GOAL
        assert uses_exactly(formula, numbers)
    assert [len(formula) for formula in found] == sorted(len(formula) for formula in found)


def test_the_expert_wins_every_deal_and_goes_on_from_what_others_wrote() -> None:
    env = Points24(modality="text")
    for seed in range(60):
        env.reset(seed=seed)
        over, reward = False, 0.0
        while not over:
            _, reward, terminated, truncated, _ = env.step(env.expert_action())
            over = terminated or truncated
        assert reward == 10.0
    env = dealt("8", "3", "8", "3")
    play(env, "8 / (")
    assert env.expert_action() == "3"
    play(env, "8")
    assert env.expert_action() == "=", "nothing can be made of it any more"
    assert dealt("A", "A", "A", "A").expert_action() == "="


def test_the_longest_formula_stays_in_its_tray() -> None:
    env = Points24(variation=False)
    env.reset(seed=0)
    clean = env._draw()
    env._formula = ("10",) * 4 + ("(",) * 16
    changed = np.argwhere((env._draw() != clean).any(-1))
    assert changed[:, 0].min() > 31
    assert changed.max() < 64
    # The last line is drawn too: its characters are there.
    assert (changed[:, 0] > 52).any()
