"""Intervals against closed forms, published tables and their own promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmq.report.stats import (
    bootstrap,
    interquartile_mean,
    mean_over_seeds,
    probability_of_improvement,
    rank_correlation,
    stratified_bootstrap,
    t_quantile,
    wilson,
)


def test_wilson_agrees_with_the_formula_worked_by_hand() -> None:
    # 8 of 10, z = 1.959964: z^2 = 3.841459; centre = (0.8 + 0.192073) / 1.384146 = 0.716740;
    # half = 1.959964 / 1.384146 * sqrt(0.016 + 3.841459 / 400) = 1.416010 * 0.160012 = 0.226579
    result = wilson(8, 10)
    assert result.value == 0.8
    assert result.low == pytest.approx(0.490162, abs=2e-6)
    assert result.high == pytest.approx(0.943318, abs=2e-6)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_rate_and_stays_in_0_to_1(counts: tuple[int, int]) -> None:
    successes, trials = counts
    rate, low, high = wilson(successes, trials)
    assert 0 <= low <= rate <= high <= 1
    assert low < high


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_mirrors_when_success_and_failure_change_places(counts: tuple[int, int]) -> None:
    successes, trials = counts
    one, other = wilson(successes, trials), wilson(trials - successes, trials)
    assert one.low == pytest.approx(1 - other.high, abs=1e-12)


def test_wilson_covers_the_truth_as_often_as_it_says() -> None:
    # Exact coverage at n = 40, averaged over p = 0.05 .. 0.95: the score interval is known to be near 0.95.
    coverage = []
    for p in np.linspace(0.05, 0.95, 19):
        held = [
            math.comb(40, k) * p**k * (1 - p) ** (40 - k)
            for k in range(41)
            if wilson(k, 40).low <= p <= wilson(k, 40).high
        ]
        coverage.append(sum(held))
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_what_is_no_rate(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        wilson(successes, trials)


@pytest.mark.parametrize(
    ("probability", "degrees", "published"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 4, 2.776),
        (0.975, 9, 2.262),
        (0.975, 30, 2.042),
        (0.95, 5, 2.015),
        (0.995, 10, 3.169),
        (0.975, 120, 1.980),
    ],
)
def test_t_quantile_equals_the_printed_table(probability: float, degrees: int, published: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(published, abs=5e-4)


def test_t_quantile_has_the_closed_forms_of_one_and_two_degrees() -> None:
    for p in (0.6, 0.9, 0.975, 0.999):
        assert t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-9)
        a = 4 * p * (1 - p)
        assert t_quantile(p, 2) == pytest.approx(2 * (p - 0.5) * math.sqrt(2 / a), rel=1e-9)
        assert t_quantile(1 - p, 2) == -t_quantile(p, 2)


def test_mean_over_seeds_agrees_with_the_formula_worked_by_hand() -> None:
    # 1, 2, 3: mean 2, sd 1, half = 4.302653 / sqrt(3) = 2.484138
    result = mean_over_seeds([1.0, 2.0, 3.0])
    assert result == pytest.approx((2.0, 2 - 2.484138, 2 + 2.484138), abs=1e-5)


def test_one_seed_has_no_finite_interval() -> None:
    assert mean_over_seeds([0.7]) == (0.7, -math.inf, math.inf)
    assert mean_over_seeds([0.7], bounds=(0, 1)) == (0.7, 0, 1)
    assert mean_over_seeds([0.9, 1.0, 1.0], bounds=(0, 1)).high == 1


def test_the_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no seeds"):
        mean_over_seeds([])
    with pytest.raises(ValueError, match="at least one number"):
        bootstrap([])


def test_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, size=400)
    result = bootstrap(values, seed=1)
    half = 1.959964 * values.std() / math.sqrt(400)
    assert result.value == pytest.approx(values.mean())
    assert result.low == pytest.approx(values.mean() - half, abs=0.02)
    assert result.high == pytest.approx(values.mean() + half, abs=0.02)


def test_bootstrap_takes_any_statistic_and_repeats_with_its_seed() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 100.0]
    first = bootstrap(values, lambda x: np.median(x, axis=-1), seed=7, resamples=2000)
    assert first.value == 3.0
    assert 1.0 <= first.low <= 3.0 <= first.high <= 100.0
    assert first == bootstrap(values, lambda x: np.median(x, axis=-1), seed=7, resamples=2000)
    many = np.random.default_rng(0).normal(size=50)
    assert bootstrap(many, seed=7) != bootstrap(many, seed=8)


def test_equal_values_leave_no_doubt() -> None:
    assert bootstrap([0.5] * 10, resamples=100) == (0.5, 0.5, 0.5)
    assert mean_over_seeds([0.5] * 10) == (0.5, 0.5, 0.5)


def test_a_confidence_in_percent_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        wilson(1, 2, confidence=95)


def test_rank_correlation_looks_at_order_alone() -> None:
    values = np.array([1.0, 2.0, 5.0, 9.0])
    assert rank_correlation(values, np.exp(values)) == pytest.approx(1.0)
    assert rank_correlation(values, -values) == pytest.approx(-1.0)
    # Ranks 1 2.5 2.5 4 against 1 2 3 4: worked by hand, 4.5 / sqrt(4.5 * 5).
    assert rank_correlation(np.array([0.0, 3.0, 3.0, 7.0]), values) == pytest.approx(4.5 / math.sqrt(22.5))
    assert math.isnan(rank_correlation(values, np.ones(4)))


def test_the_interquartile_mean_leaves_out_the_best_and_the_worst_quarter() -> None:
    assert interquartile_mean(np.array([9.0, 1.0, 2.0, 0.0])) == 1.5
    assert interquartile_mean(np.array([[3.0, 1.0, 2.0], [6.0, 6.0, 0.0]])).tolist() == [2.0, 4.0]
    assert interquartile_mean(np.arange(8.0)) == np.mean([2, 3, 4, 5])


def test_a_stratified_bootstrap_keeps_every_stratum_its_part() -> None:
    # Strata far apart without any spread of their own: there is nothing to be unsure of.
    assert stratified_bootstrap([[0.0, 0.0], [1.0, 1.0]]) == (0.5, 0.5, 0.5)
    assert stratified_bootstrap([[0.0, 1.0]] * 3, seed=1).low < 0.35
    with pytest.raises(ValueError, match="at least one stratum"):
        stratified_bootstrap([])
    with pytest.raises(ValueError, match="none may be empty"):
        stratified_bootstrap([[1.0], []])


def test_the_order_of_tasks_and_seeds_changes_nothing() -> None:
    strata = [[0.2, 0.4, 0.9], [0.6, 0.1, 0.5]]
    whole = stratified_bootstrap(strata, interquartile_mean)
    assert whole == stratified_bootstrap([strata[1][::-1], strata[0][::-1]], interquartile_mean)
    assert mean_over_seeds(strata[0]) == pytest.approx(mean_over_seeds(strata[0][::-1]))


def test_one_seed_of_a_task_has_no_interval() -> None:
    assert stratified_bootstrap([[0.2, 0.4], [0.6]]) == pytest.approx((0.4, -math.inf, math.inf))


@pytest.mark.parametrize("seeds", [5, 10])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    tasks, repeats = np.array([0.2, 0.5, 0.6]), 600
    population = (tasks[:, None] + 0.1 * rng.standard_normal((3, 100_000))).ravel()
    truths = {"mean": population.mean(), "middle": interquartile_mean(population[None])[0], "one": 0.2}
    held = dict.fromkeys(truths, 0)
    for _ in range(repeats):
        drawn = list(tasks[:, None] + 0.1 * rng.standard_normal((3, seeds)))
        found = {
            "mean": stratified_bootstrap(drawn, resamples=1000),
            "middle": stratified_bootstrap(drawn, interquartile_mean, resamples=1000),
            "one": mean_over_seeds(drawn[0].tolist()),
        }
        for name, interval in found.items():
            held[name] += interval.low <= truths[name] <= interval.high
    # 95 %, within what 600 repeats can tell: two standard errors are 1.8 %. Plain percentiles hold it in 84 to 92 %.
    assert all(0.925 <= count / repeats <= 0.975 for count in held.values()), held


def test_the_probability_of_improvement_counts_pairs() -> None:
    assert probability_of_improvement([0.0, 1.0], [1.0, 2.0]) == (0.5 + 1 + 1 + 1) / 4
    assert probability_of_improvement([0.5], [0.5]) == 0.5
