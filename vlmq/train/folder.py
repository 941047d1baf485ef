"""The folder of a run: one `fit` at a time, an earlier run kept, and what its disk refuses in one sentence."""

from __future__ import annotations

import os
import sys
import weakref
from pathlib import Path

from vlmq.api import UserError
from vlmq.data import files
from vlmq.train import checkpoint

_HELD = (
    "process {owner} is training in this folder; wait for it or stop it, or choose another one with "
    "--trainer.default_root_dir"
)
_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK")


class Lock:
    """A folder taken by this process until `release`, or until it ends in whatever way.

    Raises:
        DataError: another process has it, or the folder cannot be written.
    """

    def __init__(self, run_dir: Path) -> None:
        make(run_dir)
        self.release = weakref.finalize(self, os.close, files.take_lock(run_dir, _HELD))


def make(run_dir: Path) -> None:
    """Make the folder where it is missing.

    Raises:
        UserError: it cannot be made.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"{run_dir}: a file is in the way; choose another folder with --trainer.default_root_dir."
        ) from None
    except OSError as error:
        raise files.trouble(run_dir, error) or error from error


def move_aside(run_dir: Path) -> bool:
    """Keep an earlier run of this folder under another name, for one that starts anew; whether there was one."""
    if not any((run_dir / name).is_dir() for name in (checkpoint.FOLDER, "replay")):
        return False
    number = 1
    while (old := run_dir.with_name(f"{run_dir.name}-{number}")).exists():
        number += 1
    run_dir.rename(old)
    go_on = f"--trainer.default_root_dir {old} --ckpt_path last"
    print(f"{run_dir} held an earlier run; it is now {old} (go on with it: {go_on}).", file=sys.stderr)
    return True


def is_first_process() -> bool:
    """Whether this is the process that a launcher numbered 0, or there is no launcher."""
    numbers = [os.environ[name] for name in _RANKS if name in os.environ]
    return not numbers or numbers[0] == "0"
