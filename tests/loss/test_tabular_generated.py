"""Languages drawn at random, each solved exactly: the real update finds their values, and their best policy."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tabular_mdp import (
    END,
    WORDS,
    A,
    B,
    Mdp,
    Reply,
    State,
    Step,
    TableBackbone,
    TableEncoder,
    TableModule,
    train,
)

from vlmq.data.batch import build_batch
from vlmq.loss import returns
from vlmq.prompt.window import History
from vlmq.train.schedule import Phase

SIZES = ((1, 1), (1, 3), (2, 1), (2, 2), (3, 1), (3, 2), (4, 1))
"""Observations, and tokens of the longest reply."""
FEW = ((2, 2), (3, 1))
MOST_EPISODES = 1500
REWARDS = (-1.0, -0.5, -0.25, 0.0, 0.0, 0.0, 0.25, 0.5, 1.0)
"""Most turns of a task pay nothing."""
SLOW = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]
FIXED = settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=SLOW)
MANY = settings(max_examples=60, deadline=None, suppress_health_check=SLOW)


@dataclass(frozen=True)
class Table:
    """What every reply to every observation leads to."""

    steps: dict[tuple[int, Reply], Step]

    def __call__(self, observation: int, reply: Reply) -> Step:
        return self.steps[observation, reply]


@st.composite
def mdps(draw: st.DrawFn, *, cut: bool, sizes: tuple[tuple[int, int], ...] = SIZES) -> Mdp:
    """Turns lead on to later observations, end, or (with `cut`) are cut with any observation in sight."""
    observations, longest = draw(st.sampled_from(sizes))
    steps = {}
    for observation, reply in itertools.product(
        range(observations), Mdp(observations, longest, Table({})).replies()
    ):
        later = list(range(observation + 1, observations))
        kinds = ["end", *(["later"] * 2 if later else []), *(["cut"] if cut else [])]
        kind = draw(st.sampled_from(kinds))
        following = {"end": None, "later": later, "cut": list(range(observations))}[kind]
        after = None if following is None else draw(st.sampled_from(following))
        steps[observation, reply] = Step(draw(st.sampled_from(REWARDS)), after, truncated=kind == "cut")
    return Mdp(observations, longest, Table(steps))


def _episodes(mdp: Mdp, weights: tuple[int, ...]) -> int:
    draws = sum(weights) ** mdp.max_reply
    return sum(draws ** (mdp.num_observations - start) for start in range(mdp.num_observations))


ESTIMATORS: dict[str, dict[str, Any]] = {
    "one step": {"lambda_token": 0.0, "lambda_turn": 0.0},
    "lambda": {"lambda_token": 0.6, "lambda_turn": 0.6},
    "turn-aware lambda": {"lambda_token": 1.0, "lambda_turn": 0.9},
    "returns": {"lambda_token": 1.0, "lambda_turn": 1.0},
    "one turn": {"n_turns": 1},
    "two turns": {"n_turns": 2},
    "tree backup": {"lambda_token": 1.0, "lambda_turn": 1.0, "traces": "tree_backup"},
}
POLICIES = ((2, 1, 1), (1, 1, 1), (1, 2, 1))


def _error(mdp: Mdp, weights: tuple[int, ...], gamma_token: float, estimator: dict[str, Any]) -> float:
    """Largest |Q - Q^pi|, learnt from every episode of the policy."""
    episodes = [f for start in range(mdp.num_observations) for f in mdp.every_episode(weights, start)]
    batch = build_batch(episodes, TableEncoder(), History())  # type: ignore[arg-type]
    module = TableModule(
        mdp,
        TableBackbone(mdp, weights=weights),
        [Phase("critic", 300, filter="always")],
        gamma_turn=0.8,
        gamma_token=gamma_token,
        tau=0.2,
        **estimator,
    )
    train(module, batch, rate=0.1, settle=0.5)
    policy = np.array(weights) / sum(weights)
    exact = mdp.exact_q(lambda _: policy, 0.8, gamma_token=gamma_token)
    return max(abs(q - exact[key]) for key, q in module.q_table(mdp).items())


def _is_exact(estimator: str, sizes: tuple[tuple[int, int], ...] = SIZES) -> Callable[[], None]:
    @given(mdps(cut=True, sizes=sizes), st.sampled_from(POLICIES), st.sampled_from([1.0, 0.9]))
    def check(mdp: Mdp, weights: tuple[int, ...], gamma_token: float) -> None:
        assume(_episodes(mdp, weights) < MOST_EPISODES)
        assert _error(mdp, weights, gamma_token, ESTIMATORS[estimator]) < 1e-2

    return check


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_is_exact_on_a_language_drawn_at_random(estimator: str) -> None:
    FIXED(_is_exact(estimator, FEW))()


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_is_exact_on_many_languages(estimator: str) -> None:
    MANY(_is_exact(estimator))()


@pytest.mark.parametrize(
    ("function", "estimator"),
    [("lambda_returns", "lambda"), ("lambda_returns", "tree backup"), ("n_step_returns", "two turns")],
)
def test_the_update_asks_the_functions_that_are_tested(
    monkeypatch: pytest.MonkeyPatch, function: str, estimator: str
) -> None:
    def broken(*_: Any) -> torch.Tensor:
        raise AssertionError("asked")

    monkeypatch.setattr(returns, function, broken)
    mdp = Mdp(1, 1, Table({(0, (word,)): Step(0.0, None) for word in WORDS}))
    with pytest.raises(AssertionError, match="asked"):
        _error(mdp, (1, 1, 1), 1.0, ESTIMATORS[estimator])


def _best_replies(mdp: Mdp) -> dict[int, Reply]:
    """The reply with the largest undiscounted return from each observation."""
    value: dict[int, float] = {}
    best: dict[int, Reply] = {}
    for observation in reversed(range(mdp.num_observations)):
        worth = {}
        for reply in mdp.replies():
            step = mdp.step(observation, reply)
            worth[reply] = step.reward + (0.0 if step.following is None else value[step.following])
        best[observation] = max(worth, key=lambda reply: worth[reply])
        value[observation] = worth[best[observation]]
    return best


def _return(mdp: Mdp, choose: Callable[[State], int]) -> list[float]:
    """From every observation."""
    starts = range(mdp.num_observations)
    return [sum(turn.reward for turn in mdp.play(choose, start).turns) for start in starts]


def _improves(mdp: Mdp) -> None:
    right = _best_replies(mdp)

    def expert(state: State) -> int:
        reply = right[state[0]]
        return reply[len(state[1])] if reply[: len(state[1])] == state[1] else END

    def favourite(state: State) -> int:
        return {END: A, A: B, B: END}[expert(state)]

    best, poor = _return(mdp, expert), _return(mdp, favourite)
    assume(sum(poor) < sum(best))
    rng = np.random.default_rng(0)

    def clumsy(state: State) -> int:
        return favourite(state) if rng.random() < 0.5 else int(rng.choice(WORDS))

    episodes = [mdp.play(clumsy, index % mdp.num_observations) for index in range(400)]
    batch = build_batch(episodes, TableEncoder(), History())  # type: ignore[arg-type]

    def learn(phases: list[Phase]) -> list[float]:
        one_step = {"gamma_turn": 1.0, "lambda_token": 0.0, "tau": 0.3}
        module = TableModule(mdp, TableBackbone(mdp, learn=True), phases, **one_step)
        train(module, batch, rate=0.05)
        return _return(mdp, module.greedy(mdp))

    assert sum(learn([Phase("sft", 120, filter="always")])) < sum(best)
    assert learn([Phase("warm-up", 60, filter="always"), Phase("afsft", 400, margin=1e-3)]) == best


def test_filtered_fine_tuning_is_optimal_on_languages_drawn_at_random_and_plain_is_not() -> None:
    FIXED(given(mdps(cut=False, sizes=FEW))(_improves))()


@pytest.mark.slow
def test_filtered_fine_tuning_is_optimal_on_many_languages_and_plain_is_not() -> None:
    MANY(given(mdps(cut=False))(_improves))()
