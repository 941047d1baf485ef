"""Watches the import of a spec module: what heavy it loads, and whether it opens a network connection."""

from __future__ import annotations

import importlib
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

_EVENTS = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")


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
        _listening.heard = []
        _listening.thread = threading.get_ident()
        try:
            module = importlib.import_module(name)
        finally:
            _listening.thread = None
        heard = tuple(dict.fromkeys(_listening.heard))
    seconds = time.perf_counter() - start
    trace = _traces[name] = Trace(frozenset(set(sys.modules) - before), heard, seconds)
    return module, trace


class _Listening:
    """The one audit hook of this process. It cannot be removed, so it is added at the first need and then only
    hears the thread that it was told of."""

    def __init__(self) -> None:
        self.thread: int | None = None
        self.heard: list[str] = []
        self._lock = threading.RLock()
        self._hooked = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if not self._hooked:
            self._hooked = True
            sys.addaudithook(self._hear)

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.thread is None or event not in _EVENTS or self.thread != threading.get_ident():
            return
        # the socket comes first where there is one; a local (Unix) socket's address is a path, no tuple
        address = args[0] if event in ("socket.getaddrinfo", "socket.gethostbyname") else args[1]
        if isinstance(address, tuple):
            self.heard.append(f"{event} to {address[0]}:{address[1]}")
        elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
            self.heard.append(f"{event} of {address}")


_listening = _Listening()
_traces: dict[str, Trace] = {}
