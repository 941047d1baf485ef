"""Advantage filters: the weight f(A_i) >= 0 of each agent token in the fine-tuning loss.

Advantages are in units of the data's return range (see `vlmq.loss.returns`), so a margin is a fraction of that
range and means the same on every task.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlmq.loss.masked import over_replies, starts


def always(advantage: Float[Tensor, " A"]) -> Float[Tensor, " A"]:
    """f = 1: supervised fine-tuning."""
    return torch.ones_like(advantage)


def binary(advantage: Float[Tensor, " A"], margin: float | Float[Tensor, " A"]) -> Float[Tensor, " A"]:
    """f = [A > margin]: tokens clearly worse than the policy are left out (arXiv 2505.03181).

    A slightly negative margin keeps the tokens on which the policy is already certain: their advantage is zero
    up to the critic's noise, and a threshold at zero would drop half of them, the reply's syntax included.
    """
    return (advantage > margin).to(advantage.dtype)


def exponential(advantage: Float[Tensor, " A"], temperature: float, maximum: float) -> Float[Tensor, " A"]:
    """f = min(exp(A / temperature), maximum), as in AWR (arXiv 1910.00177) and CRR (arXiv 2006.15134)."""
    return (advantage / temperature).exp().clamp_max(maximum)


def softmax(
    advantage: Float[Tensor, " A"], temperature: float, everywhere: Float[Tensor, " B"]
) -> Float[Tensor, " A"]:
    """f = exp(A / temperature), divided by its mean over the batch (AWAC, arXiv 2006.09359): the mean weight is 1.

    Args:
        advantage: of this process's tokens.
        temperature: in units of the return range.
        everywhere: of the whole batch's tokens, which other processes may hold in part.
    """
    mean = torch.logsumexp(everywhere / temperature, 0) - math.log(len(everywhere))
    return (advantage / temperature - mean).exp()


def top_fraction(
    advantage: Float[Tensor, " A"], fraction: float, everywhere: Float[Tensor, " B"]
) -> Float[Tensor, " A"]:
    """f = 1 for the tokens whose advantage is among the largest `fraction` of the batch, ties included.

    Args:
        advantage: of this process's tokens.
        fraction: above 0, at most 1.
        everywhere: of the whole batch's tokens, which other processes may hold in part.
    """
    kept = max(1, math.ceil(fraction * len(everywhere)))
    return (advantage >= everywhere.topk(kept).values[-1]).to(advantage.dtype)


def turn_and(
    advantage: Float[Tensor, " A"],
    reply_advantage: Float[Tensor, " A"],
    margin: float | Float[Tensor, " A"],
    reply_margin: float,
) -> Float[Tensor, " A"]:
    """f = [A > margin and the whole reply's advantage > its margin] (ours).

    Args:
        advantage: of each token.
        reply_advantage: of the reply each token belongs to, see `reply_advantages`.
        margin: threshold of the tokens.
        reply_margin: threshold of the replies.
    """
    return binary(advantage, margin) * binary(reply_advantage, reply_margin)


def reply_advantages(
    q: Float[Tensor, " A"], value: Float[Tensor, " A"], last: Bool[Tensor, " A"]
) -> Float[Tensor, " A"]:
    """Q of a reply's last token minus V where the reply began, for each of its tokens.

    With gamma_token = 1 and an exact critic it is the sum of the reply's token advantages.

    Args:
        q: Q(s_i, a_i), averaged over the ensemble.
        value: V(s_i), averaged likewise.
        last: whether a token ends its reply.
    """
    return over_replies((q[last] - value[starts(last)]).detach(), last)


def of_replies(kept: Bool[Tensor, " P"], reply: Int[Tensor, " A"]) -> Float[Tensor, " A"]:
    """f = 1 for every token of the replies that are kept: filtered supervised fine-tuning.

    Args:
        kept: for each reply, whether its episode succeeded, for instance.
        reply: index of the reply a token belongs to.
    """
    return kept[reply].to(torch.float32)
