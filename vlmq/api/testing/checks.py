"""The list of checks, and how they are asked one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from vlmq.api.testing import (
    about_actions,
    about_declaration,
    about_episodes,
    about_outcome,
    about_pictures,
    about_resources,
)
from vlmq.api.testing.question import Skip
from vlmq.api.testing.report import Check
from vlmq.api.testing.subject import Subject
from vlmq.api.testing.target import Target

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


def ask(
    target: Target, seeds: Sequence[int], cycles: int, names: Sequence[str], tell: Callable[[Check], None]
) -> None:
    """Ask the checks of these names in this process; `tell` is called with each outcome as soon as it is there."""
    with Subject(target, seeds, cycles, QUESTIONS) as subject:
        if len(names) == len(QUESTIONS) and subject.answer("can_be_made").status == "passed":
            with suppress(Skip):
                _ = subject.fresh  # works beside the checks that follow
        for name in names:
            tell(subject.answer(name))
