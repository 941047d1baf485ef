"""A server that plays environments for clients elsewhere: each connection has its own, in a process of its own.

The server's own process knows the token, answers the door and starts processes; it runs no environment, so none can
harm it. A client proves that it knows the token before anything is started for it. The process of a connection ends
with the connection, and is ended when the environment takes too long; whatever it had started goes with it.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vlmq.api import SupportsExpert, UserError
from vlmq.env import facts, registry, wire
from vlmq.env.address import TOKEN, TOKEN_FILE
from vlmq.env.by_hand import declared_in
from vlmq.env.slot import Slot, Step
from vlmq.env.worker import plain, watch

log = logging.getLogger(__name__)

_LAUNCH = "import sys; sys.path[:] = {path!r}; from vlmq.env.serve import attend; attend({fd}, {parent}, {timeout_s})"
_BACKLOG = 64
_MOST_WAITING = 32
"""Connections that have not shown yet that they know the token; more are hung up on."""


class Server:
    """Listens as soon as it is made; `run` answers until `close`.

    Args:
        env_ids: what may be played.
        host: name or number of the interface.
        port: 0 takes a free one.
        token: that clients must know; "" asks for none, on the loopback interface only.
        settings: arguments of the environments; a client's own come on top.
        most: connections at once.
        timeout_s: longest reset or step before a process is ended.
        tell: takes one line on what happens.

    Raises:
        UserError: an id is unknown, the port is taken, or the interface is open to others and there is no token.

    Attributes:
        host: as given.
        port: that it listens on.
    """

    def __init__(
        self, env_ids: Sequence[str], *, host: str, port: int, token: str, settings: Mapping[str, Any], most: int,
        timeout_s: float, tell: Callable[[str], None] = lambda line: None,
    ) -> None:  # fmt: skip
        for env_id in env_ids:
            registry.check_arguments(registry.find_spec(env_id), settings)
        self._env_ids, self._token, self._settings = tuple(env_ids), token, dict(settings)
        self._most, self._timeout_s, self._tell = most, timeout_s, tell
        family, address = _interface(host, port)
        if not token and not ipaddress.ip_address(address).is_loopback:
            raise UserError(
                f"without a token vlmq serves this machine alone, and {host} is open to others; set {TOKEN} or"
                f" give --token-file, or leave --host out."
            )
        self._door = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._door.bind((address, port))
            self._door.listen(_BACKLOG)
        except OSError as error:
            self._door.close()
            raise UserError(
                f"vlmq cannot listen at {host} port {port} ({error.strerror}); choose another with --port."
            ) from error
        self.host, self.port = host, int(self._door.getsockname()[1])
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._waiting = threading.Semaphore(_MOST_WAITING)
        self._mutex = threading.Lock()
        self._closed = threading.Event()

    def run(self) -> None:
        """Answer the door until `close`."""
        while not self._closed.is_set():
            try:
                sock, peer = self._door.accept()
            except OSError:
                # too many files are open, for instance: those who are here go on
                self._closed.wait(0.1)
                continue
            if not self._waiting.acquire(blocking=False):
                sock.close()
                continue
            threading.Thread(target=self._welcome, args=(sock, f"{peer[0]}:{peer[1]}"), daemon=True).start()

    def close(self) -> None:
        """Stop listening, and end every environment. Idempotent."""
        self._closed.set()
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._door.close()
        with self._mutex:
            running = list(self._running.values())
        for process in running:
            _kill_group(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _welcome(self, sock: socket.socket, peer: str) -> None:
        """One connection from its first byte to the end of its process; it has a thread of its own."""
        process: subprocess.Popen[bytes] | None = None
        try:
            try:
                hello = self._admit(wire.Link(sock, wire.HELLO_TIMEOUT_S), peer)
                process = None if hello is None else self._start(sock, hello)
            except ConnectionError:
                pass  # who only knocked to see whether somebody is here
            except (OSError, wire.Malformed) as error:
                self._tell(f"{peer}: refused, {error}")
            finally:
                sock.close()
                self._waiting.release()
            if process is not None:
                self._tell(f"{peer}: plays {hello and hello['id']} ({len(self._running)} in all)")
                process.wait()
        finally:
            if process is not None:
                _kill_group(process)  # a browser that the environment left behind
                with self._mutex:
                    self._running.pop(process.pid, None)
                self._tell(f"{peer}: gone")

    def _admit(self, link: wire.Link, peer: str) -> dict[str, Any] | None:
        """What the client wants, once it has shown that it may; None where it may not, which it is told."""
        deadline = time.monotonic() + wire.HELLO_TIMEOUT_S
        nonce = secrets.token_hex(16)
        link.send({"vlmq": "environments", "version": wire.VERSION, "nonce": nonce})
        hello, _ = link.receive(
            deadline=deadline, most=wire.MOST_REQUEST_BYTES, message_s=wire.HELLO_TIMEOUT_S
        )
        wrong = ""
        if self._token and not hmac.compare_digest(
            str(hello.get("proof")).encode("utf-8", "replace"), wire.proof(self._token, nonce).encode()
        ):
            wrong = f"the server asks for another token; set {TOKEN} or {TOKEN_FILE} to the right one."
        elif hello.get("id") not in self._env_ids:
            wrong = f"the server does not play {hello.get('id')!r}, but {', '.join(self._env_ids)}."
        elif not isinstance(hello.get("args"), dict):
            raise wire.Malformed("a greeting without arguments")
        elif len(self._running) >= self._most:
            wrong = f"the server plays {self._most} environments already; start it with a larger --most."
        if wrong:
            link.send({"error": ["UserError", wrong]})
            self._tell(f"{peer}: refused, {wrong.split(';')[0]}")
            return None
        return {**hello, "args": {**self._settings, **hello["args"]}}

    def _start(self, sock: socket.socket, hello: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        code = _LAUNCH.format(path=sys.path, fd=sock.fileno(), parent=os.getpid(), timeout_s=self._timeout_s)
        known = {name: value for name, value in os.environ.items() if name not in (TOKEN, TOKEN_FILE)}
        threads = {name: os.environ.get(name, "1") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[sock.fileno()],
            stdin=subprocess.PIPE,
            stdout=2,
            env={**known, **threads},
            start_new_session=True,
        )
        with self._mutex:
            self._running[process.pid] = process
        assert process.stdin is not None
        with process.stdin as pipe, suppress(OSError):
            pipe.write(json.dumps(hello).encode())
        return process


def attend(fd: int, parent: int, timeout_s: float) -> None:
    """The process of one connection: make the environment that standard input names, play it, end with the client."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hello = json.loads(sys.stdin.buffer.read())
    os.set_inheritable(fd, False)
    watch(fd, parent, getattr(select, "POLLRDHUP", 0))
    link = wire.Link(socket.socket(fileno=fd))
    try:
        _time_limit(timeout_s)
        slot = _make(hello)
    except UserError as error:
        link.send({"error": [_class_of(error), str(error)]})
        return
    _time_limit(0)
    try:
        link.send({"ready": _ready(hello, slot)})
        most = max(wire.MOST_REQUEST_BYTES, 8 * slot.shape.action_bytes + 1024)
        _play(link, slot, most, timeout_s)
    except OSError:
        pass  # the client is gone
    except wire.Malformed as error:
        with suppress(OSError):
            link.send({"error": ["UserError", f"the server refused {error}."]})
    slot.close()


def _play(link: wire.Link, slot: Slot, most: int, timeout_s: float) -> None:
    """Answer one request after the other until the client has enough."""
    shown: NDArray[np.uint8] | None = None
    playing = False
    while True:
        # A learner may think for hours between two requests; that its machine is there, keep-alive tells.
        message, _ = link.receive(deadline=float("inf"), most=most)
        fields: Iterator[Any] = (message.get(name) for name in ("n", "verb", "value"))
        number, verb, value = fields
        if verb == "close":
            slot.close()
            link.send({"n": number})
            return
        reset = verb == "reset" and type(value) is int and 0 <= value < 2**63
        if type(number) is not int or not (reset or (verb == "step" and isinstance(value, str) and playing)):
            raise wire.Malformed(
                "a request that is neither a reset of a seed nor a step of a game that is on"
            )
        _time_limit(timeout_s)
        try:
            step = slot.reset(value) if reset else slot.step(value)
        except UserError as error:
            link.send({"n": number, "error": [_class_of(error), str(error)]})
            continue
        finally:
            _time_limit(0)
        if step.failure is not None:
            log.warning("env '%s' broke, its episode is lost: %s", slot.env_id, step.failure)
        playing = not step.ended
        image = step.observation.image
        top, end, png = 0, 0, b""
        if image is not None:
            top, end = _changed(image, shown)
            if top < end:
                png, shown = wire.to_png(image[top:end]), image.copy()
        link.send({"n": number, "step": _plain(step), "rows": [top, end]}, png)


def _changed(image: NDArray[np.uint8], shown: NDArray[np.uint8] | None) -> tuple[int, int]:
    """The rows of a picture from the first that is not as it was shown to the last: what the client lacks."""
    if shown is None or shown.shape != image.shape:
        return 0, len(image)
    rows = np.flatnonzero((image.reshape(len(image), -1) != shown.reshape(len(shown), -1)).any(1))
    return (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)


def _make(hello: Mapping[str, Any]) -> Slot:
    env_id = str(hello["id"])
    build = partial(registry.build, registry.find_spec(env_id), hello["args"])
    return Slot(env_id, build, bool(hello.get("expert")), bool(hello.get("blank")))


def _ready(hello: Mapping[str, Any], slot: Slot) -> dict[str, Any]:
    """What the client must know of an environment: its spaces, what it declares, whether it has an expert."""
    env_id = str(hello["id"])
    declared = declared_in(registry.metadata_of(env_id))
    creator = facts.maker(registry.find_spec(env_id))
    return {
        "image": slot.shape.image,
        "text_bytes": slot.shape.text_bytes,
        "action_bytes": slot.shape.action_bytes,
        "declared": json.loads(json.dumps(declared, default=str)),
        "expert": isinstance(creator, type) and issubclass(creator, SupportsExpert),
    }


def _plain(step: Step) -> list[Any]:
    return list(plain(step))


def _class_of(error: UserError) -> str:
    return next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == UserError.__module__)


def _time_limit(seconds: float) -> None:
    """End this process after so many seconds, whatever it is doing; 0 takes that back."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _interface(host: str, port: int) -> tuple[socket.AddressFamily, str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UserError(f"there is no interface '{host}' here ({error.strerror}); correct --host.") from error
    family, _, _, _, address = found[0]
    return family, str(address[0])
