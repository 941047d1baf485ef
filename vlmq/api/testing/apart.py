"""The checks in a process of their own, so that the report outlives it: both ends of it.

An environment may end the process that plays it, or block it where no alarm reaches. The process tells of each
outcome, and now and then that it is at work; the caller reports what it does not live to tell.
"""

from __future__ import annotations

import os
import pickle
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from vlmq.api.testing import deadline
from vlmq.api.testing.checks import ask
from vlmq.api.testing.deadline import FAILURES
from vlmq.api.testing.launch import Launched, job_of, tell
from vlmq.api.testing.leftovers import MARK, end_marked
from vlmq.api.testing.report import Check
from vlmq.api.testing.target import Target

PULSE_S = 1.0
"""How often the process tells that it is at work."""


@dataclass(frozen=True)
class Job:
    """What is to be asked."""

    target: Target
    seeds: tuple[int, ...]
    cycles: int
    names: tuple[str, ...]


def ask_apart(job: Job, told: Callable[[Check], None]) -> bool:
    """Ask the checks in a process of their own; false, with nothing asked, where that cannot be told of the job."""
    try:
        data = pickle.dumps(job)
    except FAILURES:
        return False
    mark = f"{os.environ.get(MARK, '')}{secrets.token_hex(8)}"
    process = Launched(__name__, data, {MARK: mark}, aside=False)
    try:
        return _await(process, list(job.names), told)
    finally:
        process.end()
        end_marked(mark)


def _await(process: Launched, waiting: list[str], told: Callable[[Check], None]) -> bool:
    started = time.monotonic()
    until = started + deadline.MAKING_LIMIT_S  # for what it imports
    ended = False
    while not ended:
        time.sleep(0.02)
        # asked before the news are read, so that none is missed
        ended = process.exit_code is not None
        news = process.news()
        process.show()
        for found in news:
            if "unreadable" in found:
                return False
            if "check" in found:
                waiting.remove(found["check"]["name"])
                told(Check(**found["check"]))
                started = time.monotonic()
            until = time.monotonic() + found["silence"]
        if time.monotonic() > until:
            break
    if waiting:
        seconds = time.monotonic() - started
        told(_ended(waiting[0], process.exit_code, seconds) if ended else _blocked(waiting[0], seconds))
    for name in waiting[1:]:
        told(Check(name, "skipped", f"asked once '{waiting[0].replace('_', ' ')}' passes"))
    return True


def _ended(name: str, code: int | None, seconds: float) -> Check:
    by = f"with exit code {code}"
    if code is not None and code < 0:
        by = f"by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"by signal {-code}"
    return Check(
        name,
        "failed",
        f"the process that plays it was ended {by}",
        "an environment that leaves the process in which it runs alone",
        "look for os._exit and os.kill, or for a crash in a library; what ends a process belongs in another one.",
        seconds,
    )


def _blocked(name: str, seconds: float) -> Check:
    return Check(
        name,
        "failed",
        "a call does not come back, and cannot be interrupted",
        "an answer, or an exception",
        "give whatever it waits for a time limit, and catch no BaseException.",
        seconds,
    )


def main(folder: str) -> None:
    """The process's end."""
    caller, told_at, silence = os.getppid(), -PULSE_S, 0.0

    def pulse(seconds: float) -> None:
        nonlocal told_at, silence
        now = time.monotonic()
        # an interrupted call is interrupted again: it may come back late
        expected = seconds + 10 * deadline.AGAIN_S + PULSE_S
        if now - told_at < PULSE_S and expected == silence:
            return
        told_at, silence = now, expected
        if os.getppid() != caller:
            raise KeyboardInterrupt("nobody waits for the answer")
        tell(folder, {"silence": silence})

    def told(check: Check) -> None:
        tell(folder, {"check": asdict(check), "silence": silence})

    deadline.watchers.append(pulse)
    pulse(deadline.CALL_LIMIT_S)
    try:
        job: Job = pickle.loads(job_of(folder))
    except FAILURES:
        tell(folder, {"unreadable": True})
        return
    ask(job.target, job.seeds, job.cycles, job.names, told)
