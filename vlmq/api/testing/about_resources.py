"""Checks of how an environment lives with others: closing, leaking, vector environments, speed."""

from __future__ import annotations

from itertools import combinations
from statistics import median
from typing import Any

from vlmq.api.testing.deadline import FAILURES, time_limit
from vlmq.api.testing.fresh import Unanswered
from vlmq.api.testing.question import Fault, Skip, question, raised
from vlmq.api.testing.subject import Subject

MOST_KIB_A_CYCLE = 5.0
FEWEST_FOR_MEMORY = 20
"""Cycles below which memory says nothing: what is loaded once looks like growth."""

_PLAYED = ("can_be_made", "spaces_are_those_of_the_contract", "plays")


@question("can_be_made")
def close_can_be_repeated(subject: Subject) -> str:
    """close() works before the first reset, after play, and a second time."""
    for played in (False, True):
        when = "after play" if played else "before the first reset"
        env = subject.target.make()
        try:
            if played:
                with time_limit():
                    env.reset(seed=subject.seeds[0])
            for time in ("", " a second time"):
                try:
                    with time_limit():
                        env.close()
                except FAILURES as error:
                    raise Fault(
                        f"close() {when}{time} raises {raised(error)}",
                        "a close() that can always be called, and does nothing the second time",
                        "let go of what is held only where it is held, and forget it.",
                    ) from error
        finally:
            del env
    return ""


@question(*_PLAYED)
def no_process_outlives_close(subject: Subject) -> str:
    """Making and closing it again and again leaves no process."""
    return _no_growth(
        subject, "processes", "end every process that the environment started, and wait for it."
    )


@question(*_PLAYED, "no_process_outlives_close")
def no_thread_outlives_close(subject: Subject) -> str:
    """Making and closing it again and again leaves no thread."""
    return _no_growth(subject, "threads", "tell every thread to stop, and join it.")


@question(*_PLAYED, "no_process_outlives_close")
def no_file_stays_open(subject: Subject) -> str:
    """Making and closing it again and again leaves no file, pipe or socket open."""
    return _no_growth(subject, "files", "close every file, pipe and socket that the environment opened.")


@question(*_PLAYED, "no_process_outlives_close", "no_thread_outlives_close", "no_file_stays_open")
def memory_does_not_grow(subject: Subject) -> str:
    """Making and closing it again and again takes at most 5 KiB a cycle, over the last half."""
    cycles = _cycles(subject)
    if len(cycles) < FEWEST_FOR_MEMORY:
        raise Skip(f"{len(cycles)} cycles are too few to tell: it takes long to make, or few were asked for")
    # The median of the slopes between all pairs of points (Theil 1950): one late jump is no leak.
    kib = [cycle["memory_kib"] for cycle in cycles][len(cycles) // 2 :]
    slope = median((kib[j] - kib[i]) / (j - i) for i, j in combinations(range(len(kib)), 2))
    if slope > MOST_KIB_A_CYCLE:
        raise Fault(
            f"{slope:.1f} KiB a cycle over the last {len(kib)} of {len(cycles)} cycles",
            f"at most {MOST_KIB_A_CYCLE:g} KiB",
            "look for a list, a cache or a module-level registry that keeps every instance or its pictures.",
        )
    return f"{slope:.1f} KiB a cycle, {len(cycles)} cycles"


@question(*_PLAYED, "the_seed_decides")
def sync_vectors_agree(subject: Subject) -> str:
    """gymnasium's SyncVectorEnv plays the same episodes."""
    return _vector(subject, "sync")


@question(*_PLAYED, "the_seed_decides", "sync_vectors_agree", "infos_pickle")
def async_vectors_agree(subject: Subject) -> str:
    """gymnasium's AsyncVectorEnv, with spawned processes, plays the same episodes."""
    return _vector(subject, "async")


@question(*_PLAYED)
def throughput(subject: Subject) -> str:
    """How fast it plays; for the reader, it cannot fail."""
    turns = sum(len(record.actions) for record in subject.random_play)
    seconds = sum(record.seconds for record in subject.random_play)
    return f"{turns / max(seconds, 1e-9):,.0f} turns a second, resets included"


def _cycles(subject: Subject) -> list[dict[str, Any]]:
    try:
        cycles: list[dict[str, Any]] = subject.fresh.part("cycles")
    except Unanswered as error:
        raise Fault(
            str(error),
            "an environment that can be made and closed as often as anyone likes, in one process",
            "see the error: what is used up by an instance has to be given back by its close().",
        ) from error
    if not cycles:
        raise Skip("this system does not tell what a process holds")
    return cycles


def _no_growth(subject: Subject, what: str, mend: str) -> str:
    cycles = _cycles(subject)
    # the first cycles may load for good what the process keeps: a pool of threads, a file of fonts
    settled = min(2, len(cycles) - 1)
    growth = int(cycles[-1][what] - cycles[settled][what])
    if growth >= max(1, (len(cycles) - settled) // 2):
        raise Fault(
            f"{growth} more {what} after {len(cycles) - settled - 1} cycles of making and closing",
            f"as many {what} as before",
            f"in close(), {mend}",
        )
    return f"{len(cycles)} cycles"


def _vector(subject: Subject, kind: str) -> str:
    try:
        apart = subject.fresh.part(kind)
    except Unanswered as error:
        apart = str(error)
    if apart is not None:
        raise Fault(
            apart,
            "the episodes of a single environment",
            "share nothing between instances: no class attribute, no module-level state.",
        )
    return ""


QUESTIONS = (
    close_can_be_repeated,
    no_process_outlives_close,
    no_thread_outlives_close,
    no_file_stays_open,
    memory_does_not_grow,
    sync_vectors_agree,
    async_vectors_agree,
    throughput,
)
