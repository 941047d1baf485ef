"""Critic losses: one value for each agent token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from vlmq.loss.masked import over_replies, starts

Reduction = Literal["mean", "min"]


def squared_error(q: Float[Tensor, "C A"], target: Float[Tensor, " A"]) -> Float[Tensor, " A"]:
    """Half the squared error to the target, averaged over the ensemble's members.

    Args:
        q: Q_c(s_i, a_i) of each member, in units of the return range.
        target: targets in the same units, without gradient.
    """
    return 0.5 * (q - target.detach()).square().mean(0)


def advantage(q: Float[Tensor, "C A"], value: Float[Tensor, "C A"]) -> Float[Tensor, " A"]:
    """A_i = mean over members of Q_c(s_i, a_i) - V_c(s_i); no gradient flows into it."""
    return (q - value).detach().mean(0)


def expectile_error(
    value: Float[Tensor, "C A"], q: Float[Tensor, "C A"], expectile: float
) -> Float[Tensor, " A"]:
    """|expectile - [q < v]| (q - v)^2 / 2, averaged over members (IQL, arXiv 2110.06169; ILQL, arXiv 2206.11871).

    Args:
        value: V_c(s_i), with gradient.
        q: Q_c(s_i, a_i) of the Polyak copy.
        expectile: 0.5 is the mean of the data's actions; towards 1 the best of them.
    """
    difference = q.detach() - value
    weight = torch.where(difference < 0, 1.0 - expectile, expectile)
    return 0.5 * (weight * difference.square()).mean(0)


def conservative(every: Float[Tensor, "C A V"], tokens: Int[Tensor, " A"]) -> Float[Tensor, " A"]:
    """log sum_v exp Q(s_i, v) - Q(s_i, a_i), averaged over members (CQL, arXiv 2006.04779).

    It is the cross-entropy of Q as logits with the tokens taken, and pulls down what was never tried.
    """
    taken = every.gather(-1, tokens.expand(len(every), -1)[..., None]).squeeze(-1)
    return (every.logsumexp(-1) - taken).mean(0)


def held_to_policy(q: Float[Tensor, "C A"], value: Float[Tensor, "C A"]) -> Float[Tensor, " A"]:
    """V(s_i) - Q(s_i, a_i), averaged over members: CQL's term with the policy in place of the soft maximum.

    Of the tokens never tried it pulls down those that the policy says, each as much as it is said: where data hold
    one good way only, as an expert's do, these are the ones that the filter would count on.
    """
    return (value - q).mean(0)


def reduce(
    values: Float[Tensor, "C S"], how: Reduction, members: Sequence[int] | None = None
) -> Float[Tensor, " S"]:
    """One value of an ensemble's, over all members or some (REDQ, arXiv 2101.05982).

    `mean` suits an actor that only filters; `min` is meant for one that maximises Q: it is biased downwards, and
    the bias compounds over the bootstrap.
    """
    chosen = values if members is None else values[list(members)]
    return chosen.mean(0) if how == "mean" else chosen.amin(0)


def of_turns(values: Shaped[Tensor, " A"], last: Bool[Tensor, " A"]) -> Shaped[Tensor, " A"]:
    """The value at each reply's first token, for all of its tokens; no gradient flows into it."""
    return over_replies(values.detach()[starts(last)], last)
