"""Advantage filters: the weight f(A_i) >= 0 of each agent token in the fine-tuning loss.

Advantages are in units of the data's return range (see `vlmq.loss.returns`), so a margin is a fraction of that
range and means the same on every task.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def always(advantage: Float[Tensor, " A"]) -> Float[Tensor, " A"]:
    """f = 1: supervised fine-tuning."""
    return torch.ones_like(advantage)


def binary(advantage: Float[Tensor, " A"], margin: float) -> Float[Tensor, " A"]:
    """f = [A > margin]: tokens clearly worse than the policy are left out (arXiv 2505.03181).

    A slightly negative margin keeps the tokens on which the policy is already certain: their advantage is zero
    up to the critic's noise, and a threshold at zero would drop half of them, the reply's syntax included.
    """
    return (advantage > margin).to(advantage.dtype)


def exponential(advantage: Float[Tensor, " A"], temperature: float, maximum: float) -> Float[Tensor, " A"]:
    """f = min(exp(A / temperature), maximum), as in AWR (arXiv 1910.00177) and CRR (arXiv 2006.15134)."""
    return (advantage / temperature).exp().clamp_max(maximum)
