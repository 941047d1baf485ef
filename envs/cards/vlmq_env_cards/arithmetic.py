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
    "-": (1, operator.sub),
    "*": (2, operator.mul),
    "/": (2, operator.truediv),
}
"""Precedence and meaning of each operator; equal precedence binds from the left."""

OPEN, CLOSE = "(", ")"


def is_number(symbol: str) -> bool:
    """Whether the symbol is a whole number in plain digits, without sign, blank or leading zero."""
    return symbol.isascii() and symbol.isdigit() and (symbol == "0" or symbol[0] != "0")


def evaluate(symbols: Sequence[str]) -> Fraction | None:
    """The value of a formula; None where it is none, or divides by zero.

    Numbers and operators alternate strictly; a bracket opens where a number may stand, and closes after one.
    """
    values: list[Fraction] = []
    waiting: list[str] = []

    def apply_last() -> None:
        right, left = values.pop(), values.pop()
        values.append(OPERATORS[waiting.pop()][1](left, right))

    wants_number = True
    try:
        for symbol in symbols:
            if wants_number and symbol == OPEN:
                waiting.append(OPEN)
            elif wants_number and is_number(symbol):
                values.append(Fraction(symbol))
                wants_number = False
            elif not wants_number and symbol == CLOSE and OPEN in waiting:
                while waiting[-1] != OPEN:
                    apply_last()
                waiting.pop()
            elif not wants_number and symbol in OPERATORS:
                while waiting and waiting[-1] != OPEN and OPERATORS[waiting[-1]][0] >= OPERATORS[symbol][0]:
                    apply_last()
                waiting.append(symbol)
                wants_number = True
            else:
                return None
        if wants_number or OPEN in waiting:
            return None
        while waiting:
            apply_last()
    except ZeroDivisionError:
        return None
    return values[0]


def uses_exactly(symbols: Sequence[str], numbers: Sequence[int]) -> bool:
    """Whether the numbers among the symbols are the given ones, each as often as it was given."""
    return sorted(int(symbol) for symbol in symbols if is_number(symbol)) == sorted(numbers)
