"""Checks an installed environment against the contract, by its id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vlmq.api.testing import CYCLES, SEEDS, Check, Report, check_env
from vlmq.env.registry import check_arguments, find_spec


def check(
    env_id: str,
    /,
    *,
    seeds: Sequence[int] = SEEDS,
    cycles: int = CYCLES,
    tell: Callable[[Check], None] | None = None,
    **kwargs: Any,
) -> Report:
    """Run every check of the conformance kit.

    Args:
        env_id: an installed id.
        seeds: of the episodes, at least two.
        cycles: how often it is made and closed to see what leaks.
        tell: called with each outcome as soon as it is there: for a line of progress.
        kwargs: the environment's own arguments.

    Raises:
        PluginError: the id is unknown (the nearest names are given), its plugin is quarantined, or it has no
            argument of such a name. Everything else that is wrong stands in the report.
    """
    spec = find_spec(env_id)
    if kwargs:
        check_arguments(spec, kwargs)
    return check_env(spec, seeds=seeds, cycles=cycles, tell=tell, **kwargs)
