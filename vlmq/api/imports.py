"""Watches the import of a spec module: what heavy it loads, and whether it opens a network connection."""

from __future__ import annotations

import importlib
import socket
import sys
import threading
import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any

HEAVY = (
    *("torch", "tensorflow", "jax", "transformers", "lightning", "torchrl"),
    *("PIL", "cv2", "matplotlib", "pygame", "playwright", "selenium"),
)
"""Libraries that no list of names needs: they cost seconds, start threads, or look for a device."""

_ASKED = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
"""What Python tells of questions to the network; the name or the address comes first."""

_SENT = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg")
"""What it tells of the use of a socket, which comes first; then the address."""


@dataclass(frozen=True)
class Trace:
    """What one import did.

    Attributes:
        loaded: names of the modules that were not loaded before.
        network: what it asked of the network, a few words each.
        seconds: how long it took.
    """

    loaded: frozenset[str] = frozenset()
    network: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def heavy(self) -> tuple[str, ...]:
        """Those of `HEAVY` that it loaded. Empty where they were loaded before: then nobody can tell."""
        return tuple(name for name in HEAVY if name in self.loaded)


def watched_import(name: str) -> tuple[ModuleType, Trace]:
    """Import a module and say what that did; of one that is loaded already, what its first import did.

    Raises:
        BaseException: whatever the module raises.
    """
    if name in sys.modules:
        return sys.modules[name], _traces.get(name, Trace())
    before, start = set(sys.modules), time.perf_counter()
    with _listening:
        try:
            module = importlib.import_module(name)
        finally:
            heard = _listening.end()
    seconds = time.perf_counter() - start
    trace = _traces[name] = Trace(frozenset(set(sys.modules) - before), heard, seconds)
    return module, trace


class _Listening:
    """The one audit hook of this process. It cannot be removed, so it is added at the first need, and then hears,
    while it is entered, the thread that entered it and every thread that has started since."""

    def __init__(self) -> None:
        self._at_work = False
        self._others: frozenset[int | None] = frozenset()
        self._heard: list[str] = []
        self._sockets: list[socket.socket] = []
        self._lock = threading.RLock()
        self._hooked = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if not self._hooked:
            self._hooked = True
            sys.addaudithook(self._hear)
        here = threading.get_ident()
        self._others = frozenset(thread.ident for thread in threading.enumerate() if thread.ident != here)
        self._heard, self._sockets, self._at_work = [], [], True

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def end(self) -> tuple[str, ...]:
        """Stop listening; what was heard, a few words each."""
        self._at_work = False
        waiting = [
            f"socket.listen on port {made.getsockname()[1]}"
            for made in self._sockets
            if _waits_for_calls(made)
        ]
        self._sockets = []
        return tuple(dict.fromkeys([*self._heard, *waiting]))

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._at_work or not event.startswith("socket.") or threading.get_ident() in self._others:
            return
        if event == "socket.__new__":
            self._sockets.append(args[0])
        elif event in _ASKED:
            self._heard.append(f"{event} of {args[0]}")
        elif event in _SENT and isinstance(args[1], tuple):  # a local (Unix) socket's address is a path
            self._heard.append(f"{event} to {args[1][0]}:{args[1][1]}")


def _waits_for_calls(made: socket.socket) -> bool:
    """Whether it still listens to the network. Python tells of no `listen`, which needs no `bind` before it."""
    try:
        internet = made.family in (socket.AF_INET, socket.AF_INET6)
        return internet and bool(made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:  # it was closed
        return False


_listening = _Listening()
_traces: dict[str, Trace] = {}
