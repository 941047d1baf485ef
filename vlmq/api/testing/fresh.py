"""What only a fresh process can tell: both ends of it.

A new interpreter with another hash seed imports the spec module, plays the same episodes again, plays them in
vector environments, and then makes and closes the environment many times. It writes each part's findings as a
line of JSON, so that what came before a crash is not lost. It is no child of `multiprocessing`, for that would
import the caller's `__main__` again.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlmq.api.imports import watched_import
from vlmq.api.testing import vectors
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
_LAUNCH = "import sys; sys.path[:] = {path!r}; from vlmq.api.testing.fresh import main; main({folder!r})"


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
            job = pickle.dumps(Job(target, tuple(seeds), cycles))
        except Exception as error:
            raise Skip(f"a fresh process cannot be told of it: {raised(error)}; {_BY_NAME}") from error
        self._bare = target.bare
        self._folder = tempfile.TemporaryDirectory(prefix="vlmq-check-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        (folder / "job").write_bytes(job)
        hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
        with (folder / "errors").open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCH.format(path=sys.path, folder=str(folder))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, "PYTHONHASHSEED": hash_seed, MARK: mark},
                start_new_session=True,  # Ctrl-C does not reach it; its group is ended as one
            )
        self._deadline = time.monotonic() + TIMEOUT_S

    def part(self, name: str) -> Any:
        """The findings of one part, awaited.

        Raises:
            Unanswered: the process died or hung before, or the part itself raised.
            Skip: it was given a class that it cannot import.
        """
        path = Path(self._folder.name) / "findings"
        while True:
            ended = self._process.poll() is not None
            for line in path.read_text().splitlines() if path.exists() else ():
                found = json.loads(line)
                if found["part"] == "job" and "error" in found:
                    said = f"a fresh process cannot import it: {found['error']}"
                    raise Skip(f"{said}; {_BY_NAME}") if self._bare else Unanswered(said)
                if found["part"] == name:
                    if "error" in found:
                        raise Unanswered(found["error"])
                    return found["value"]
            if ended:
                raise Unanswered(f"a fresh process ended before it could tell: {self._last_words()}")
            if time.monotonic() > self._deadline:
                self.end()
                raise Unanswered(f"a fresh process did not get so far within {TIMEOUT_S:g} s")
            time.sleep(0.02)

    def end(self) -> None:
        """End the process and its group. Idempotent."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._folder.cleanup()

    def _last_words(self) -> str:
        said = (Path(self._folder.name) / "errors").read_text(errors="replace").strip().splitlines()
        return said[-1][:300] if said else f"exit code {self._process.returncode}"


def main(folder: str) -> None:
    """The process's end."""
    job: Job | None = None

    def told(part: str, ask: Callable[[], Any]) -> None:
        try:
            found = {"part": part, "value": ask()}
        except Exception as error:
            found = {"part": part, "error": raised(error)}
        with (Path(folder) / "findings").open("a") as file:
            # in one write, so that no half line is ever read
            file.write(json.dumps(found) + "\n")

    def read() -> None:
        nonlocal job
        job = pickle.loads((Path(folder) / "job").read_bytes())

    told("job", read)
    if job is None:
        return
    target, seeds, cycles = job.target, job.seeds, job.cycles
    records: list[Record] = []

    def play() -> list[list[list[str]]]:
        records.extend(_episodes(target, seeds))
        return [record.fingerprints() for record in records]

    told("import", lambda: _import(target.module))
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
