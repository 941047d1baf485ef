"""Lambda-returns: the identities they must hold, one example by hand, and a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from vlmq.loss.returns import known_n_step, known_targets, lambda_returns, n_step_returns

SMALL = st.floats(-2.0, 2.0, width=32)
UNIT = st.floats(0.0, 1.0, width=32)


def _targets(
    reward: list[float], discount: list[float], value: list[float], lam: list[float], following: list[int]
) -> list[float]:
    reward_t, discount_t, value_t, lam_t = (
        torch.tensor(column, dtype=torch.float32) for column in (reward, discount, value, lam)
    )
    targets: list[float] = lambda_returns(
        reward_t, discount_t, value_t, lam_t, torch.tensor(following)
    ).tolist()
    return targets


def test_the_example_by_hand() -> None:
    # Two replies of two tokens, gamma_token 1, gamma_turn 0.5, lambda 1 inside and 0.5 between, no terminal.
    # L3 = 4 + 0.5 * V(after) = 4 + 0.5 * 2                            = 5
    # L2 = 0 + 1 * L3                                                  = 5
    # L1 = 1 + 0.5 * (0.5 * V(state of token 2) + 0.5 * L2) = 1 + 0.5 * (0.5 * 3 + 0.5 * 5) = 3
    # L0 = 0 + 1 * L1                                                  = 3
    targets = _targets([0, 1, 0, 4], [1, 0.5, 1, 0.5], [9, 3, 9, 2], [1, 0.5, 1, 0.5], [1, 2, 3, -1])
    assert targets == [3.0, 3.0, 5.0, 5.0]


def test_lambda_zero_is_the_one_step_target() -> None:
    targets = _targets([1, -2, 0.5], [0.9, 0.5, 0.25], [4, 2, 8], [0, 0, 0], [1, 2, -1])
    assert targets == pytest.approx([1 + 0.9 * 4, -2 + 0.5 * 2, 0.5 + 0.25 * 8])


def test_lambda_one_is_the_monte_carlo_return() -> None:
    # Values are not looked at: they are absurd, and the episode terminates.
    targets = _targets([1, -2, 0.5], [0.9, 0.5, 0], [1e6, -1e6, 1e6], [1, 1, 1], [1, 2, -1])
    assert targets == pytest.approx([1 + 0.9 * (-2 + 0.5 * 0.5), -2 + 0.5 * 0.5, 0.5])


def test_truncation_is_not_termination() -> None:
    # The same last token: cut, it bootstraps whatever lambda is; terminated, it does not.
    for lam in (0.0, 1.0):
        assert _targets([1], [0.5], [6], [lam], [-1]) == [4.0]
        assert _targets([1], [0.0], [6], [lam], [-1]) == [1.0]


def test_an_unknown_value_after_the_end_does_no_harm() -> None:
    assert _targets([0, 1], [1, 0], [0, float("nan")], [1, 1], [1, -1]) == [1.0, 1.0]
    assert _targets([0, 1], [1, 0], [3, float("nan")], [0, 0], [1, -1]) == [3.0, 1.0]


@pytest.mark.parametrize("length", [1, 2, 5, 8, 33])
def test_with_gamma_token_one_a_turn_is_worth_the_same_however_long_its_reply(length: int) -> None:
    # A reply of `length` tokens, then a terminal reply of one token that pays 2, at gamma_turn 0.5.
    tokens = length + 1
    reward = [0.0] * length + [2.0]
    discount = [1.0] * (length - 1) + [0.5, 0.0]
    following = [*range(1, tokens), -1]
    assert _targets(reward, discount, [7.0] * tokens, [1.0] * tokens, following)[0] == 1.0


def test_a_zero_reward_does_not_join_two_turns() -> None:
    # Only the discount knows where a turn ends: two turns without reward cost gamma_turn each.
    assert _targets([0, 0, 1], [0.5, 0.5, 0], [0, 0, 0], [1, 1, 1], [1, 2, -1]) == [0.25, 0.5, 1.0]


def test_fragments_in_one_batch_do_not_touch() -> None:
    first = _targets([0, 1], [1, 0.5], [2, 3], [1, 1], [1, -1])
    both = _targets([0, 1, 0, 5], [1, 0.5, 1, 0], [2, 3, 4, 5], [1, 1, 1, 1], [1, -1, 3, -1])
    assert both[:2] == first


def test_an_unknown_final_state_masks_exactly_the_targets_that_reach_it() -> None:
    def known(lam: list[float], discount: list[float], seen: list[bool]) -> list[bool]:
        columns = torch.tensor(discount).float(), torch.tensor(seen), torch.tensor(lam).float()
        found: list[bool] = known_targets(*columns, torch.tensor([1, 2, -1])).tolist()
        return found

    cut = [True, True, False]
    assert known([1, 1, 1], [1, 1, 1], cut) == [False, False, False]  # lambda carries it all the way
    assert known([1, 0.9, 1], [1, 1, 1], cut) == [False, False, False]
    assert known([1, 0, 1], [1, 1, 1], cut) == [True, True, False]  # a one-step target stops it
    assert known([1, 1, 1], [1, 0, 1], cut) == [True, True, False]  # so does a terminal token
    assert known([1, 1, 1], [1, 1, 0], cut) == [True, True, True]  # terminated: nothing is missing
    assert known([1, 1, 1], [1, 1, 1], [True, True, True]) == [True, True, True]


@st.composite
def _fragments(draw: st.DrawFn) -> dict[str, Tensor]:
    """Some fragments of some tokens each, with any rewards, discounts, values and lambdas."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    total = sum(lengths)

    def column(elements: st.SearchStrategy[float]) -> Tensor:
        return torch.tensor(draw(st.lists(elements, min_size=total, max_size=total)))

    following = np.arange(1, total + 1)
    following[np.cumsum(lengths) - 1] = -1
    zero_or_more = st.one_of(st.just(0.0), UNIT)
    return {
        "reward": column(SMALL),
        "discount": column(zero_or_more),
        "next_value": column(SMALL),
        "lam": column(st.one_of(st.just(1.0), zero_or_more)),
        "next_token": torch.from_numpy(following),
        "next_known": torch.tensor(draw(st.lists(st.booleans(), min_size=total, max_size=total))),
    }


@settings(max_examples=60, deadline=None)
@given(_fragments())
def test_the_returns_are_those_of_a_plain_reverse_loop(columns: dict[str, Tensor]) -> None:
    reward, discount, value, lam = (
        columns[name].double().numpy() for name in ("reward", "discount", "next_value", "lam")
    )
    following = columns["next_token"].numpy()
    expected: NDArray[np.float64] = np.zeros(len(reward))
    rests_on_unknown = np.zeros(len(reward), bool)
    for i in range(len(reward) - 1, -1, -1):
        carried = lam[i] if following[i] >= 0 else 0.0
        later = expected[following[i]] if following[i] >= 0 else 0.0
        expected[i] = reward[i] + discount[i] * ((1 - carried) * value[i] + carried * later)
        rests_on_unknown[i] = discount[i] > 0 and (
            (carried < 1 and not columns["next_known"][i])
            or (discount[i] * carried > 0 and rests_on_unknown[following[i]])
        )
    known = columns.pop("next_known")
    np.testing.assert_allclose(lambda_returns(**columns).numpy(), expected, atol=1e-4)
    masked = known_targets(columns["discount"], known, columns["lam"], columns["next_token"])
    assert masked.tolist() == (~rests_on_unknown).tolist()


def _chain() -> dict[str, torch.Tensor]:
    """Three turns of two tokens; 0.5 from turn to turn; the fragment is cut after the third."""
    return {
        "reward": torch.tensor([0.0, 1.0, 0.0, 2.0, 0.0, 4.0]),
        "discount": torch.tensor([1.0, 0.5, 1.0, 0.5, 1.0, 0.5]),
        "next_value": torch.tensor([9.0, 10.0, 9.0, 20.0, 9.0, 40.0]),
        "last": torch.tensor([False, True] * 3),
        "next_token": torch.tensor([1, 2, 3, 4, 5, -1]),
    }


def test_n_step_returns_by_hand() -> None:
    one = n_step_returns(**_chain(), turns=1)
    # 1 + 10/2, 2 + 20/2, 4 + 40/2; inside a reply nothing is discounted
    assert one.tolist() == [6.0, 6.0, 12.0, 12.0, 24.0, 24.0]
    two = n_step_returns(**_chain(), turns=2)
    assert two.tolist() == [7.0, 7.0, 14.0, 14.0, 24.0, 24.0]
    three = n_step_returns(**_chain(), turns=3)
    assert three.tolist() == [8.0, 8.0, 14.0, 14.0, 24.0, 24.0]


def test_many_steps_are_monte_carlo_and_one_is_lambda_zero_from_turn_to_turn() -> None:
    chain = _chain()
    rest = (chain["reward"], chain["discount"], chain["next_value"])
    for turns, lam_turn in ((99, 1.0), (1, 0.0)):
        lam = torch.where(chain["last"], lam_turn, 1.0)
        expected = lambda_returns(*rest, lam, chain["next_token"])
        torch.testing.assert_close(n_step_returns(**chain, turns=turns), expected)


def test_n_step_targets_are_known_where_they_end_on_a_state_that_was_seen() -> None:
    chain = _chain()
    seen = torch.tensor([True] * 5 + [False])
    for turns, known in ((1, [True] * 4 + [False] * 2), (2, [True, True] + [False] * 4)):
        found = known_n_step(chain["discount"], seen, chain["last"], chain["next_token"], turns)
        assert found.tolist() == known
