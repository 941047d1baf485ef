"""Counter-based randomness: every draw is a pure function of the integers that name it.

A draw belongs to (seed, purpose, episode, turn, token, ...) and not to a generator's state, so it does not
depend on batch composition, on the number of processes, or on what was drawn before. The mixing function is
the finaliser of SplitMix64 (Steele, Lea, Flood 2014), chained over the counters.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)


def purpose(name: str) -> int:
    """A stable 63-bit integer for a purpose such as "train" or "sampling"."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1


def bits(*counters: ArrayLike) -> NDArray[np.uint64]:
    """64 random bits for each element of the broadcast counters (integers, negatives allowed)."""
    with np.errstate(over="ignore"):
        state: NDArray[np.uint64] = np.zeros((), np.uint64)
        for counter in counters:
            state = _mix(state + _GOLDEN + _mix(np.asarray(counter).astype(np.int64).astype(np.uint64)))
    return state


def uniform(*counters: ArrayLike) -> NDArray[np.float64]:
    """Uniform draws in [0, 1), one for each element of the broadcast counters."""
    return (bits(*counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def seed(*counters: int) -> int:
    """A seed in [0, 2**31) for `Env.reset`."""
    return int(bits(*counters) >> np.uint64(33))


def permutation(size: int, *counters: int) -> NDArray[np.int64]:
    """A random permutation of range(size)."""
    return np.argsort(bits(*counters, np.arange(size)), kind="stable")


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * _MIX_A
    value = (value ^ (value >> np.uint64(27))) * _MIX_B
    return value ^ (value >> np.uint64(31))
