"""The list of checks, and `check_env`, which asks them all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

from vlmq.api.testing import (
    about_actions,
    about_declaration,
    about_episodes,
    about_outcome,
    about_pictures,
    about_resources,
)
from vlmq.api.testing.question import Skip
from vlmq.api.testing.report import Check, Report
from vlmq.api.testing.subject import Subject
from vlmq.api.testing.target import Checkable, find_target

QUESTIONS = {
    question.name: question
    for question in (
        *about_declaration.FIRST,
        *about_episodes.QUESTIONS,
        *about_pictures.QUESTIONS,
        *about_actions.QUESTIONS,
        *about_outcome.QUESTIONS,
        *about_resources.QUESTIONS,
        *about_declaration.LAST,
    )
}

CHECKS: dict[str, str] = {name: question.claim for name, question in QUESTIONS.items()}
"""Every check by its name, with the claim that it makes, in the order in which they are asked."""

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
    **kwargs: Any,
) -> Report:
    """Ask an environment everything that the contract demands. What is wrong with it stands in the report.

    Args:
        env: an id such as "foo/Bar-v0", a gymnasium EnvSpec, or a class or function that makes one. What needs
            a fresh process is skipped for a class that such a process cannot import.
        seeds: of the episodes, at least two; random play and the expert meet each of them.
        cycles: how often it is made and closed to see what leaks.
        only: names from `CHECKS`; None means all. Those that they need are asked as well.
        tell: called with each outcome as soon as it is there.
        kwargs: the environment's own arguments.

    Raises:
        PluginError: there is no such environment.
        ValueError: a name in `only` is unknown, or there are fewer than two seeds.
    """
    unknown = sorted(set(only or ()) - set(QUESTIONS))
    if unknown:
        raise ValueError(f"no check is called {', '.join(unknown)}; vlmq.api.testing.CHECKS lists them")
    target = find_target(env, kwargs)
    with Subject(target, seeds, cycles, QUESTIONS) as subject:
        if only is None and subject.answer("can_be_made").status == "passed":
            with suppress(Skip):
                _ = subject.fresh  # works beside the checks that follow
        checks = []
        for name in QUESTIONS:
            if only is None or name in only:
                checks.append(subject.answer(name))
                if tell is not None:
                    tell(checks[-1])
    return Report(target.env_id, tuple(checks))
