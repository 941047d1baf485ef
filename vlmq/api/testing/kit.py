"""`check_env`, which asks an environment every check."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from vlmq.api.testing.apart import Job, ask_apart
from vlmq.api.testing.checks import CHECKS, QUESTIONS, ask
from vlmq.api.testing.report import Check, Report
from vlmq.api.testing.subject import several
from vlmq.api.testing.target import Checkable, find_target

__all__ = ["CHECKS", "CYCLES", "QUESTIONS", "SEEDS", "check_env"]

SEEDS = range(20)
CYCLES = 60


def check_env(
    env: Checkable,
    /,
    *,
    seeds: Sequence[int] = SEEDS,
    cycles: int = CYCLES,
    only: Collection[str] | None = None,
    tell: Callable[[Check], None] | None = None,
    here: bool = False,
    **kwargs: Any,
) -> Report:
    """Ask an environment everything that the contract demands. What is wrong with it stands in the report.

    A process of its own plays the environment, so that one which ends or blocks that process is reported, too. What
    no other process can be told of, a class from `__main__` for instance, is played in this one.

    Args:
        env: an id such as "foo/Bar-v0", a gymnasium EnvSpec, or a class or function that makes one. What needs
            a fresh process is skipped for a class that such a process cannot import.
        seeds: of the episodes, at least two; random play and the expert meet each of them.
        cycles: how often it is made and closed to see what leaks.
        only: names from `CHECKS`; None means all. Those that they need are asked as well.
        tell: called with each outcome as soon as it is there.
        here: play it in this process, for a debugger.
        kwargs: the environment's own arguments.

    Raises:
        PluginError: there is no such environment.
        ValueError: a name in `only` is unknown, or there are fewer than two seeds.
    """
    unknown = sorted(set(only or ()) - set(QUESTIONS))
    if unknown:
        raise ValueError(f"no check is called {', '.join(unknown)}; vlmq.api.testing.CHECKS lists them")
    job = Job(
        find_target(env, kwargs),
        several(seeds),
        cycles,
        tuple(name for name in QUESTIONS if only is None or name in only),
    )
    checks: list[Check] = []

    def note(check: Check) -> None:
        checks.append(check)
        if tell is not None:
            tell(check)

    if here or not ask_apart(job, note):
        ask(job.target, job.seeds, job.cycles, job.names, note)
    return Report(job.target.env_id, tuple(checks))
