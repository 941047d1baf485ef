"""The checks as a pytest class: three lines in a plugin's tests, one test for each check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from unittest import SkipTest

from vlmq.api.testing.kit import CYCLES, QUESTIONS, SEEDS
from vlmq.api.testing.subject import Subject
from vlmq.api.testing.target import Checkable, find_target


class EnvContract:
    """Inherit it, and name the environment:

        class TestBar(EnvContract):
            env_id = "foo/Bar-v0"

    Attributes:
        env_id: an id, or whatever else `check_env` takes.
        env_kwargs: arguments of the environment.
        seeds: of the episodes.
        cycles: how often it is made and closed to see what leaks.
    """

    env_id: ClassVar[Checkable]
    env_kwargs: ClassVar[Mapping[str, Any]] = {}
    seeds: ClassVar[Sequence[int]] = SEEDS
    cycles: ClassVar[int] = CYCLES

    _subject: ClassVar[Subject | None] = None

    @classmethod
    def teardown_class(cls) -> None:
        """Close what the checks share."""
        if cls._subject is not None:
            cls._subject.close()
            cls._subject = None

    @classmethod
    def ask(cls, name: str) -> None:
        """Ask one check.

        Raises:
            SkipTest: it cannot be asked, or waits for another to pass; the text is the reason.
            AssertionError: it fails; the message is what was seen, what was expected, and the mend.
        """
        if cls._subject is None:
            # looked up in vars: a function as env_id would otherwise become a method
            env = next(vars(base)["env_id"] for base in cls.__mro__ if "env_id" in vars(base))
            cls._subject = Subject(find_target(env, cls.env_kwargs), cls.seeds, cls.cycles, QUESTIONS)
        check = cls._subject.answer(name)
        if check.status == "skipped":
            raise SkipTest(check.seen)  # pytest takes it for a skip, and the kit need not import pytest
        assert check.status == "passed", f"{CLAIM[name]}\n{check.explanation()}"


CLAIM = {name: question.claim for name, question in QUESTIONS.items()}


def _test_of(name: str) -> Any:
    def test(self: EnvContract) -> None:
        self.ask(name)

    test.__name__, test.__doc__ = f"test_{name}", CLAIM[name]
    return test


for _name in QUESTIONS:
    setattr(EnvContract, f"test_{_name}", _test_of(_name))
