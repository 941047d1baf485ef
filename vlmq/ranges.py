"""Numbers that settings may have: one outside its range is named in a sentence, infinite and not-a-number included."""

from __future__ import annotations

import math

from vlmq.api import UserError


def at_least(low: float, **values: float | None) -> None:
    """Every value is `low` or more; None passes. Dotted names are given as keys of a mapping, `**{"a.b": 1}`.

    Raises:
        UserError: one is not.
    """
    for name, value in values.items():
        if value is not None and not low <= value < math.inf:
            raise UserError(f"{name} is {value}; give {low:g} or more.")


def above(low: float, **values: float | None) -> None:
    """Every value is more than `low`; None passes.

    Raises:
        UserError: one is not.
    """
    for name, value in values.items():
        if value is not None and not low < value < math.inf:
            raise UserError(f"{name} is {value}; it must be above {low:g}.")


def finite(**values: float | None) -> None:
    """Every value is a number, of either sign; None passes.

    Raises:
        UserError: one is not.
    """
    for name, value in values.items():
        if value is not None and not math.isfinite(value):
            raise UserError(f"{name} is {value}; give a finite number.")


def share(**values: float | None) -> None:
    """Every value lies between 0 and 1, both included; None passes.

    Raises:
        UserError: one does not.
    """
    for name, value in values.items():
        if value is not None and not 0.0 <= value <= 1.0:
            raise UserError(f"{name} is {value}; it must lie between 0 and 1.")
