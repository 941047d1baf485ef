"""The environment under test, with what is recorded of its play: each record is made once, for many checks."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import gymnasium

from vlmq.api.contract import Shape, check_spaces
from vlmq.api.env import SupportsExpert, expert_action
from vlmq.api.testing import play
from vlmq.api.testing.deadline import FAILURES, close_quietly, time_limit
from vlmq.api.testing.fresh import FreshProcess
from vlmq.api.testing.fuzz import Fuzzed, fuzz
from vlmq.api.testing.leftovers import MARK, end_marked
from vlmq.api.testing.play import DEFAULT_TURN_LIMIT, Player, Record
from vlmq.api.testing.question import Fault, Question, Skip, raised
from vlmq.api.testing.report import Check
from vlmq.api.testing.target import Target


class Subject:
    """Answers questions about one environment. Close it: that ends every process that the checks started.

    Args:
        target: the environment.
        seeds: of the episodes; the expert and random play meet all of them.
        cycles: how often it is made and closed to see what leaks.
        questions: what can be asked, by name.
    """

    def __init__(
        self, target: Target, seeds: Sequence[int], cycles: int, questions: Mapping[str, Question]
    ) -> None:
        self.target = target
        self.seeds = several(seeds)
        self.cycles = cycles
        self._questions = questions
        self._answers: dict[str, Check] = {}
        self._further = 0
        self._close_hangs = False
        self._mark_before = os.environ.get(MARK)
        # every process that starts from here on inherits the mark, and so can be found and ended; a check that
        # was itself started by one finds it by the same beginning
        self._mark = os.environ[MARK] = f"{self._mark_before or ''}{secrets.token_hex(8)}"

    # -- asking ------------------------------------------------------------------------------------------

    def answer(self, name: str) -> Check:
        """The outcome of one check, and of those that it needs."""
        if name not in self._answers:
            wanted = self._questions[name]
            lacking = [need for need in wanted.needs if self.answer(need).status != "passed"]
            start = time.perf_counter()
            if lacking:
                reason = f"asked once '{lacking[0].replace('_', ' ')}' passes"
                self._answers[name] = Check(name, "skipped", reason)
            else:
                answer = self._ask(wanted)
                self._answers[name] = replace(answer, seconds=time.perf_counter() - start)
        return self._answers[name]

    def _ask(self, wanted: Question) -> Check:
        try:
            return Check(wanted.name, "passed", wanted.ask(self))
        except Skip as reason:
            return Check(wanted.name, "skipped", str(reason))
        except Fault as fault:
            return Check(wanted.name, "failed", fault.seen, fault.expected, fault.mend)
        except FAILURES as error:  # no fault of an environment may end the report about it
            return Check(wanted.name, "failed", raised(error), wanted.claim, "see the code that raised it.")

    # -- the environment ---------------------------------------------------------------------------------

    @contextmanager
    def made(self, **more: Any) -> Iterator[Player]:
        """A new instance, closed afterwards; `more` overrides its arguments."""
        env = self.target.make(**more)
        try:
            yield Player(env)
        finally:
            self._close(env)

    def _close(self, env: gymnasium.Env[Any, Any]) -> None:
        """Close it, unless that was seen to hang: each further one would take as long."""
        self._close_hangs = self._close_hangs or not close_quietly(env)

    @cached_property
    def player(self) -> Player:
        """The instance that most checks share."""
        return Player(self.target.make())

    @property
    def env(self) -> gymnasium.Env[Any, Any]:
        """The shared instance."""
        return self.player.env

    @cached_property
    def shape(self) -> Shape:
        """What its spaces promise."""
        return check_spaces(self.target.env_id, self.player.env)

    @cached_property
    def declared(self) -> Mapping[str, Any]:
        """Its `metadata["vlmq"]`: the instance's, so that one class may declare for several ids."""
        metadata = getattr(self.player.env.unwrapped, "metadata", None)
        ours = metadata.get("vlmq") if isinstance(metadata, Mapping) else None
        return ours if isinstance(ours, Mapping) else {}

    @property
    def turn_limit(self) -> int:
        """Turns in which every episode must end."""
        declared = self.declared.get("turn_limit") or self.target.spec.max_episode_steps
        return int(declared) if isinstance(declared, int) else DEFAULT_TURN_LIMIT

    @property
    def open_actions(self) -> bool:
        """Whether it understands texts beyond those it lists as legal."""
        return self.declared.get("open_actions") is True

    # -- what is recorded --------------------------------------------------------------------------------

    @cached_property
    def random_play(self) -> list[Record]:
        """One episode of random legal play for each seed; none after the first that does not end."""
        records: list[Record] = []
        for seed in self.seeds:
            records.append(self.player.play(seed, play.random_legal, self.turn_limit))
            if not records[-1].ended:
                break
        return records

    @cached_property
    def mixed_play(self) -> list[Record]:
        """Legal play with nonsense in between, for some seeds; none after the first that raises."""
        return self._played(self.seeds[:5], play.mostly_legal, salt=1)

    @cached_property
    def expert_play(self) -> list[Record]:
        """The expert's episodes, one for each seed; none after the first that raises, or where there is no expert."""
        env, first = self.player.env, Record(self.seeds[0])
        if not isinstance(env.unwrapped, SupportsExpert) or not self.player.reset(first):
            return []
        with suppress(*FAILURES), time_limit():
            if expert_action(env) is None:
                return []
        return self._played(self.seeds, play.expert)

    def further_play(self, count: int) -> tuple[list[Record], list[Record]]:
        """The expert's episodes and random legal play, for as many seeds that nobody has met."""
        first = max(self.seeds) + 1 + self._further
        self._further += count
        seeds = range(first, first + count)
        return self._played(seeds, play.expert), self._played(seeds, play.random_legal)

    def _played(self, seeds: Sequence[int], policy: play.Policy, salt: int = 0) -> list[Record]:
        records: list[Record] = []
        for seed in seeds:
            records.append(self.player.play(seed, policy, self.turn_limit, salt=salt))
            if records[-1].error is not None:
                break
        return records

    @property
    def records(self) -> list[Record]:
        """All of them."""
        return [*self.random_play, *self.mixed_play, *self.expert_play]

    @cached_property
    def fuzzed(self) -> Fuzzed:
        """What became of texts that are no actions."""
        return fuzz(self.player, self.seeds[:2])

    @cached_property
    def fresh(self) -> FreshProcess:
        """What a fresh process found."""
        return FreshProcess(self.target, self.seeds[:3], self.cycles, f"{self._mark}-fresh")

    # -- the end -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the environment, and end what it or the checks left running."""
        if "player" in self.__dict__:
            self._close(self.player.env)
        if "fresh" in self.__dict__:
            self.fresh.end()
        end_marked(self._mark)
        if self._mark_before is None:
            os.environ.pop(MARK, None)
        else:
            os.environ[MARK] = self._mark_before

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def several(seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds as they are kept.

    Raises:
        ValueError: there are fewer than two.
    """
    if len(seeds) < 2:
        raise ValueError(f"seeds has {len(seeds)} of them; give at least two different ones")
    return tuple(int(seed) for seed in seeds)
