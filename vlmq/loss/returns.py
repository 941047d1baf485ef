"""Token-level targets for the critic.

Indices follow the method: agent tokens i = 0..A-1 in order, R_i the reward that arrives with token i (zero
but at a reply's last token), G_i the discount applied after token i (gamma_token inside a reply, gamma_turn
at its end, zero where the episode terminated). The state after token i is a state index, never i + 1 by
assumption: at a reply's end it is the last prompt token of the next turn.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def lambda_returns(
    reward: Float[Tensor, " A"],
    discount: Float[Tensor, " A"],
    next_value: Float[Tensor, " A"],
    lam: Float[Tensor, " A"],
    next_token: Int[Tensor, " A"],
    next_q: Float[Tensor, " A"] | None = None,
) -> Float[Tensor, " A"]:
    """L_i = R_i + G_i (V_next(i) + lam_i (L_next(i) - B_next(i))); with no next token, R_i + G_i V_next(i).

    B = V, the default, gives lambda-returns R_i + G_i ((1 - lam_i) V_next(i) + lam_i L_next(i)): they follow what was
    done (Sutton & Barto 2018, chapter 12, with a lambda for each token). B = Q of the token taken next, with lam times
    the policy's probability of it, gives tree backup (Precup, Sutton and Singh 2000): what the policy would not have
    done is cut off. lam = 0 gives one-step targets, lam = 1 Monte-Carlo returns. The recurrence is solved by pointer
    doubling in log2(A) gathers.

    Args:
        reward: R_i.
        discount: G_i.
        next_value: V of the state after token i; ignored where G_i is zero.
        lam: lambda of token i.
        next_token: index of the agent token that follows i in the same fragment, -1 where none does.
        next_q: Q of the token taken in the state after token i; ignored where none was.
    """
    has_next = next_token >= 0
    carried = torch.where(has_next, lam, torch.zeros_like(lam))
    # `where` rather than a product: an unknown next value may be NaN where the discount is zero.
    bootstrap = torch.where(discount > 0, next_value, torch.zeros_like(next_value))
    baseline = bootstrap if next_q is None else next_q
    constant = reward + discount * (bootstrap - carried * baseline)
    return _solve(constant, discount * carried, next_token.clamp_min(0))


def n_step_returns(
    reward: Float[Tensor, " A"],
    discount: Float[Tensor, " A"],
    next_value: Float[Tensor, " A"],
    last: Bool[Tensor, " A"],
    next_token: Int[Tensor, " A"],
    turns: int,
) -> Float[Tensor, " A"]:
    """Rewards up to the end of the `turns`-th turn from here on, then V; sooner where the fragment ends.

    The tokens of a reply are one step: with 1 a target reaches to the end of its own reply.

    Args:
        reward: R_i.
        discount: G_i.
        next_value: V of the state after token i; ignored where G_i is zero.
        last: whether a token ends its reply.
        next_token: index of the agent token that follows i in the same fragment, -1 where none does.
        turns: at least 1.
    """
    has_next = next_token >= 0
    successor = next_token.clamp_min(0)
    bootstrap = torch.where(discount > 0, next_value, torch.zeros_like(next_value))
    inside = ~last & has_next
    after = bootstrap
    for _ in range(turns):
        ends = torch.where(inside, reward, reward + discount * after)
        whole = _solve(ends, torch.where(inside, discount, torch.zeros_like(discount)), successor)
        after = torch.where(has_next, whole[successor], bootstrap)
    return whole


def known_n_step(
    discount: Float[Tensor, " A"],
    next_known: Bool[Tensor, " A"],
    last: Bool[Tensor, " A"],
    next_token: Int[Tensor, " A"],
    turns: int,
) -> Bool[Tensor, " A"]:
    """The same as `known_targets` for `n_step_returns`."""
    goes_on = (discount > 0).to(discount.dtype)
    unknown = (~next_known).to(discount.dtype)
    return n_step_returns(torch.zeros_like(discount), goes_on, unknown, last, next_token, turns) == 0


def known_targets(
    discount: Float[Tensor, " A"],
    next_known: Bool[Tensor, " A"],
    lam: Float[Tensor, " A"],
    next_token: Int[Tensor, " A"],
) -> Bool[Tensor, " A"]:
    """Whether no part of a token's target rests on a state that was never observed.

    An episode may be cut without a final observation: nothing can be bootstrapped there, and every target
    that would reach it through lambda is masked out of the critic loss.
    """
    carried = torch.where(next_token >= 0, lam, torch.zeros_like(lam))
    missing = (~next_known & (discount > 0) & (carried < 1)).to(discount.dtype)
    return _solve(missing, (discount * carried > 0).to(discount.dtype), next_token.clamp_min(0)) == 0


def _solve(
    constant: Float[Tensor, " A"], factor: Float[Tensor, " A"], successor: Int[Tensor, " A"]
) -> Float[Tensor, " A"]:
    """x_i = constant_i + factor_i x_successor(i), where every chain ends in a zero factor."""
    for _ in range(max(1, int(constant.numel()).bit_length())):
        constant = constant + factor * constant[successor]
        factor = factor * factor[successor]
        successor = successor[successor]
    return constant
