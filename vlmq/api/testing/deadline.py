"""Interrupts Python code that does not come back, so that an environment that hangs ends a check and not the report."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Hung(Exception):
    """The time is over; its text says how long it was."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `Hung` in the body after so many seconds.

    By an alarm signal, which only the main thread of a Unix process gets: elsewhere there is no limit. It reaches
    Python code, and regular expressions; a call that blocks inside a C library is not interrupted.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hung(f"no answer within {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, stop)
    # somebody else's alarm, a test time-out for instance, is put back as it was
    delay, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, delay, interval)
        signal.signal(signal.SIGALRM, handler)
