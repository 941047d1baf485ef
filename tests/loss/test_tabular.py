"""On a language small enough to solve exactly, the real update finds the exact values and the best policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
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

from vlmq.data.batch import Batch, Fragment, build_batch
from vlmq.model.heads import CriticConfig
from vlmq.prompt.window import History
from vlmq.train.objective import Traces
from vlmq.train.schedule import Phase

WEIGHTS = (2, 1, 1)
"""The policy to be valued: END half of the time. Whole numbers, so that all its episodes can be listed."""


def _judged(observation: int, reply: Reply) -> Step:
    """Two turns: a pause costs, a first word decides where to; most turns pay nothing; one reply is cut."""
    if observation == 0:
        if reply == (END,):
            return Step(-1.0, None)
        return Step(0.0, 1) if reply[0] == A else Step(-0.25, 2)
    if observation == 1:
        return Step(1.0, None) if reply == (B, A) else Step(0.0, 0, truncated=True)
    return Step(0.0, None) if reply == (A, B) else Step(0.5 if len(reply) == 2 else -0.5, 1, truncated=True)


def _policy(_: State) -> np.ndarray:
    return np.array(WEIGHTS) / sum(WEIGHTS)


def _batch(fragments: list[Fragment]) -> Batch:
    return build_batch(fragments, TableEncoder(), History())  # type: ignore[arg-type]


def _error(
    mdp: Mdp,
    lam: float,
    *,
    gamma_token: float = 1.0,
    return_range: float = 1.0,
    n_turns: int | None = None,
    traces: Traces = "lambda",
    played: tuple[int, ...] = WEIGHTS,
) -> float:
    """Largest |Q - Q^pi| over the states that the policy visits, learnt from the play of another or its own."""
    fragments = mdp.every_episode(played)
    module = TableModule(
        mdp,
        TableBackbone(mdp, weights=WEIGHTS),
        [Phase("critic", 300, filter="always")],
        gamma_turn=0.8,
        gamma_token=gamma_token,
        lambda_token=lam,
        lambda_turn=lam,
        n_turns=n_turns,
        traces=traces,
        tau=0.2,
    )
    module.return_range.fill_(return_range)
    train(module, _batch(fragments), rate=0.1, settle=0.5)
    exact = mdp.exact_q(_policy, 0.8, gamma_token=gamma_token)
    return max(abs(q * return_range - exact[key]) for key, q in module.q_table(mdp).items())


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_the_critic_converges_to_the_exact_values_of_the_policy(lam: float) -> None:
    # Zero-reward turns, negative rewards, termination, truncation that bootstraps, replies of 1 and 2 tokens.
    assert _error(Mdp(3, 2, _judged), lam) < 1e-2


def test_tree_backup_finds_the_policys_values_in_the_play_of_another_and_lambda_returns_do_not() -> None:
    other = tuple(reversed(WEIGHTS))
    assert other != WEIGHTS
    assert _error(Mdp(3, 2, _judged), 1.0, traces="tree_backup", played=other) < 1e-2
    assert _error(Mdp(3, 2, _judged), 0.0, played=other) < 1e-2
    assert _error(Mdp(3, 2, _judged), 1.0, played=other) > 0.05


def test_the_critic_is_exact_with_a_token_discount_and_a_return_range() -> None:
    assert _error(Mdp(3, 2, _judged), 0.7, gamma_token=0.9, return_range=2.5) < 1e-2


HEAD = CriticConfig(members=2, width=64, dim=16)
SLOW = ("two-hot", "mean of some members", "expectile of the mean")
FORMS: dict[str, dict[str, Any]] = {
    "policy": {},
    "top k": {"value": "topk", "top_k": len(WORDS)},
    "expectile of the mean": {"value": "expectile", "expectile": 0.5},
    "two-hot": {"value": "topk", "top_k": len(WORDS), "loss": "two_hot", "bins": 31},
    "hl-gauss": {"value": "topk", "top_k": len(WORDS), "loss": "hl_gauss", "bins": 31},
    "mean of some members": {"members": 3, "subset": 2},
}


def _with_head(mdp: Mdp, head: CriticConfig, **settings: float) -> TableModule:
    """The package's own critic, trained on every episode of the policy."""
    torch.manual_seed(0)
    module = TableModule(
        mdp,
        TableBackbone(mdp, weights=WEIGHTS),
        [Phase("critic", 350, filter="always")],
        head=head,
        gamma_turn=0.8,
        lambda_turn=0.5,
        tau=0.1,
        **settings,
    )
    if head.distributional:
        module.agent.set_support(-1.0, 1.0)
    train(module, _batch(mdp.every_episode(WEIGHTS)), rate=0.01, settle=0.5)
    return module


@pytest.mark.parametrize(
    "form", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in FORMS]
)
def test_every_form_of_the_head_that_estimates_the_policys_values_finds_them(form: str) -> None:
    mdp = Mdp(3, 2, _judged)
    module = _with_head(mdp, replace(HEAD, **FORMS[form]), lambda_token=0.5)
    exact = mdp.exact_q(_policy, 0.8)
    assert max(abs(q - exact[key]) for key, q in module.q_table(mdp).items()) < 1e-2


def test_a_critic_of_turns_finds_the_value_of_each_turns_start() -> None:
    mdp = Mdp(3, 2, _judged)
    found = _with_head(mdp, replace(HEAD, value="turn")).q_table(mdp)
    exact = mdp.exact_q(_policy, 0.8)
    for observation in range(mdp.num_observations):
        start = (observation, ())
        value = sum(_policy(start)[word] * exact[start, word] for word in WORDS)
        assert found[start, END] == pytest.approx(value, abs=1e-2)


@pytest.mark.parametrize("turns", [1, 2])
def test_n_step_targets_find_the_exact_values_too(turns: int) -> None:
    assert _error(Mdp(3, 2, _judged), 0.0, n_turns=turns) < 1e-2


def _longer(observation: int, reply: Reply) -> Step:
    """One turn that pays what the whole reply is worth, known only at its end."""
    return Step(1.0 if len(reply) == 3 else 0.0, None)


def test_reply_length_does_not_bias_monte_carlo_values() -> None:
    # After the first A, half of the replies end (2 tokens, worth 0) and half go on (3 tokens, worth 1):
    # Q(A) = 1/2 whatever a reply's tokens weigh in the loss.
    assert _error(Mdp(1, 3, _longer), 1.0) < 1e-2


RIGHT: tuple[Reply, ...] = ((A, B, END), (A, A, END), (B, B, END))


def _ladder(observation: int, reply: Reply) -> Step:
    """Three right replies in a row win; a wrong one ends the episode."""
    if reply != RIGHT[observation]:
        return Step(0.0, None)
    return Step(1.0, None) if observation == 2 else Step(0.0, observation + 1)


def _mixed_play(mdp: Mdp, episodes: int) -> list[Fragment]:
    """99 % of a policy with a favourite wrong word for every state, 1 % of an expert."""
    rng = np.random.default_rng(0)

    def expert(state: State) -> int:
        return RIGHT[state[0]][len(state[1])]

    def clumsy(state: State) -> int:
        return (expert(state) + 1) % 3 if rng.random() < 0.55 else int(rng.choice(WORDS))

    return [mdp.play(expert if index % 100 == 0 else clumsy) for index in range(episodes)]


def _learn(phases: list[Phase]) -> float:
    """Return of the greedy policy after these phases on the mixed data."""
    mdp = Mdp(3, 3, _ladder)
    settings = {"gamma_turn": 0.95, "lambda_token": 0.0, "tau": 0.3}
    module = TableModule(mdp, TableBackbone(mdp, learn=True), phases, **settings)
    train(module, _batch(_mixed_play(mdp, 300)), rate=0.05)
    return sum(turn.reward for turn in mdp.play(module.greedy(mdp)).turns)


def test_filtered_fine_tuning_is_optimal_where_plain_fine_tuning_is_not() -> None:
    assert Mdp(3, 3, _ladder).best_return(0) == 1.0
    assert _learn([Phase("sft", 120, filter="always")]) == 0.0
    assert _learn([Phase("warm-up", 60, filter="always"), Phase("afsft", 240, margin=1e-3)]) == 1.0


def test_a_phase_scales_the_critics_loss_and_leaves_the_actors() -> None:
    mdp = Mdp(3, 2, _judged)
    batch = _batch(mdp.every_episode(WEIGHTS))

    def gradients(factor: float) -> list[torch.Tensor]:
        phase = Phase("critic", 1, filter="always", critic_weight=factor)
        module = TableModule(
            mdp, TableBackbone(mdp, weights=WEIGHTS, learn=True), [phase], gamma_turn=0.8, lambda_turn=0.5
        )
        critic, actor = module.agent.critic.table, module.agent.backbone.table
        return list(torch.autograd.grad(module.training_step(batch, 0), [critic, actor]))

    (critic, actor), (scaled, same) = gradients(1.0), gradients(0.25)
    assert float(critic.abs().max()) > 1e-3
    torch.testing.assert_close(scaled, 0.25 * critic)
    torch.testing.assert_close(same, actor)
