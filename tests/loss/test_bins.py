"""Bins: what is written into them is read back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmq.loss import bins

SUPPORT = st.tuples(st.floats(-50, 50), st.floats(0.01, 100))


@given(SUPPORT, st.integers(12, 101), st.floats(0, 1))
def test_a_value_inside_the_support_is_read_back(
    support: tuple[float, float], count: int, place: float
) -> None:
    low, width = support
    value = torch.tensor([low + place * width])
    centres = bins.centres(low, low + width, count)
    step = float(centres[1] - centres[0])
    scale = max(1.0, abs(low) + width)
    for encode, error in ((bins.two_hot, 1e-4 * scale), (bins.hl_gauss, 0.02 * step + 1e-4 * scale)):
        encoded = encode(value, centres)
        assert encoded.shape == (1, count)
        assert float(encoded.min()) >= 0
        assert float(encoded.sum()) == pytest.approx(1.0, abs=1e-4)
        assert float(encoded @ centres) == pytest.approx(float(value), abs=error)


def test_a_two_hot_value_lies_between_two_bins() -> None:
    centres = bins.centres(0.0, 5.0, 12)  # -3, -2, ... 8
    assert centres.tolist() == [float(n) for n in range(-3, 9)]
    encoded = bins.two_hot(torch.tensor([2.25]), centres)[0]
    assert encoded[5:7].tolist() == pytest.approx([0.75, 0.25])
    assert float(encoded.sum()) == 1.0


@pytest.mark.parametrize("encode", [bins.two_hot, bins.hl_gauss])
def test_what_lies_outside_is_cut(encode: type) -> None:
    centres = bins.centres(0.0, 1.0, 12)
    assert torch.isfinite(encode(torch.tensor([-9.0, 9.0]), centres)).all()


def test_the_mean_of_a_spread_distribution_is_its_mean() -> None:
    centres = bins.centres(0.0, 10.0, 57)
    half = 0.5 * (bins.two_hot(torch.tensor([0.0]), centres) + bins.two_hot(torch.tensor([10.0]), centres))
    assert float(bins.mean(half.log(), centres)) == pytest.approx(5.0, abs=1e-4)


def test_cross_entropy_is_smallest_at_what_is_wanted() -> None:
    centres = bins.centres(-1.0, 1.0, 21)
    wanted = bins.hl_gauss(torch.tensor([0.3]), centres)
    best = bins.cross_entropy(wanted.clamp_min(1e-9).log().expand(2, 1, 21), wanted)
    other = bins.cross_entropy(torch.zeros(2, 1, 21), wanted)
    assert float(best) < float(other)


def test_too_few_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        bins.centres(0.0, 1.0, 7)


def test_values_beyond_the_support_are_counted() -> None:
    support = bins.centres(-1.0, 2.0, 21)
    assert float(bins.outside(torch.tensor([-1.0, 0.0, 2.0]), support)) == 0.0
    assert float(bins.outside(torch.tensor([-1.1, 0.0, 2.0, 2.1]), support)) == 0.5
