"""Checks of an environment's arguments: each refusal is one sentence that names the value and what would do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vlmq.api.errors import PluginError


def check_choice(owner: str, name: str, value: object, known: Sequence[str]) -> None:
    """Refuse a value that is none of those known.

    Args:
        owner: who speaks: the environment's name.
        name: of the argument.
        value: given for it.
        known: what may be given.

    Raises:
        PluginError: it is none of them.
    """
    if value not in known:
        raise PluginError(f"{owner}: {name}={value!r} is unknown; choose one of {', '.join(known)}.")


def check_whole(owner: str, name: str, value: object, low: int, high: int) -> None:
    """Refuse what is no whole number from `low` to `high`, both included; see `check_choice`.

    Raises:
        PluginError: it is none; nor is true or false.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise PluginError(f"{owner}: {name}={value!r} will not do; give a whole number from {low} to {high}.")


def check_seconds(owner: str, name: str, value: object) -> None:
    """Refuse what is no time to wait: a finite number above 0; see `check_choice`.

    Raises:
        PluginError: it is none.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:  # type: ignore[operator]  # a number, as was just asked
        raise PluginError(f"{owner}: {name}={value!r} will not do; give a number of seconds above 0.")


def check_flags(owner: str, **values: object) -> None:
    """Refuse what is neither true nor false, such as the word "no"; the arguments go by their names.

    Raises:
        PluginError: one of them is neither.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            raise PluginError(f"{owner}: {name}={value!r} will not do; give true or false.")
