"""Which weights a phase gives: each filter through the batch's own layout."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vlmq.api import Turn, UserError
from vlmq.data.batch import Batch, Fragment, build_batch
from vlmq.model.actor_critic import Output
from vlmq.prompt.encode import Encoder
from vlmq.prompt.parse import format_reply
from vlmq.prompt.window import History
from vlmq.train.filtering import token_weights
from vlmq.train.schedule import FilterName, Phase, Schedule

Turns = tuple[Turn, ...]
NONE = np.zeros(0, np.float32)


@pytest.fixture
def batch(tiny_encoder: Encoder, tiny_turns: Turns) -> Batch:
    """Two replies of two episodes: one that failed, one that succeeded with a return of 1."""
    lost = Fragment(tiny_turns[:1], 0, 0, None, True, False, -1.0)
    won = Fragment(tiny_turns[1:2], 0, 0, None, True, True, 1.0)
    return build_batch([lost, won], tiny_encoder, History())


def _weights(
    batch: Batch, phase: Phase, advantages: torch.Tensor, log_probs: torch.Tensor | None = None
) -> list[float]:
    count = len(batch.tokens)
    q, value = advantages.expand(2, count), torch.zeros(2, count)
    log_probs = torch.zeros(count) if log_probs is None else log_probs
    output = Output(log_probs, torch.zeros(count), q, value, value)
    return token_weights(phase, 0, batch, output, advantages, 0.0).tolist()


@pytest.mark.parametrize("name", ["success", "above_median"])
def test_filters_of_episodes_keep_the_replies_of_good_ones(batch: Batch, name: FilterName) -> None:
    phase = Phase("p", 1, filter=name, critic=False)
    weights = _weights(batch, phase, torch.zeros(len(batch.tokens)))
    assert weights == batch.reply.float().tolist()


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (Phase("p", 1, filter="always"), [1.0, 1.0, 1.0]),
        (Phase("p", 1, filter="binary", margin=-0.05), [0.0, 1.0, 1.0]),
        (Phase("p", 1, filter="exp", temperature=0.1), [0.36788, 1.0, 2.71828]),
        (Phase("p", 1, filter="top_fraction", fraction=0.01), [0.0, 0.0, 1.0]),
    ],
    ids=lambda value: value.filter if isinstance(value, Phase) else "",
)
def test_the_phase_names_the_filter(batch: Batch, phase: Phase, expected: list[float]) -> None:
    advantages = torch.zeros(len(batch.tokens))
    advantages[0], advantages[2] = -0.1, 0.1
    assert _weights(batch, phase, advantages)[:3] == pytest.approx(expected, abs=1e-4)


def test_a_margin_scaled_by_likelihood_is_slack_for_what_the_policy_is_sure_of(batch: Batch) -> None:
    phase = Phase("p", 1, filter="binary", margin=-0.1, margin_scale="likelihood")
    advantages = torch.full((len(batch.tokens),), -0.05)
    unsure = torch.tensor([0.4, 0.6]).log().repeat(len(batch.tokens))[: len(batch.tokens)]
    assert set(_weights(batch, phase, advantages)) == {1.0}  # log-probabilities of 0: all is certain
    assert _weights(batch, phase, advantages, log_probs=unsure)[:2] == [0.0, 1.0]
    assert set(_weights(batch, replace(phase, margin_scale="none"), advantages, log_probs=unsure)) == {1.0}


def test_turn_and_drops_a_reply_whose_last_token_is_bad(batch: Batch) -> None:
    advantages = torch.where(batch.last & (batch.reply == 0), -0.5, 0.1)
    weights = torch.tensor(_weights(batch, Phase("p", 1, filter="turn_and"), advantages))
    assert weights[batch.reply == 0].sum() == 0
    assert weights[batch.reply == 1].all()


def test_thoughts_weigh_what_the_phase_says(tiny_encoder: Encoder, tiny_turns: Turns) -> None:
    thinking = replace(
        tiny_turns[0],
        reply_ids=tiny_encoder.reply(format_reply("+", tiny_encoder.reply_format, "7 < 9")),
        logprobs=NONE,
    )
    batch = build_batch([Fragment((thinking,), 0, 0, None, True)], tiny_encoder, History())
    assert 0 < int(batch.thought.sum()) < len(batch.tokens)
    phase = Phase("p", 1, filter="always", thought_weight=0.25)
    weights = torch.tensor(_weights(batch, phase, torch.zeros(len(batch.tokens))))
    assert set(weights[batch.thought].tolist()) == {0.25}
    assert set(weights[~batch.thought].tolist()) == {1.0}


def test_the_margin_moves_in_a_straight_line() -> None:
    phase = Phase("p", 10, margin=-0.03, margin_start=-0.23, margin_updates=4)
    assert [phase.margin_at(u) for u in (0, 2, 4, 9)] == pytest.approx([-0.23, -0.13, -0.03, -0.03])
    assert replace(phase, margin_start=None).margin_at(0) == -0.03


def test_with_a_critic_of_turns_a_reply_stands_or_falls_with_its_one_advantage(batch: Batch) -> None:
    count = len(batch.tokens)
    advantages = torch.where(batch.reply == 0, -0.5, 0.5)
    inside = torch.randn(2, count, generator=torch.Generator().manual_seed(0))  # what nobody trained
    output = Output(torch.zeros(count), torch.zeros(count), inside, inside, inside)
    phase = Phase("p", 1, filter="turn_and")
    found = token_weights(phase, 0, batch, output, advantages, 0.0, of_turns=True)
    assert found.tolist() == batch.reply.float().tolist()


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (Phase("p", 1, fraction=0.0), "fraction is 0.0"),
        (Phase("p", 1, margin_start=-1.0), "margin_updates"),
        (Phase("p", 1, filter="softmax", critic=False), "needs the critic"),
        (Phase("p", 1, thought_weight=-1.0), "thought_weight is -1.0"),
        (Phase("p", 1, critic_weight=-1.0), "critic_weight is -1.0"),
        (Phase("p", 1, observed=1.5), "observed is 1.5"),
        (Phase("p", 1, filter="always", observed=0.5), "from 0 to 1, and only a filter that asks"),
        (Phase("p", 1, objective="ppo_token", filter="always"), "set online above 0"),
        (Phase("p", 1, clip=0.0), "clip is 0.0"),
        (Phase("p", 1, gate=1.5), "gate is 1.5"),
        (Phase("p", 1, learning_rate=-1.0), "learning_rate is -1.0"),
        (Phase("p", 1, learning_rate=math.nan), "learning_rate is nan"),
        (Phase("p", 1, temperature=math.nan), "temperature is nan"),
        (Phase("p", 1, critic_weight=math.inf), "critic_weight is inf"),
        (Phase("p", 1, margin=math.nan), "margin is nan"),
        (Phase("p", 1, margin=-math.inf), "margin is -inf"),
        (Phase("p", 1, margin_updates=-1), "margin_updates is -1"),
        (Phase("p", 1, stop_at_success=2.0), "stop_at_success is 2.0"),
        (Phase("p", 1, evaluated=0), "evaluated is 0; give 1 or more"),
        (Phase("p", 1, filter="always", critic=False, policy="shifted"), "policy 'shifted' asks the critic"),
        (Phase("p", 1, filter="always", gate=0.5), "only a filter that asks the critic waits"),
    ],
)
def test_settings_that_make_no_sense_are_named(phase: Phase, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Schedule([phase])
