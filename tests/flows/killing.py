"""Test fixture: runs of `vlmq` that end themselves by SIGKILL at the n-th call of a function.

Nothing in the product knows of it.

As a program it imports everything once and forks a process for each run that is asked for, one line of JSON each,
so that a run takes no longer than it must.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Kill:
    """A moment of a run.

    Attributes:
        function: `module:qualified.name`, at a call of which the process ends itself.
        number: of that call, counted from 1 since the process began.
        within: only calls inside this other function count; any where it is "".
        half: the call is a writer's: half of its data is written first.
    """

    function: str
    number: int
    within: str = ""
    half: bool = False


_SAVING = "vlmq.train.checkpoint:CheckpointFile.save_checkpoint"


def idle(number: int) -> Kill:
    """Between two updates."""
    return Kill("vlmq.train.datamodule:VlmqDataModule._next_batch", number)


def mid_update(number: int) -> Kill:
    """The weights have made their step, the critic's copy and the counters have not."""
    return Kill("vlmq.model.actor_critic:ActorCritic.update_target", number)


def mid_gradient(number: int) -> Kill:
    """The gradients are there, the weights have not moved."""
    return Kill("vlmq.train.module:VlmqModule.configure_gradient_clipping", number)


def mid_collection(number: int) -> Kill:
    """Episodes of a round are going on."""
    return Kill("vlmq.env.slot:Slot.step", number, within="vlmq.train.arena:Arena.play_into")


def mid_append(number: int) -> Kill:
    """Half a picture, or half an episode, is in its file."""
    return Kill("vlmq.data.files:write_at", number, half=True)


def mid_checkpoint(number: int) -> Kill:
    """Half a piece of a checkpoint is in its file."""
    return Kill("vlmq.train.checkpoint:_Target.write", number, within=_SAVING, half=True)


def mid_rename(number: int) -> Kill:
    """The new checkpoint is written, and the last one is about to become the one before it."""
    return Kill("vlmq.train.checkpoint:_keep", number)


def after_checkpoint(number: int) -> Kill:
    """The new checkpoint is in its place, and nothing was done since."""
    return Kill("vlmq.data.files:sync_directory", number, within=_SAVING)


class Runner:
    """The program below, and what a test asks of it. Use it in a `with`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, arguments: list[str], output: Path, kill: Kill | None = None) -> int:
        """Run one command line; gives its exit code, or the negative number of the signal that ended it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"arguments": arguments, "output": str(output), "kill": kill and asdict(kill)}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _plant(kill: Kill) -> None:
    calls, inside = 0, not kill.within

    def within(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def entered(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            inside = True
            try:
                return original(*args, **kwargs)
            finally:
                inside = False

        return entered

    def counting(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += inside
            if calls < kill.number or not inside:
                return original(*args, **kwargs)
            if kill.half:
                *before, data = args
                original(*before, bytes(data)[: len(data) // 2])
                for piece in before:
                    getattr(getattr(piece, "_file", None), "flush", lambda: None)()
            return _end()

        return counted

    if kill.within:
        _replace(kill.within, within)
    _replace(kill.function, counting)


def _replace(name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    module, _, path = name.partition(":")
    *owners, last = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    setattr(owner, last, wrap(getattr(owner, last)))


def _serve() -> None:
    from vlmq.cli import main
    from vlmq.train import cli as _heavy  # noqa: F401  # before the first fork

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                said = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(said, 1)
                os.dup2(said, 2)
                if job["kill"]:
                    _plant(Kill(**job["kill"]))
                sys.argv = ["vlmq", *job["arguments"]]
                code = main(job["arguments"])
            finally:
                sys.stdout.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
