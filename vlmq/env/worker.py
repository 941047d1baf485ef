"""One environment in a process of its own: both ends of the pipe.

The process is a fresh interpreter that imports this module and the environment, never the parent's
`__main__`: so it holds no torch, starts in a fraction of a second, and can be killed at any moment. Messages
are pickled tuples of plain values over a socket of their own: what an environment prints goes to standard
error and harms nothing. The picture lies in memory that both ends share, one frame for each worker: written
before the answer is sent, copied before the next request. POSIX only.
"""

from __future__ import annotations

import math
import mmap
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vlmq import api
from vlmq.api import Observation, UserError
from vlmq.api.contract import Shape
from vlmq.env import registry
from vlmq.env.slot import Slot, Step

CLOSE_TIMEOUT_S = 3.0
"""How long an environment may take over `close` before it is killed."""

_LAUNCH = (
    "import sys; sys.path[:] = {path!r}; from vlmq.env.worker import main; main({pipe}, {frame}, {parent})"
)
_WATCH_S = 2.0


class WorkerDied(Exception):
    """The process ended, or did not answer in time; its text says which. Ours, caught by the pool."""


class Worker:
    """The parent's end: starts the process, asks it, kills it.

    A request may be sent before the process is up: it waits in the pipe. `send` to many workers first and
    `receive` afterwards, and their work overlaps.
    """

    def __init__(
        self, env_id: str, env_args: Mapping[str, Any], expert: bool, blank_images: bool, timeout_s: float
    ) -> None:
        ours, theirs = socket.socketpair()
        # the poller bounds the wait for an answer's first byte; these bound a peer that stalls in mid-message
        limit = struct.pack("ll", int(timeout_s), int(timeout_s % 1 * 1e6))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._frame_file = _shared_file()
        frame = self._frame_file.fileno()
        code = _LAUNCH.format(path=sys.path, pipe=theirs.fileno(), frame=frame, parent=os.getpid())
        threads = {name: os.environ.get(name, "1") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=[theirs.fileno(), frame],
                stdin=subprocess.DEVNULL,
                stdout=2,
                env={**os.environ, **threads},
                # its own process group: Ctrl-C does not reach it, and its browser dies with it
                start_new_session=True,
            )
        self._pipe: Connection[Any, Any] = Connection(ours.detach())
        self._poll = select.poll()
        self._poll.register(self._pipe.fileno(), select.POLLIN)
        self._asked = 0
        self._frame: NDArray[np.uint8] | None = None
        self.shape: Shape | None = None
        self._post("make", (env_id, dict(env_args), expert, blank_images))

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def pipe(self) -> Connection[Any, Any]:
        """Becomes readable when the process has said something, or has died."""
        return self._pipe

    def wait_ready(self, deadline: float, timeout_s: float) -> Shape:
        """What the environment's spaces promise, once it is made; awaited until `deadline` (monotonic seconds).

        Raises:
            UserError: what making it raised.
            WorkerDied: it did not come up; `timeout_s` is for the message.
        """
        if self.shape is None:
            self.shape = Shape(*self._answer(0, deadline, timeout_s))
            self._frame = _map_frame(self._frame_file, self.shape.image)
        return self.shape

    def send(self, verb: str, argument: int | str) -> None:
        """Ask for a `reset` (of a seed) or a `step` (of an action). A dead process shows at `receive`."""
        self._asked += 1
        self._post(verb, argument)

    def receive(self, deadline: float, timeout_s: float) -> Step:
        """The answer to the last request, awaited until `deadline` (monotonic seconds).

        Raises:
            UserError: what the environment's contract check raised.
            WorkerDied: the process ended, or the deadline passed; `timeout_s` is for the message.
        """
        text, *rest = self._answer(self._asked, deadline, timeout_s)
        return Step(Observation(text, None if self._frame is None else self._frame.copy()), *rest)

    def look(self) -> None:
        """Nothing keeps this process from that one: an answer that is awaited is being worked on."""

    def request_close(self) -> None:
        """Ask the environment to close; `kill` follows."""
        self._post("close", None)

    def wait_closed(self, deadline: float) -> None:
        """Wait until the environment has closed, has died, or the deadline (monotonic seconds) has passed."""
        with suppress(WorkerDied):
            while self._receive(deadline, CLOSE_TIMEOUT_S)[1] != "closed":
                pass

    def kill(self) -> None:
        """End the process with all that it started. Idempotent."""
        if self._pipe.closed:
            return
        self._pipe.close()
        self._frame_file.close()
        self._frame = None
        if self._process.returncode is None:
            self._kill_group()
            self._process.wait()

    def _post(self, verb: str, argument: Any) -> None:
        message = pickle.dumps((self._asked, verb, argument), pickle.HIGHEST_PROTOCOL)
        # where the process has died, the answer that never comes will say so
        with suppress(OSError):
            self._pipe.send_bytes(message)

    def _answer(self, number: int, deadline: float, timeout_s: float) -> Any:
        while True:
            answered, kind, payload = self._receive(deadline, timeout_s)
            # an older answer is left over from a call that was interrupted
            if answered == number:
                break
        if kind == "error":
            name, said = payload
            found = getattr(api, name, UserError)
            raise found(said)
        return payload

    def _receive(self, deadline: float, timeout_s: float) -> tuple[int, str, Any]:
        wait_ms = max(0.0, deadline - time.monotonic()) * 1e3
        try:
            if not self._poll.poll(wait_ms):
                raise WorkerDied(f"no answer within {timeout_s:g} s: the environment hangs")
            answer: tuple[int, str, Any] = pickle.loads(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise WorkerDied(self._obituary()) from error
        return answer

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _obituary(self) -> str:
        try:
            code = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "the environment's process closed its pipe"
        self._kill_group()
        how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
        return f"the environment's process died of {how}"


def main(pipe_fd: int, frame_fd: int, parent: int) -> None:
    """The process's end: answer requests until told to close or left alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for fd in (pipe_fd, frame_fd):
        os.set_inheritable(fd, False)
    watch(pipe_fd, parent)
    pipe: Connection[Any, Any] = Connection(pipe_fd)
    frame: NDArray[np.uint8] | None = None
    slot: Slot | None = None
    while True:
        try:
            number, verb, argument = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            break
        kind = "ok"
        answer: Any = None
        try:
            if verb == "make":
                env_id, env_args, expert, blank_images = argument
                build = partial(registry.build, registry.find_spec(env_id), env_args)
                slot = Slot(env_id, build, expert, blank_images)
                frame = _map_frame(os.fdopen(frame_fd, "r+b"), slot.shape.image)
                answer = (slot.shape.image, slot.shape.text_bytes, slot.shape.action_bytes)
            elif slot is not None and verb != "close":
                step = slot.reset(argument) if verb == "reset" else slot.step(argument)
                if frame is not None:
                    np.copyto(frame, step.observation.image)  # type: ignore[arg-type]  # it has one too
                answer = plain(step)
            else:
                if slot is not None:
                    slot.close()
                kind = "closed"
        except UserError as error:
            # a plugin's own subclass is unknown over there: send the class of ours that it is
            known = next(
                cls.__name__ for cls in type(error).__mro__ if cls.__module__ == UserError.__module__
            )
            kind, answer = "error", (known, str(error))
        try:
            pipe.send_bytes(pickle.dumps((number, kind, answer), pickle.HIGHEST_PROTOCOL))
        except OSError:
            break
        if kind == "closed" or slot is None:
            break


def plain(step: Step) -> tuple[Any, ...]:
    """A step without its picture, as plain values."""
    return (
        step.observation.text,
        step.reward,
        step.terminated,
        step.truncated,
        step.action_ok,
        step.success,
        step.legal_actions,
        step.expert,
        step.failure,
        step.played,
    )


def _shared_file() -> IO[bytes]:
    """A file without a name: in memory where the system offers that."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("frame"), "r+b")
    return tempfile.TemporaryFile()


def _map_frame(file: IO[bytes], shape: tuple[int, int, int] | None) -> NDArray[np.uint8] | None:
    """The picture in shared memory, or None where there is none; the file is not needed afterwards."""
    with file:
        if shape is None:
            return None
        os.ftruncate(file.fileno(), math.prod(shape))
        return np.frombuffer(mmap.mmap(file.fileno(), math.prod(shape)), np.uint8).reshape(shape)


def watch(fd: int, parent: int, hang_up_too: int = 0) -> None:
    """Die with the parent, even while the environment is busy: the pipe hangs up, or the parent changes.

    Args:
        fd: of the pipe, or of a connection.
        parent: process id.
        hang_up_too: another event of `select.poll` that means so: a connection's other end has closed it.
    """

    def wait() -> None:
        hang_up = select.poll()
        hang_up.register(fd, hang_up_too)  # asks for nothing, so that only a hang-up is reported
        while not hang_up.poll(_WATCH_S * 1e3) and os.getppid() == parent:
            pass
        # our whole group, a browser included; only if it is ours alone
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
