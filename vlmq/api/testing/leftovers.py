"""Finds and ends what a check leaves running, and counts what this process holds. Linux; elsewhere it sees nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path

MARK = "VLMQ_CHECK_MARK"
"""Environment variable that every process started during a check inherits, whoever its parent becomes."""

_PROC = Path("/proc")


@dataclass(frozen=True)
class Holdings:
    """What this process holds: processes that it started, threads, open files; memory in KiB."""

    processes: int
    threads: int
    files: int
    memory_kib: float


def holdings(mark: str) -> Holdings | None:
    """What is held now, or None where the system does not tell."""
    if not (_PROC / "self" / "statm").exists():
        return None
    threads = max(threading.active_count(), len(os.listdir("/proc/self/task")))
    pages = int((_PROC / "self" / "statm").read_text().split()[1])
    return Holdings(
        len(marked(mark)),
        threads,
        len(os.listdir("/proc/self/fd")),
        pages * os.sysconf("SC_PAGE_SIZE") / 1024,
    )


def marked(mark: str) -> list[int]:
    """The other processes that carry the mark, or one that begins with it, and have not ended."""
    wanted = f"\0{MARK}={mark}".encode()
    # the tracker is Python's own, one for this process, and ends with it
    own = (os.getpid(), getattr(resource_tracker._resource_tracker, "_pid", None))
    found: list[int] = []
    for entry in _PROC.iterdir() if _PROC.exists() else ():
        if entry.name.isdigit() and int(entry.name) not in own:
            with suppress(OSError):  # it ended meanwhile, or is another user's
                if wanted in b"\0" + (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def end_marked(mark: str, patience_s: float = 2.0) -> None:
    """End the processes that carry the mark: those that do not end by themselves are killed."""
    deadline = time.monotonic() + patience_s
    while (left := marked(mark)) and time.monotonic() < deadline:
        # reaps our own children that have ended
        multiprocessing.active_children()
        time.sleep(0.02)
    for pid in left:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
