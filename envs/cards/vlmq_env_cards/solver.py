"""Which numbers can make 24, and how: every formula of a few numbers, searched exactly."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

Formula = tuple[str, ...]
_Part = tuple[Fraction, Formula, int]
"""A value, the formula that gives it, and how closely its last operation binds (3: a lone number)."""

_SUM, _PRODUCT, _NUMBER = 1, 2, 3


@lru_cache(maxsize=4096)
def values(numbers: tuple[int, ...]) -> frozenset[Fraction]:
    """Every value that the sorted numbers, each used once, can make."""
    if len(numbers) == 1:
        return frozenset({Fraction(numbers[0])})
    found: set[Fraction] = set()
    for left, right in _splits(numbers):
        for a in values(left):
            for b in values(right):
                found |= {a + b, a - b, b - a, a * b}
                if b:
                    found.add(a / b)
                if a:
                    found.add(b / a)
    return frozenset(found)


@lru_cache(maxsize=4096)
def formulas(numbers: tuple[int, ...], goal: int) -> tuple[Formula, ...]:
    """Every formula of the sorted numbers that makes the goal, shortest first, with no bracket too many."""
    made = {formula for value, formula, _ in _parts(numbers) if value == goal}
    return tuple(sorted(made, key=lambda formula: (len(formula), formula)))


@lru_cache(maxsize=4096)
def _parts(numbers: tuple[int, ...]) -> tuple[_Part, ...]:
    if len(numbers) == 1:
        return ((Fraction(numbers[0]), (str(numbers[0]),), _NUMBER),)
    found: dict[Formula, _Part] = {}
    for left, right in _splits(numbers):
        for a in _parts(left):
            for b in _parts(right):
                for part in (*_joined(a, b), *_joined(b, a)):
                    found.setdefault(part[1], part)
    return tuple(found.values())


def _joined(a: _Part, b: _Part) -> Iterator[_Part]:
    """a with b behind it, by each operator."""
    yield a[0] + b[0], (*a[1], "+", *b[1]), _SUM
    yield a[0] - b[0], (*a[1], "-", *_bracketed(b, _SUM + 1)), _SUM
    yield a[0] * b[0], (*_bracketed(a, _PRODUCT), "*", *_bracketed(b, _PRODUCT)), _PRODUCT
    if b[0]:
        yield a[0] / b[0], (*_bracketed(a, _PRODUCT), "/", *_bracketed(b, _PRODUCT + 1)), _PRODUCT


def _bracketed(part: _Part, least: int) -> Formula:
    return part[1] if part[2] >= least else ("(", *part[1], ")")


def _splits(numbers: tuple[int, ...]) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The ways to part sorted numbers in two, each once."""
    places = range(len(numbers))
    found = set()
    for size in range(1, len(numbers) // 2 + 1):
        for chosen in combinations(places, size):
            left = tuple(numbers[place] for place in chosen)
            right = tuple(numbers[place] for place in places if place not in chosen)
            found.add((left, right))
    return found
