"""Reduction, once: per-token tensors to one scalar, normalised by counts the caller gives.

Counts are arguments because a batch may be spread over processes: each process passes the GLOBAL count, and
the sum of the processes' losses is the loss of the whole batch.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


def sum_over_replies(values: Float[Tensor, " A"], reply: Int[Tensor, " A"], num_replies: int) -> Tensor:
    """Sum over replies of the mean over each reply's tokens.

    Args:
        values: one value for each agent token.
        reply: index in [0, num_replies) of the reply a token belongs to.
        num_replies: replies in this batch on this process.
    """
    return mean_of_replies(values, reply, num_replies).sum()


def mean_of_replies(
    values: Float[Tensor, " A"], reply: Int[Tensor, " A"], num_replies: int
) -> Float[Tensor, " R"]:
    """Mean over each reply's tokens."""
    shares = values / reply_lengths(reply, num_replies)[reply]
    return shares.new_zeros(num_replies).index_add(0, reply, shares)


def reply_lengths(reply: Int[Tensor, " A"], num_replies: int) -> Float[Tensor, " R"]:
    """Number of tokens of each reply."""
    return torch.bincount(reply, minlength=num_replies).to(torch.float32)


def starts(last: Bool[Tensor, " A"]) -> Bool[Tensor, " A"]:
    """Which tokens begin a reply, from which end one."""
    return torch.cat([last.new_ones(1), last[:-1]])


def over_replies(values: Shaped[Tensor, " R"], last: Bool[Tensor, " A"]) -> Shaped[Tensor, " A"]:
    """One value a reply, for each of its tokens."""
    return values.repeat_interleave(last.nonzero().squeeze(-1) - starts(last).nonzero().squeeze(-1) + 1)
