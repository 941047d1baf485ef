"""Intervals: how far a measured rate or mean can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Reduces the last axis: (..., n) -> (...)."""


class Interval(NamedTuple):
    """An estimate with the ends of its confidence interval, all in the unit of what was measured."""

    value: float
    low: float
    high: float


def wilson(successes: int, trials: int, *, confidence: float = 0.95) -> Interval:
    """Success rate of independent trials with Wilson's score interval; both in 0..1.

    Unlike the textbook interval it is never empty at 0 % and 100 % and never leaves 0..1
    (Wilson 1927, "Probable inference, the law of succession, and statistical inference").

    Raises:
        ValueError: no trials, or more successes than trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials is not a rate")
    rate = successes / trials
    z = NormalDist().inv_cdf(0.5 + _checked(confidence) / 2)
    shrink = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # At the ends the exact bound is 0 or 1; rounding must not move it.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return Interval(rate, low, high)


def mean_over_seeds(
    values: Sequence[float], *, confidence: float = 0.95, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Interval:
    """Mean of one number per seed with Student's t interval, cut at the `bounds` of what was measured.

    A single seed says nothing about the spread: its interval reaches from bound to bound.

    Raises:
        ValueError: no values.
    """
    count = len(values)
    if count == 0:
        raise ValueError("the mean of no seeds is undefined")
    mean = math.fsum(values) / count
    if count == 1:
        return Interval(mean, *bounds)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    quantile = t_quantile(0.5 + _checked(confidence) / 2, count - 1)
    half = quantile * math.sqrt(variance / count)
    return Interval(mean, max(bounds[0], mean - half), min(bounds[1], mean + half))


def bootstrap(
    values: Sequence[float] | NDArray[Any],
    statistic: Statistic | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of any statistic of independent values, the mean where none is given; see `_tail`.

    Raises:
        ValueError: no values.
    """
    data = np.asarray(values, np.float64)
    if data.ndim != 1 or data.size == 0:
        raise ValueError(f"bootstrap needs a list of at least one number, not an array of shape {data.shape}")
    reduce = statistic or _mean
    rng = np.random.default_rng(seed)
    # A block of resamples at a time, so that memory stays near 8 MB whatever the size of the data.
    block = max(1, 1_000_000 // data.size)
    parts = [
        reduce(data[rng.integers(0, data.size, size=(min(block, resamples - start), data.size))])
        for start in range(0, resamples, block)
    ]
    tail = _tail([data.size], confidence)
    low, high = np.quantile(np.concatenate(parts), [tail, 1 - tail])
    return Interval(float(reduce(data[None])[0]), float(low), float(high))


def interquartile_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the middle half of the last axis: what is left when the best and the worst quarter are cut.

    Robust as a median and surer than one with few values (Agarwal et al. 2021, arXiv 2108.13264).
    """
    ordered = np.sort(values, axis=-1)
    cut = values.shape[-1] // 4
    return np.asarray(ordered[..., cut : values.shape[-1] - cut].mean(axis=-1))


def stratified_bootstrap(
    strata: Sequence[Sequence[float] | NDArray[Any]],
    statistic: Statistic | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of a statistic of all values together, drawn anew within each stratum; see `_tail`.

    The order of strata and of values changes nothing. A stratum of one value says nothing about its spread: the
    interval then reaches from -inf to inf.

    Args:
        strata: for each task, say, one number a seed.
        statistic: of all of them in one list; the mean where none is given.
        confidence: of the interval.
        resamples: how many.
        seed: of the draws.

    Raises:
        ValueError: no stratum, or an empty one.
    """
    data = [np.sort(np.asarray(stratum, np.float64), axis=None) for stratum in strata]
    if not data or any(stratum.size == 0 for stratum in data):
        raise ValueError("a stratified bootstrap needs at least one stratum, and none may be empty")
    reduce = statistic or _mean
    value = float(reduce(np.concatenate(data)[None])[0])
    if any(stratum.size == 1 for stratum in data):
        return Interval(value, -math.inf, math.inf)
    data.sort(key=tuple)
    rng = np.random.default_rng(seed)
    drawn = [stratum[rng.integers(0, stratum.size, size=(resamples, stratum.size))] for stratum in data]
    tail = _tail([stratum.size for stratum in data], confidence)
    low, high = np.quantile(reduce(np.concatenate(drawn, axis=-1)), [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def probability_of_improvement(first: Sequence[float], second: Sequence[float]) -> float:
    """How probably a seed of the second is better than one of the first; ties count half."""
    ours, theirs = np.asarray(first, np.float64)[:, None], np.asarray(second, np.float64)[None]
    return float((theirs > ours).mean() + 0.5 * (theirs == ours).mean())


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's rank correlation of two lists of numbers, ties sharing their mean rank; NaN where one is constant."""
    ours, theirs = _ranks(first), _ranks(second)
    if min(ours.std(), theirs.std()) == 0.0:
        return math.nan
    return float(((ours - ours.mean()) * (theirs - theirs.mean())).mean() / (ours.std() * theirs.std()))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    below = (values[:, None] > values[None]).sum(1)
    equal = (values[:, None] == values[None]).sum(1)
    return np.asarray(below + (equal + 1) / 2)


def t_quantile(probability: float, degrees: int) -> float:
    """The point below which Student's t with `degrees` degrees of freedom falls with `probability`.

    Found by bisection on the distribution's closed form for whole degrees of freedom (Abramowitz and
    Stegun 26.7.3 and 26.7.4), to about 1e-12 of its size.

    Raises:
        ValueError: a probability outside (0, 1), or fewer than one degree of freedom.
    """
    if not 0 < probability < 1 or degrees < 1:
        raise ValueError(f"no t quantile for probability {probability} with {degrees} degrees of freedom")
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    low, high = 0.0, 1.0
    while _t_below(high, degrees) < probability:
        low, high = high, 2 * high
    while high - low > 1e-12 * max(1.0, high):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_below(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def _t_below(t: float, degrees: int) -> float:
    """P(T <= t) for t >= 0."""
    theta = math.atan2(t, math.sqrt(degrees))
    cosine_squared = math.cos(theta) ** 2
    odd = degrees % 2
    term = math.cos(theta) if odd else 1.0
    total = 0.0 if degrees == 1 else term
    for k in range(3 if odd else 2, degrees, 2):
        term *= cosine_squared * (k - 1) / k
        total += term
    inside = 2 / math.pi * (theta + math.sin(theta) * total) if odd else math.sin(theta) * total
    return 0.5 + inside / 2


def _tail(sizes: Sequence[int], confidence: float) -> float:
    """What is cut off at either end of the resampled values.

    The plain percentiles are too narrow for few values, 84 % in place of 95 for five: they miss the spread's
    n / (n - 1) and Student's t. This is the expanded percentile interval (Hesterberg 2015, arXiv 1411.5279), with the
    degrees of freedom of all strata together.
    """
    plain = (1 - _checked(confidence)) / 2
    least, degrees = min(sizes), sum(size - 1 for size in sizes)
    if least == 1:
        return plain  # all resamples are that one value
    wider = math.sqrt(least / (least - 1)) * t_quantile(1 - plain, degrees)
    return NormalDist().cdf(-wider)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values.mean(axis=-1))


def _checked(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} must lie between 0 and 1, 0.95 for instance")
    return confidence
