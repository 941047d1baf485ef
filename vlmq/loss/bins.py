"""Values as distributions over bins: how a scalar is written into them and read back.

Two-hot as in MuZero (arXiv 1911.08265), HL-Gauss after Imani and White (arXiv 1806.04613) and Farebrother et al.
(arXiv 2403.03950). The support is linear: with a symmetric logarithm the mean of a spread distribution is wrong.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

PADDING = 3
"""Bins on either side of the values that are to be represented: a Gaussian near an end stays whole."""
_WIDTH = 0.75
"""Standard deviation of HL-Gauss, in bins (arXiv 2403.03950)."""


def centres(low: float, high: float, count: int) -> Float[Tensor, " B"]:
    """Evenly spaced bins whose inner ones reach from `low` to `high`.

    Raises:
        ValueError: too few bins, or an empty range.
    """
    if count < 2 * PADDING + 2 or not high > low:
        raise ValueError(
            f"{count} bins from {low} to {high}: at least {2 * PADDING + 2}, over a range that is one"
        )
    step = (high - low) / (count - 1 - 2 * PADDING)
    return low + step * (torch.arange(count, dtype=torch.float32) - PADDING)


def outside(values: Float[Tensor, " A"], bins: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """Share of the values that lie beyond what the bins are to represent, and are cut to it."""
    slack = 1e-3 * (bins[1] - bins[0])
    cut = (values < bins[PADDING] - slack) | (values > bins[-1 - PADDING] + slack)
    return cut.float().mean()


def two_hot(values: Float[Tensor, " A"], bins: Float[Tensor, " B"]) -> Float[Tensor, "A B"]:
    """All mass on the two bins beside each value, so that the mean is the value; outside the bins it is cut."""
    step = bins[1] - bins[0]
    place = ((values - bins[0]) / step).clamp(0, len(bins) - 1)
    return (1.0 - (place[:, None] - torch.arange(len(bins), device=values.device)).abs()).clamp_min(0.0)


def hl_gauss(values: Float[Tensor, " A"], bins: Float[Tensor, " B"]) -> Float[Tensor, "A B"]:
    """The mass of a Gaussian around each value within each bin's borders."""
    step = bins[1] - bins[0]
    values = values.clamp(bins[PADDING], bins[-1 - PADDING])
    borders = torch.cat([bins - step / 2, bins[-1:] + step / 2])
    below = torch.erf((borders - values[:, None]) / (step * _WIDTH * math.sqrt(2.0)))
    return (below[:, 1:] - below[:, :-1]) / (below[:, -1:] - below[:, :1])


def mean(logits: Float[Tensor, "*N B"], bins: Float[Tensor, " B"]) -> Float[Tensor, "*N"]:
    """What the bins say."""
    return logits.softmax(-1) @ bins


def cross_entropy(logits: Float[Tensor, "C A B"], wanted: Float[Tensor, "A B"]) -> Float[Tensor, " A"]:
    """-sum_b wanted_b log p_b, averaged over the ensemble's members."""
    return -(wanted.detach() * logits.log_softmax(-1)).sum(-1).mean(0)
