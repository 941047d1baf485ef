"""Fitted Q evaluation finds the exact value of a policy that did not play the data."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from tabular_mdp import WORDS, Mdp, State, Step, TableBackbone, TableEncoder

from vlmq.api import Episode
from vlmq.prompt.window import History
from vlmq.trained import fqe

A, B = 1, 2
OTHER = (1, 1, 4)
"""The policy that is evaluated; the data is played by one that says END half of the time."""


def _step(observation: int, reply: tuple[int, ...]) -> Step:
    if observation == 0:
        return Step(-0.5, 1, truncated=True) if reply[0] == A else Step(0.25 * len(reply), 1)
    return Step(2.0 if reply == (B, B) else -1.0, None)


def _episodes(mdp: Mdp) -> list[Episode]:
    fragments = mdp.every_episode((2, 1, 1))
    return [
        Episode("tabular", 0, f.turns, f.following, f.terminated, not f.terminated, False, index=i)
        for i, f in enumerate(fragments)
    ]


@pytest.mark.parametrize("temperature", [1.0, 0.0])
def test_the_value_of_another_policy_is_found(temperature: float) -> None:
    mdp = Mdp(2, 2, _step)
    backbone = TableBackbone(mdp, weights=OTHER)
    seen = fqe.features(backbone, cast(Any, TableEncoder()), History(), _episodes(mdp))
    fit = fqe.Fit(
        gamma=0.8, temperature=temperature, updates=400, batch_size=256, tau=0.3, learning_rate=2e-2
    )

    def policy(_: State) -> np.ndarray:
        weights = np.array(OTHER, float) if temperature else np.eye(len(WORDS))[np.argmax(OTHER)]
        return weights / weights.sum()

    q = mdp.exact_q(policy, 0.8)
    start: State = (0, ())
    exact = float(sum(policy(start)[word] * q[start, word] for word in WORDS))
    assert fqe.evaluate(backbone, seen, fit).value == pytest.approx(exact, abs=0.02)


def test_states_keep_their_successors_over_several_forwards() -> None:
    mdp = Mdp(2, 2, _step)
    backbone = TableBackbone(mdp, weights=OTHER)
    episodes = _episodes(mdp)[:40]
    assert len(episodes) > 16
    together = fqe.features(backbone, cast(Any, TableEncoder()), History(), episodes)
    place = 0
    for episode in episodes:
        alone = fqe.features(backbone, cast(Any, TableEncoder()), History(), [episode])
        count = len(alone.tokens)
        here = slice(place, place + count)
        assert together.tokens[here].tolist() == alone.tokens.tolist()
        following = together.next_state[here][~alone.terminal]
        expected = alone.hidden[alone.next_state[~alone.terminal]]
        assert (together.hidden[following] == expected).all()
        place += count
    assert together.first.tolist()[:2] == [
        0,
        len(fqe.features(backbone, cast(Any, TableEncoder()), History(), episodes[:1]).tokens),
    ]
