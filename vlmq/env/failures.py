"""Why environments broke: reasons that differ in numbers alone are one, and where nothing can be played it is said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vlmq.api import PluginError

Lost = tuple[int, str]
"""Index of an episode that was given up, and the reason."""

_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+")


def kind(reason: str) -> str:
    """The same for reasons that differ in numbers alone: ports, process ids, addresses in memory."""
    return _NUMBER.sub("#", reason)


def grouped(lost: Iterable[Lost]) -> list[tuple[str, list[int]]]:
    """Each kind of reason, as it was first given, with the episodes that it cost; the commonest first."""
    groups: dict[str, tuple[str, list[int]]] = {}
    for index, reason in lost:
        groups.setdefault(kind(reason), (reason, []))[1].append(index)
    return sorted(groups.values(), key=lambda group: -len(group[1]))


def unplayable(env_id: str, lost: Sequence[Lost], done: int = 0) -> PluginError:
    """What to raise where an environment breaks in all episodes, or in nearly all.

    Args:
        env_id: as the user knows it.
        lost: episodes that were given up, at least one.
        done: those that were played to their end.
    """
    reason, indices = grouped(lost)[0]
    which = f"only {done} of {done + len(lost)} episodes" if done else "no episode"
    often = "" if len(indices) == len(lost) else f" ({len(indices)} of {len(lost)} times)"
    return PluginError(
        f"{which} of '{env_id}' could be played to the end: {reason.rstrip('.')}{often};"
        f" `vlmq check {env_id}` tells more."
    )
