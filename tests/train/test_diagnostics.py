"""What the log says of an update, against the same figures counted by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from vlmq.api import Turn
from vlmq.data.batch import Batch, Fragment, build_batch
from vlmq.model.actor_critic import Output
from vlmq.prompt.encode import Encoder
from vlmq.prompt.window import History
from vlmq.train import diagnostics


@pytest.fixture
def batch(tiny_encoder: Encoder, tiny_turns: tuple[Turn, ...]) -> Batch:
    """Two turns of an episode that succeeded, and one of another that did not."""
    won = Fragment(tiny_turns[:2], 0, 0, None, True, success=True)
    lost = Fragment(tiny_turns[2:3], 0, 0, None, True, success=False)
    return build_batch([won, lost], tiny_encoder, History())


def _output(batch: Batch, log_probs: torch.Tensor) -> Output:
    q = torch.zeros(2, len(batch.tokens))
    return Output(log_probs, torch.zeros_like(log_probs), q, q, q)


def _logged(
    batch: Batch, weights: torch.Tensor, advantages: torch.Tensor, pi: torch.Tensor
) -> dict[str, float]:
    return diagnostics.of_update(
        batch, _output(batch, pi.log()), weights, advantages, torch.zeros_like(weights), 1.0
    )


def test_pass_rates_are_told_by_turn_and_by_how_sure_the_policy_was(batch: Batch) -> None:
    count = len(batch.tokens)
    first = batch.turn[batch.reply] == 0
    pi = torch.full((count,), 0.95)
    pi[0] = 0.05
    weights = (~first).float()
    weights[0] = 1.0
    logged = _logged(batch, weights, torch.zeros(count), pi)
    assert logged["pass_rate_at_turn/0"] == pytest.approx(1.0 / int(first.sum()))
    assert logged["pass_rate_at_turn/1"] == 1.0
    assert "pass_rate_at_turn/5_up" not in logged
    assert logged["pass_rate_at_pi/0_to_0.1"] == 1.0
    assert logged["pass_rate_at_pi/0.9_to_1"] == pytest.approx(float(weights[1:].mean()))
    assert "pass_rate_at_pi/0.1_to_0.9" not in logged
    assert logged["reply_length"] == pytest.approx(count / 3)


def test_a_critic_of_turns_is_judged_where_it_is_asked(batch: Batch) -> None:
    count = len(batch.tokens)
    starts = torch.cat([torch.ones(1, dtype=torch.bool), batch.last[:-1]])
    q = torch.where(starts, 1.0, 9.0).expand(2, count)
    zeros = torch.zeros(count)
    output = Output(zeros, zeros, q, q, q)
    for of_turns, most in ((True, 3.0), (False, 27.0)):
        logged = diagnostics.of_update(batch, output, zeros, zeros, zeros, 3.0, of_turns=of_turns)
        assert logged["critic/q_max"] == pytest.approx(most)


def test_where_no_target_is_known_nothing_is_explained_and_nobody_is_told(
    batch: Batch, recwarn: pytest.WarningsRecorder
) -> None:
    zeros = torch.zeros(len(batch.tokens))
    logged = diagnostics.of_update(batch, _output(batch, zeros), zeros, zeros, zeros + math.nan, 1.0)
    assert math.isnan(logged["critic/explained_variance"])
    assert not recwarn.list


def test_auroc_counts_pairs(batch: Batch) -> None:
    won = batch.success[batch.reply]
    count = len(won)
    assert won.any()
    assert not won.all()
    torch.manual_seed(0)
    advantages = torch.randint(0, 4, (count,)).float()
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in advantages[won] for b in advantages[~won]]
    half = torch.full((count,), 0.5)
    logged = _logged(batch, half, advantages, half)
    assert logged["critic/auroc"] == pytest.approx(sum(pairs) / len(pairs))
    alone = replace(batch, success=torch.ones_like(batch.success))
    assert "critic/auroc" not in _logged(alone, half, advantages, half)
