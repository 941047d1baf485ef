"""What only a fresh process can tell: both ends of it.

A new interpreter with another hash seed imports the spec module, plays the same episodes again, plays them in
vector environments, and then makes and closes the environment many times.
"""

from __future__ import annotations

import gc
import os
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vlmq.api.imports import watched_import
from vlmq.api.testing import vectors
from vlmq.api.testing.deadline import FAILURES, expect_silence, time_limit
from vlmq.api.testing.launch import Launched, job_of, tell
from vlmq.api.testing.leftovers import MARK, holdings, marked
from vlmq.api.testing.play import Player, Record, generator, random_legal
from vlmq.api.testing.question import Skip, raised
from vlmq.api.testing.target import Target

TIMEOUT_S = 300.0
"""How long the whole process may take before it is killed."""

CYCLES_S = 15.0
"""How long the cycles of making and closing may take, beyond the first `FEWEST_CYCLES`."""

FEWEST_CYCLES = 6
CLOSING_S = 0.5
"""How long a process that was told to end may take, after close has returned."""

REPLAY_TURNS = 50
"""Turns of each episode that is compared; longer ones tell nothing new."""

_BY_NAME = "check it by its id, or give the entry point as 'module:Class'"


@dataclass(frozen=True)
class Job:
    """What the process is to do."""

    target: Target
    seeds: tuple[int, ...]
    cycles: int


class Unanswered(Exception):
    """A part has no findings; its text says why."""


class FreshProcess:
    """The caller's end: starts the process at once, and waits for it when a part is asked for.

    Raises:
        Skip: what is to be checked cannot be named to another process.
    """

    def __init__(self, target: Target, seeds: Sequence[int], cycles: int, mark: str) -> None:
        try:
            # the module's name apart: reading the target may import it, and that is to be watched
            job = pickle.dumps((target.module, pickle.dumps(Job(target, tuple(seeds), cycles))))
        except FAILURES as error:
            raise Skip(f"a fresh process cannot be told of it: {raised(error)}; {_BY_NAME}") from error
        self._bare = target.bare
        hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
        self._process = Launched(__name__, job, {"PYTHONHASHSEED": hash_seed, MARK: mark}, aside=True)
        self._found: dict[str, dict[str, Any]] = {}
        self._deadline = time.monotonic() + TIMEOUT_S

    def part(self, name: str) -> Any:
        """The findings of one part, awaited.

        Raises:
            Unanswered: the process died or hung before, or the part itself raised.
            Skip: it was given a class that it cannot import.
        """
        expect_silence(TIMEOUT_S)
        while True:
            ended = self._process.exit_code is not None
            self._found.update({found["part"]: found for found in self._process.news()})
            if name in self._found:
                if "error" in self._found[name]:
                    raise Unanswered(self._found[name]["error"])
                return self._found[name]["value"]
            if "error" in self._found.get("job", {}):
                said = f"a fresh process cannot import it: {self._found['job']['error']}"
                raise Skip(f"{said}; {_BY_NAME}") if self._bare else Unanswered(said)
            if time.monotonic() > self._deadline:
                self._process.stop()
                raise Unanswered(f"a fresh process did not get so far within {TIMEOUT_S:g} s")
            if ended:
                raise Unanswered(f"a fresh process ended before it could tell: {self._process.last_words()}")
            time.sleep(0.02)

    def end(self) -> None:
        """End the process and its group. Idempotent."""
        self._process.end()


def main(folder: str) -> None:
    """The process's end."""

    def told(part: str, ask: Callable[[], Any]) -> None:
        try:
            found = {"part": part, "value": ask()}
        except FAILURES as error:
            found = {"part": part, "error": raised(error)}
        tell(folder, found)

    jobs: list[Job] = []
    module, job = pickle.loads(job_of(folder))
    told("import", lambda: _import(module))
    told("job", lambda: jobs.append(pickle.loads(job)))
    if not jobs:
        return
    target, seeds, cycles = jobs[0].target, jobs[0].seeds, jobs[0].cycles
    records: list[Record] = []

    def play() -> list[list[list[str]]]:
        records.extend(_episodes(target, seeds))
        return [record.fingerprints() for record in records]

    told("episodes", play)
    told("sync", lambda: vectors.compare(target, records[:2], "sync"))
    told("async", lambda: vectors.compare(target, records[:2], "async"))
    told("cycles", lambda: _cycles(target, seeds[0], cycles))


def episode(player: Player, seed: int) -> Record:
    """The episode of a seed as both processes play it."""
    return player.play(seed, random_legal, REPLAY_TURNS, salt=2)


def _import(module: str | None) -> dict[str, Any] | None:
    if module is None:
        return None
    trace = watched_import(module)[1]
    return {
        "loaded": sorted(trace.loaded),
        "heavy": trace.heavy,
        "network": trace.network,
        "s": trace.seconds,
    }


def _episodes(target: Target, seeds: Sequence[int]) -> list[Record]:
    env = target.make()
    try:
        return [episode(Player(env), seed) for seed in seeds]
    finally:
        with time_limit():
            env.close()


def _cycles(target: Target, seed: int, cycles: int) -> list[dict[str, float]]:
    """What the process holds after each cycle of make, reset, one turn, close."""
    mark, start = os.environ[MARK], time.monotonic()
    held: list[dict[str, float]] = []
    others = len(marked(mark))
    for done in range(cycles):
        env = target.make()
        player = Player(env)
        record = Record(seed)
        if player.reset(record):
            player.turn(record, random_legal(env, record.moments[-1], generator(seed)))
        with time_limit():
            env.close()
        del env, player, record
        gc.collect()
        deadline = time.monotonic() + CLOSING_S
        while len(marked(mark)) > others and time.monotonic() < deadline:
            time.sleep(0.01)
        now = holdings(mark)
        if now is None:
            return []
        held.append(asdict(now))
        if done + 1 >= FEWEST_CYCLES and time.monotonic() - start > CYCLES_S:
            break
    return held
