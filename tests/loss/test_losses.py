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


def test_the_expectile_error_leans_towards_the_better_of_the_data() -> None:
    value = torch.tensor([[0.0, 1.0]], requires_grad=True)
    loss = critic.expectile_error(value, torch.tensor([[1.0, 0.0]]), 0.9)
    # 0.9 (1 - 0)^2 / 2 above, 0.1 (0 - 1)^2 / 2 below
    assert loss.tolist() == pytest.approx([0.45, 0.05])
    fitted = torch.zeros(1, 1, requires_grad=True)
    q = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    optimizer = torch.optim.SGD([fitted], lr=0.5)
    for _ in range(300):
        optimizer.zero_grad()
        critic.expectile_error(fitted.expand(1, 4), q, 0.5).mean().backward()
        optimizer.step()
    assert float(fitted.detach()) == pytest.approx(1.5, abs=1e-3)  # expectile 0.5 is the mean


def test_the_conservative_term_is_the_cross_entropy_of_q_with_what_was_taken() -> None:
    every = torch.randn(2, 3, 5)
    tokens = torch.tensor([0, 4, 2])
    expected = sum(torch.nn.functional.cross_entropy(q, tokens, reduction="none") for q in every) / 2
    torch.testing.assert_close(critic.conservative(every, tokens), expected)


def test_held_to_the_policy_an_untried_token_falls_as_often_as_it_is_said() -> None:
    """Three tokens, of which the data take the first alone; the policy says the second, never the third."""
    q = torch.zeros(1, 3, requires_grad=True)
    probs = torch.tensor([0.4, 0.6, 0.0])
    critic.held_to_policy(q[:, :1], (q * probs).sum(-1, keepdim=True)).sum().backward()
    torch.testing.assert_close(q.grad, torch.tensor([[-0.6, 0.6, 0.0]]))


def test_an_ensemble_is_reduced_over_all_members_or_some() -> None:
    values = torch.tensor([[1.0, 5.0], [3.0, 4.0], [8.0, 0.0]])
    assert critic.reduce(values, "mean").tolist() == [4.0, 3.0]
    assert critic.reduce(values, "min").tolist() == [1.0, 0.0]
    assert critic.reduce(values, "min", [0, 1]).tolist() == [1.0, 4.0]


def test_a_turns_value_is_that_of_its_first_token() -> None:
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    last = torch.tensor([False, True, True, True])
    assert critic.of_turns(values, last).tolist() == [1.0, 1.0, 3.0, 4.0]


def test_the_binary_filter_keeps_what_exceeds_the_margin() -> None:
    advantage = torch.tensor([-0.5, -0.03, -0.02, 0.0, 0.4])
    assert filters.binary(advantage, -0.03).tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert filters.binary(advantage, 0.0).tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_the_exponential_filter_is_capped() -> None:
    weights = filters.exponential(torch.tensor([-0.1, 0.0, 0.1, 5.0]), 0.1, 20.0)
    assert weights.tolist() == pytest.approx([1 / math.e, 1.0, math.e, 20.0])


def test_the_softmax_filter_has_a_mean_weight_of_one_over_the_whole_batch() -> None:
    everywhere = torch.tensor([0.0, 0.1, -0.3, 0.2])
    parts = [filters.softmax(part, 0.1, everywhere) for part in everywhere.split(2)]
    weights = torch.cat(parts)
    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[1] / weights[0]) == pytest.approx(math.e, rel=1e-5)


def test_the_top_fraction_is_that_of_the_whole_batch() -> None:
    everywhere = torch.tensor([0.0, 0.5, -1.0, 0.4, 0.1])
    assert filters.top_fraction(everywhere[:3], 0.4, everywhere).tolist() == [0.0, 1.0, 0.0]
    assert filters.top_fraction(everywhere, 1.0, everywhere).tolist() == [1.0] * 5
    assert filters.top_fraction(everywhere, 1e-6, everywhere).tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]
    tied = torch.zeros(3)
    assert filters.top_fraction(tied, 0.3, tied).tolist() == [1.0] * 3


def test_a_good_token_of_a_bad_reply_falls_to_turn_and() -> None:
    last = torch.tensor([False, True, False, True, True])
    q = torch.tensor([0.5, 0.2, 0.5, 0.9, 0.0])
    value = torch.tensor([0.4, 0.1, 0.4, 0.5, 0.0])
    whole = filters.reply_advantages(q, value, last)
    # 0.2 - 0.4, twice; 0.9 - 0.4, twice; 0 - 0
    assert whole.tolist() == pytest.approx([-0.2, -0.2, 0.5, 0.5, 0.0])
    assert filters.turn_and(q - value, whole, -0.1, -0.1).tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]


def test_with_an_exact_critic_a_replys_advantage_is_the_sum_of_its_tokens() -> None:
    last = torch.tensor([False, False, True])
    value = torch.tensor([0.3, 0.7, -0.2])
    q = torch.cat([value[1:], torch.tensor([1.0])])  # gamma_token 1: Q(s_i, a_i) = V(s_i+1)
    whole = filters.reply_advantages(q, value, last)
    assert whole.tolist() == pytest.approx([float((q - value).sum())] * 3)


def test_whole_replies_are_kept_or_not() -> None:
    kept = filters.of_replies(torch.tensor([True, False]), torch.tensor([0, 0, 1]))
    assert kept.tolist() == [1.0, 1.0, 0.0]


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


def test_the_surrogate_is_clipped_where_the_ratio_has_gone_too_far_already() -> None:
    log_ratio = torch.log(torch.tensor([1.0, 1.5, 1.5, 0.5, 0.5])).requires_grad_()
    advantage = torch.tensor([2.0, 2.0, -2.0, 2.0, -2.0])
    loss = actor.clipped_surrogate(log_ratio, advantage, 0.2)
    # gains stop at 1.2 A, losses are felt in full; the same at 0.8 on the other side
    assert loss.tolist() == pytest.approx([-2.0, -2.4, 3.0, -1.0, 1.6])
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert log_ratio.grad is not None
    assert log_ratio.grad.tolist() == pytest.approx([-2.0, 0.0, 3.0, -1.0, 0.0])


def test_nothing_is_learnt_where_the_behaviour_is_unknown() -> None:
    log_probs = torch.zeros(3, requires_grad=True)
    behaviour = torch.tensor([0.0, math.nan, 0.0])
    ratio = actor.of_replies(log_probs - behaviour, torch.ones(3), torch.tensor([0, 0, 1]), 2)
    for unknown, log_ratio in ((1, log_probs - behaviour), (2, ratio)):
        loss = actor.clipped_surrogate(log_ratio, torch.ones(3), 0.2)
        (gradient,) = torch.autograd.grad(loss.sum(), log_probs, retain_graph=True)
        assert loss.isfinite().all()
        assert gradient.isfinite().all()
        assert int((gradient == 0).sum()) == unknown


def test_a_replys_ratio_is_the_product_of_its_tokens() -> None:
    log_ratio, weights = torch.tensor([0.1, 0.2, -0.4]), torch.tensor([0.5, 1.0, 1.0])
    whole = actor.of_replies(log_ratio, weights, torch.tensor([0, 0, 1]), 2)
    assert whole.tolist() == pytest.approx([0.25, 0.25, -0.4])


def test_standardised_advantages_have_mean_zero_and_spread_one_over_all_processes() -> None:
    everywhere = torch.tensor([1.0, 3.0, 5.0, 7.0])
    both = torch.cat([actor.standardised(part, everywhere) for part in (everywhere[:1], everywhere[1:])])
    assert float(both.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(both.std(correction=0)) == pytest.approx(1.0)


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
