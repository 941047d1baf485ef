"""Interrupts Python code that does not come back, so that an environment that hangs ends a check and not the report."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import gymnasium

CALL_LIMIT_S = 60.0
"""A reset, a turn, or any other call that takes longer counts as one that never returns."""

MAKING_LIMIT_S = 300.0
"""The same for making an environment: it may have to start what it plays in."""

AGAIN_S = 1.0
"""How long code that was interrupted may go on before it is interrupted again."""

watchers: list[Callable[[float], None]] = []
"""Told how many seconds may pass before this process is heard of again."""


class Hung(BaseException):
    """The time is over; its text says how long it was. No `Exception`, which much code catches and goes on."""


FAILURES = (Exception, SystemExit, Hung)
"""What may come out of an environment's code and must not end the report: all but the user's Ctrl-C."""


@contextmanager
def time_limit(seconds: float | None = None) -> Iterator[None]:
    """Raise `Hung` in the body after so many seconds (`CALL_LIMIT_S`), and again while that does not end it.

    By an alarm signal, which only the main thread of a Unix process gets: elsewhere there is no limit. It reaches
    Python code, and regular expressions; a call that blocks inside a C library is not interrupted.
    """
    seconds = CALL_LIMIT_S if seconds is None else seconds
    expect_silence(seconds)
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return
    over = False

    def stop(number: int, frame: FrameType | None) -> None:
        if not over:
            raise Hung(f"no answer within {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, stop)
    # somebody else's alarm, a test time-out for instance, is put back as it was
    delay, interval = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        over = True
        signal.setitimer(signal.ITIMER_REAL, delay, interval)
        signal.signal(signal.SIGALRM, handler)


def expect_silence(seconds: float) -> None:
    """Tell those who watch this process that it may say nothing for so long."""
    for tell in watchers:
        tell(seconds)


def close_quietly(env: gymnasium.Env[Any, Any]) -> bool:
    """Close an environment whatever that brings: whether closing works is a question of its own. False if it hung."""
    try:
        with time_limit():
            env.close()
    except Hung:
        return False
    except FAILURES:
        return True
    return True
