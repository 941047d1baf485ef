"""The rules of EZPoints, its chance level, and the oddities of the original that it must not have."""

from __future__ import annotations

from copy import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
from vlmq_env_cards.ezpoints import DEALS, EZPoints
from vlmq_env_cards.playing_cards import WORTH


@cache
def seed_of(first: str, second: str) -> int:
    """The first seed that deals these two ranks."""
    env = EZPoints(modality="text")
    for seed in range(5000):
        if env.reset(seed=seed)[1]["state_key"][0] == (first, second):
            return seed
    raise AssertionError(f"no seed deals {first} {second}")


def dealt(first: str, second: str, modality: str = "text") -> EZPoints:
    env = EZPoints(modality=modality)
    env.reset(seed=seed_of(first, second))
    return env


def play(env: EZPoints, actions: str) -> list[tuple[float, bool, bool]]:
    """Reward, terminated and truncated of each action in a blank-separated row."""
    return [env.step(action)[1:4] for action in actions.split()]


def formula(info: dict[str, Any]) -> tuple[str, ...]:
    """The formula within the state key."""
    written: tuple[str, ...] = info["state_key"][2]
    return written


GOING, LOST_SYMBOL = (0.0, False, False), (-1.0, False, False)
WON, WRONG, TOO_LONG = (10.0, True, False), (-1.0, True, False), (-1.0, False, True)


@pytest.mark.parametrize(
    ("cards", "actions"),
    [(("3", "4"), "3 * 4 ="), (("4", "3"), "3 * 4 ="), (("9", "3"), "3 + 9 ="), (("K", "2"), "10 + 2 =")],
)
def test_a_formula_that_makes_12_of_both_cards_earns_10(cards: tuple[str, str], actions: str) -> None:
    assert play(dealt(*cards), actions) == [GOING, GOING, GOING, WON]


@pytest.mark.parametrize(
    ("cards", "actions", "why"),
    [
        (("3", "4"), "3 + 4 =", "7 is not 12"),
        (("6", "6"), "6 =", "one card is left over"),
        (("6", "6"), "=", "nothing was written"),
        (("3", "4"), "3 4 =", "no operator: 34 or nothing"),
        (("3", "9"), "3 + =", "unfinished"),
        (("3", "9"), "+ 3 + 9 =", "a leading sign"),
        (("3", "9"), "3 + + 9 =", "a doubled sign"),
        (("3", "9"), "3 * * 9 =", "no powers"),
    ],
)
def test_any_other_formula_costs_1_and_ends(cards: tuple[str, str], actions: str, why: str) -> None:
    assert play(dealt(*cards), actions)[-1] == WRONG, why


def test_a_number_no_unused_card_is_worth_costs_1_and_is_not_written() -> None:
    env = dealt("3", "4")
    _, reward, terminated, truncated, info = env.step("7")
    assert ((reward, terminated, truncated), formula(info)) == (LOST_SYMBOL, ())
    assert (info["action_ok"], info["error"]) == (True, "no unused card is worth that number")
    assert play(env, "3 * 3 4 =") == [
        GOING,
        GOING,
        LOST_SYMBOL,
        GOING,
        WON,
    ]  # the card is used up; sixth turn


def test_two_equal_cards_can_both_be_played_and_no_third() -> None:
    assert play(dealt("6", "6"), "6 + 6 6 =") == [GOING, GOING, GOING, LOST_SYMBOL, WON]


def test_a_sixth_symbol_truncates_with_minus_1_and_is_not_written() -> None:
    env = dealt("3", "4")
    assert play(env, "3 * 4 + +") == [GOING] * 5
    _, reward, terminated, truncated, info = env.step("*")
    assert (reward, terminated, truncated) == TOO_LONG
    assert formula(info) == ("3", "*", "4", "+", "+")
    assert info["success"] is False


def test_refused_turns_count_towards_the_limit() -> None:
    env = dealt("3", "4")
    assert play(env, "nonsense 7 3 * 4") == [LOST_SYMBOL, LOST_SYMBOL, GOING, GOING, GOING]
    assert play(env, "+") == [TOO_LONG]


def test_faces_count_10_and_the_ace_1() -> None:
    assert [WORTH[rank] for rank in ("A", "2", "10", "J", "Q", "K")] == [1, 2, 10, 10, 10, 10]


def test_every_deal_can_make_12_and_every_deal_that_can_occurs() -> None:
    # By hand: ordered pairs 2 with one of 10, J, Q, K: 8; 3 9, 4 8, 5 7, 3 4, 2 6: 2 each; 6 6: 1. Sum 19.
    assert len(DEALS) == 19
    env = EZPoints(modality="text")
    env.reset(seed=0)
    seen = {env.reset()[1]["state_key"][0] for _ in range(1000)}
    assert seen == set(DEALS)


def test_the_expert_takes_four_actions() -> None:
    env = EZPoints(modality="text")
    for seed in range(100):
        env.reset(seed=seed)
        results = [env.step(env.expert_action())[1:4] for _ in range(4)]
        assert results == [GOING, GOING, GOING, WON]


@pytest.mark.parametrize(
    ("start", "advice"), [("4", "*"), ("4 *", "3"), ("+", "="), ("3 4", "="), ("7", "3")]
)
def test_the_expert_goes_on_from_what_others_wrote(start: str, advice: str) -> None:
    env = dealt("3", "4")
    play(env, start)
    assert env.expert_action() == advice


def test_digits_do_not_join_into_larger_numbers() -> None:
    # In the original "24*1*1" wins the larger game; here 2 and 10 must not read as 210, nor 1 and 2 as 12.
    env = dealt("2", "10")
    assert play(env, "2 10 =") == [GOING, GOING, WRONG]
    assert play(dealt("2", "6"), "12") == [LOST_SYMBOL]


@pytest.mark.parametrize("text", ["12", "3*4", "1 2", "10+2", "3 ", "*4", "**", "//", "-", "/", "(", "3*4="])
def test_text_that_contains_actions_is_no_action(text: str) -> None:
    env = dealt("3", "4")
    _, reward, _, _, info = env.step(text)
    assert (reward, info["action_ok"], formula(info)) == (-1.0, False, ())


def test_unparseable_text_is_never_turned_into_an_action() -> None:
    env = dealt("3", "4")
    for _ in range(6):
        info = env.step("I cannot say")[4]
        assert (info["action_ok"], formula(info)) == (False, ())


def test_a_new_episode_shows_no_formula_of_the_last_one() -> None:
    # In the original the first prompt of an episode still shows the formula before it.
    env = dealt("3", "4", modality="both")
    play(env, "3 * 4 =")
    again, info = env.reset(seed=seed_of("3", "9"))
    fresh = dealt("3", "9", modality="both")._observation()
    assert formula(info) == ()
    assert again["text"] == fresh["text"]
    assert again["text"].endswith("Formula:")
    np.testing.assert_array_equal(again["image"], fresh["image"])


def test_the_text_modality_tells_cards_and_formula() -> None:
    env = dealt("K", "2")
    text = env.step("10")[0]["text"]
    assert text.splitlines()[-2:] == ["Cards: K 2", "Formula: 10"]


def exact_random_play(first: str, second: str) -> float:
    """Probability that uniform play over the 13 actions wins this deal, by playing out every line once.

    Lines that lead to the same formula at the same turn are followed together.
    """
    lines: dict[tuple[str, ...], tuple[EZPoints, float]] = {(): (dealt(first, second), 1.0)}
    won = 0.0
    while lines:
        after: dict[tuple[str, ...], tuple[EZPoints, float]] = {}
        for env, chance in lines.values():
            for action in env.legal_actions:
                branch = copy(env)  # the whole state is a few immutable values
                _, _, terminated, truncated, info = branch.step(action)
                won += chance / 13 * info.get("success", False)
                if not terminated and not truncated:
                    known = after.get(formula(info), (branch, 0.0))[1]
                    after[formula(info)] = (branch, known + chance / 13)
        lines = after
    return won


def test_random_play_solves_six_in_ten_thousand() -> None:
    # Eighteen deals of two different numbers, one of equal ones. By hand for different numbers: two winning
    # orders of four symbols, (1/13)^4 each, with at most two refused numbers in between. A number is refused
    # with chance a = 8/13, 9/13, 9/13, 10/13 after 0, 1, 2, 3 symbols:
    # 2 / 13^4 * (1 + sum a_i + sum over i <= j of a_i a_j) = 2 / 28561 * (1 + 36/13 + 811/169) = 0.000600.
    different = exact_random_play("3", "9")
    assert different == pytest.approx(2 / 28561 * (1 + 36 / 13 + 811 / 169), rel=1e-9)
    assert different == pytest.approx(exact_random_play("K", "2"), rel=1e-9)
    assert (18 * different + exact_random_play("6", "6")) / 19 == pytest.approx(0.000585, abs=5e-7)
