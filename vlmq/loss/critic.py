"""Critic losses: one value for each agent token."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


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
