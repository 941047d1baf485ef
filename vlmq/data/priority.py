"""Priorities of replayed turns: how much the actor may still gain from each (advantage-filtered BC's sampling).

Where most of the data is bad, few of the tokens drawn uniformly survive the filter. Actor batches are then drawn in
proportion to the positive part of each reply's advantage as it was last seen, and the critic still learns from
uniform ones only, so that its targets stay those of the data. Until a turn was first seen, what its episode earned
speaks for it: rating everything once takes longer than many runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


class Priorities:
    """One number for each visible turn of a replay, in the replay's order; NaN until a turn was first rated."""

    def __init__(self) -> None:
        self._index: NDArray[np.int64] = np.zeros(0, np.int64)
        self._turns: NDArray[np.int64] = np.zeros(0, np.int64)
        self._rated: NDArray[np.float32] = np.zeros(0, np.float32)
        self._expected: NDArray[np.float32] = np.zeros(0, np.float32)

    def show(
        self, index: NDArray[np.int64], turns: NDArray[np.int64], returns: NDArray[np.floating[Any]]
    ) -> None:
        """Stand for these episodes (E,) with so many turns and such returns (E,) from now on.

        What was rated before is kept.
        """
        gain = (
            np.maximum(returns - returns.mean(), 0.0) / max(np.ptp(returns), 1e-12)
            if len(returns)
            else returns
        )
        self._expected = np.repeat(gain, turns).astype(np.float32)
        rated = np.full(int(turns.sum()), np.nan, np.float32)
        before = dict(zip(self._index.tolist(), _parts(self._rated, self._turns), strict=True))
        for episode, part in zip(index.tolist(), _parts(rated, turns), strict=True):
            if episode in before:
                part[:] = before[episode]
        self._index, self._turns, self._rated = index, turns, rated

    def rate(self, places: NDArray[np.int64], advantages: NDArray[np.float32]) -> None:
        """The replies at these places (n,) turned out to have these advantages (n,)."""
        self._rated[places] = np.maximum(advantages, 0.0)

    @property
    def positive(self) -> float:
        """Share of the rated turns with a priority above zero; 1 before any was rated."""
        rated = self._rated[~np.isnan(self._rated)]
        return float((rated > 0).mean()) if len(rated) else 1.0

    def draw(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """Places (n,) in proportion to their priorities, from n uniform numbers in [0, 1).

        A turn that was never rated counts as the mean of those that were, and what its episode earned above the
        mean of all, in units of their range, on top. Where nothing has a priority above zero, all turns are alike.
        """
        known = ~np.isnan(self._rated)
        usual = self._rated[known].mean() if known.any() else 0.0
        weights = np.where(known, self._rated, usual + self._expected)
        ends = weights.astype(np.float64).cumsum()
        if ends[-1] <= 0.0:
            ends = np.arange(1.0, len(ends) + 1.0)
        places: NDArray[np.int64] = np.searchsorted(ends, uniform * ends[-1], side="right")
        return places.clip(max=len(ends) - 1)

    def state_dict(self) -> dict[str, Any]:
        """All but what `show` is told anew."""
        names = ("index", "turns", "rated")
        return {name: torch.from_numpy(getattr(self, f"_{name}").copy()) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where `state_dict` was."""
        for name, values in state.items():
            setattr(self, f"_{name}", values.numpy().copy())


def _parts(values: NDArray[np.float32], lengths: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    return np.split(values, lengths.cumsum()[:-1]) if len(lengths) else []
