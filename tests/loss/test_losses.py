"""Filters, critic, actor and reduction: one example by hand for each formula, and where gradients go."""

from __future__ import annotations

import math

import pytest
import torch

from vlmq.loss import actor, critic, filters, masked


def test_an_advantage_is_q_minus_value_averaged_over_members() -> None:
    q = torch.tensor([[3.0, 1.0], [5.0, 1.0]], requires_grad=True)
    advantage = critic.advantage(q, torch.tensor([[1.0, 2.0], [2.0, 4.0]]))
    # ((3 - 1) + (5 - 2)) / 2 = 2.5;  ((1 - 2) + (1 - 4)) / 2 = -2
    assert advantage.tolist() == [2.5, -2.0]
    assert not advantage.requires_grad


def test_the_critic_loss_is_half_the_squared_error_averaged_over_members() -> None:
    target = torch.tensor([1.0], requires_grad=True)
    loss = critic.squared_error(torch.tensor([[3.0], [0.0]], requires_grad=True), target)
    # (0.5 * (3 - 1)^2 + 0.5 * (0 - 1)^2) / 2 = (2 + 0.5) / 2
    assert loss.tolist() == [1.25]
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert target.grad is None


def test_the_binary_filter_keeps_what_exceeds_the_margin() -> None:
    advantage = torch.tensor([-0.5, -0.03, -0.02, 0.0, 0.4])
    assert filters.binary(advantage, -0.03).tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert filters.binary(advantage, 0.0).tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_the_exponential_filter_is_capped() -> None:
    weights = filters.exponential(torch.tensor([-0.1, 0.0, 0.1, 5.0]), 0.1, 20.0)
    assert weights.tolist() == pytest.approx([1 / math.e, 1.0, math.e, 20.0])


def test_always_is_one_everywhere() -> None:
    assert filters.always(torch.tensor([-9.0, 0.0, 9.0])).tolist() == [1.0, 1.0, 1.0]


def test_the_actor_loss_pulls_at_kept_tokens_only_and_never_at_the_filter() -> None:
    logits = torch.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
    weights = torch.tensor([0.0, 1.0], requires_grad=True)
    loss = actor.filtered_nll(actor.log_likelihood(logits, torch.tensor([0, 1])), weights)
    assert loss.tolist() == pytest.approx([0.0, math.log(1 + math.exp(-1))])
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert weights.grad is None
    assert logits.grad is not None
    assert logits.grad[0].tolist() == [0.0, 0.0]
    assert (logits.grad[1] != 0).all()


def test_log_likelihood_is_computed_in_float32() -> None:
    logits = torch.tensor([[10.0, 0.0]], dtype=torch.bfloat16)
    value = actor.log_likelihood(logits, torch.tensor([0]))
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(-math.log1p(math.exp(-10)), rel=1e-3)


def test_each_reply_weighs_the_same_however_long_it_is() -> None:
    values = torch.tensor([1.0, 3.0, 10.0])
    # (1 + 3) / 2 + 10 / 1 = 12
    assert float(masked.sum_over_replies(values, torch.tensor([0, 0, 1]), 2)) == 12.0


def test_processes_that_share_a_batch_sum_to_the_loss_of_the_whole() -> None:
    values = torch.arange(9.0) - 3.0
    reply = torch.tensor([0, 0, 0, 1, 2, 2, 2, 2, 3])
    whole = masked.sum_over_replies(values, reply, 4) / 4
    parts = [
        masked.sum_over_replies(values[:4], reply[:4], 2) / 4,
        masked.sum_over_replies(values[4:], reply[4:] - 2, 2) / 4,
    ]
    torch.testing.assert_close(sum(parts), whole)
