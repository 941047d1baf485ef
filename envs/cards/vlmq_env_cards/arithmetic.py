"""Exact arithmetic on a row of symbols: no floats, and no interpreter behind it.

A symbol is one whole number or one operator, as the player chose it. Symbols never merge, so "1" followed by
"2" is a mistake and not 12, and "*" followed by "*" is a mistake and not a power.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from fractions import Fraction

OPERATORS: dict[str, tuple[int, Callable[[Fraction, Fraction], Fraction]]] = {
    "+": (1, operator.add),
    "*": (2, operator.mul),
}
"""Precedence and meaning of each operator; equal precedence binds from the left."""


def is_number(symbol: str) -> bool:
    """Whether the symbol is a whole number in plain digits, without sign, blank or leading zero."""
    return symbol.isascii() and symbol.isdigit() and (symbol == "0" or symbol[0] != "0")


def evaluate(symbols: Sequence[str]) -> Fraction | None:
    """The value of numbers and operators in strict alternation; None where that is not what they are."""
    if len(symbols) % 2 == 0:
        return None
    values: list[Fraction] = []
    waiting: list[str] = []

    def apply_last() -> None:
        right, left = values.pop(), values.pop()
        values.append(OPERATORS[waiting.pop()][1](left, right))

    for place, symbol in enumerate(symbols):
        if place % 2 == 0:
            if not is_number(symbol):
                return None
            values.append(Fraction(symbol))
        else:
            if symbol not in OPERATORS:
                return None
            while waiting and OPERATORS[waiting[-1]][0] >= OPERATORS[symbol][0]:
                apply_last()
            waiting.append(symbol)
    while waiting:
        apply_last()
    return values[0]


def uses_exactly(symbols: Sequence[str], numbers: Sequence[int]) -> bool:
    """Whether the numbers among the symbols are the given ones, each as often as it was given."""
    return sorted(int(symbol) for symbol in symbols if is_number(symbol)) == sorted(numbers)
