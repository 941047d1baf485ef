"""A fresh interpreter that works for the kit: both ends of what is told between the two.

It tells what it found as lines of JSON in a file, so that what came before a crash is not lost. It is no child of
`multiprocessing`, for that would import the caller's `__main__` again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_LAUNCH = "import sys; sys.path[:] = {path!r}; from {module} import main; main({folder!r})"


class Launched:
    """The caller's end. Starts the process at once.

    Args:
        module: its function `main` gets the folder in which the job lies.
        job: what is to be done.
        environment: environment variables, beside those of this process.
        aside: whether it works unheard beside the caller: in a group of its own, which Ctrl-C does not reach,
            and with nothing shown of what it prints.
    """

    def __init__(self, module: str, job: bytes, environment: Mapping[str, str], *, aside: bool) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="vlmq-check-", ignore_cleanup_errors=True)
        self._folder = Path(self._temporary.name)
        self._aside = aside
        (self._folder / "job").write_bytes(job)
        for name in ("findings", "output", "errors"):
            (self._folder / name).touch()
        command = _LAUNCH.format(path=sys.path, module=module, folder=str(self._folder))
        # a crash in a library says where, if what the process prints is shown
        options = [] if aside else ["-u", "-X", "faulthandler"]
        with (self._folder / "output").open("ab") as output, (self._folder / "errors").open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, *options, "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if aside else output,
                stderr=errors,
                env={**os.environ, **environment},
                start_new_session=aside,
            )
        self._read = {name: (self._folder / name).open("rb") for name in ("findings", "output", "errors")}
        self._half_line = b""

    def news(self) -> list[dict[str, Any]]:
        """What it has told since the last time."""
        *lines, self._half_line = (self._half_line + self._read["findings"].read()).split(b"\n")
        return [json.loads(line) for line in lines]

    def show(self) -> None:
        """Print what it has printed since the last time."""
        for name, stream in (("output", sys.stdout), ("errors", sys.stderr)):
            if data := self._read[name].read():
                stream.write(data.decode("utf-8", "replace"))
                stream.flush()

    @property
    def exit_code(self) -> int | None:
        """Its exit code once it has ended; below zero the number of the signal that ended it."""
        return self._process.poll()

    def last_words(self) -> str:
        """The last line of its errors, or its exit code."""
        said = (self._folder / "errors").read_text(errors="replace").strip().splitlines()
        return said[-1][:300] if said else f"exit code {self.exit_code}"

    def stop(self) -> None:
        """End the process, and its group if that is its own. Idempotent, as `end` is."""
        with suppress(ProcessLookupError, PermissionError):
            if self._aside:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Stop it, and forget what it told."""
        self.stop()
        for file in self._read.values():
            file.close()
        self._temporary.cleanup()


def job_of(folder: str) -> bytes:
    """What the process is to do, at its own end."""
    return (Path(folder) / "job").read_bytes()


def tell(folder: str, found: Mapping[str, Any]) -> None:
    """Tell the caller, at the process's own end."""
    with (Path(folder) / "findings").open("a") as file:
        file.write(json.dumps(found) + "\n")
