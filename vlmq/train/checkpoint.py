"""Writing, finding, reading and judging checkpoints; a missing or broken one is never a silent fresh start.

A checkpoint is written beside its place, made durable, and moved there in one step, so a crash or a full disk
leaves the one before. The one before `last.ckpt` stays as `previous.ckpt`. The format is torch's zip archive, whose
records carry checksums (CRC-32); torch does not compare them when it loads, so `is_intact` does.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from vlmq.api import ModelError
from vlmq.data import files

FOLDER = "checkpoints"
LAST, PREVIOUS = "last.ckpt", "previous.ckpt"

_UNREADABLE = (
    RuntimeError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile, ValueError, NotImplementedError,
    zlib.error, KeyError, TypeError, AttributeError, IndexError, OverflowError,
)  # fmt: skip
"""What reading bytes that mean nothing may raise."""


class CheckpointFile(TorchCheckpointIO):
    """Lightning's way to a checkpoint's file, with `write` for its writing."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write one; there are no storage options."""
        write(checkpoint, Path(path))


def write(content: dict[str, Any], path: Path) -> None:
    """Write a file of tensors and plain values, so that at any moment the old one is there, or the new.

    Where the file is called `last.ckpt`, the old one becomes `previous.ckpt`.

    Raises:
        DataError: the disk is full, or may not be written to; the old one is intact.
        OSError: any other failure of the disk; the old one is intact.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            target = _Target(file)
            torch.save(content, cast(BinaryIO, target))
            if target.error is not None:
                raise target.error
            file.flush()
            os.fsync(file.fileno())
        if path.name == LAST and path.exists():
            _keep(path, path.with_name(PREVIOUS))
        os.replace(part, path)
        files.sync_directory(path.parent)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        known = files.trouble(path, error) if isinstance(error, OSError) else None
        if known is not None:
            raise known from error
        raise


def find(name: str, run_dir: str | Path) -> Path:
    """The file that `last`, `best` or a path stands for.

    A last one that is truncated or damaged is passed over for the one before it, which is said.

    Raises:
        ModelError: there is no such file.
    """
    folder = Path(run_dir) / FOLDER
    path = folder / f"{name}.ckpt" if name in ("last", "best") else Path(name)
    previous = folder / PREVIOUS
    if name == "last" and previous.exists() and not is_intact(path):
        what = "is truncated or damaged" if path.exists() else "is missing"
        if is_intact(previous):
            print(f"{path} {what}: the one before it, {previous}, is used instead.", file=sys.stderr)
            return previous
    if path.exists():
        return path
    there = sorted(p.name for p in folder.glob("*.ckpt")) if folder.is_dir() else []
    offer = f"there are {', '.join(there)}" if there else f"{folder} holds none; train first with `vlmq fit`"
    raise ModelError(f"no checkpoint {path}; {offer}.")


def put_back(previous: Path) -> Path:
    """Make the checkpoint before the last one the last one again; a damaged last one is kept as `damaged.ckpt`.

    Otherwise the next one that is written would push the damaged one into the good one's place.
    """
    last = previous.with_name(LAST)
    if last.exists():
        _keep(last, last.with_name("damaged.ckpt"))
    part = last.with_name(f"{LAST}.part")
    shutil.copyfile(previous, part)
    os.replace(part, last)
    return last


def is_intact(path: Path) -> bool:
    """Whether a file is there whole, by the checksums of all its records."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except _UNREADABLE:
        return False


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU.

    Raises:
        ModelError: the file is truncated, damaged, or not one of ours; code in it is never run.
    """
    try:
        if not is_intact(path):
            raise ValueError("checksum")
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise ModelError(
            f"the checkpoint {path} is truncated or damaged, or no checkpoint; use another one of its folder, or "
            "train again."
        ) from error
    if not isinstance(content, dict) or "vlmq" not in content:
        raise ModelError(f"{path} is no vlmq checkpoint; give the path of one that `vlmq fit` wrote.")
    return content


def check_fits(
    checkpoint: dict[str, Any],
    *,
    backbone: str,
    fingerprint: str,
    own: Mapping[str, Tensor],
    phases: list[str],
) -> None:
    """Refuse a checkpoint of another model or another schedule.

    Args:
        checkpoint: what `read` gave.
        backbone: name of the model it shall go into.
        fingerprint: of that model's tokenizer.
        own: that model's weights.
        phases: names of the run's phases.

    Raises:
        ModelError: it does not fit, naming the first difference.
    """
    if "vlmq" not in checkpoint:
        raise ModelError("this is no vlmq checkpoint; give the path of one that `vlmq fit` wrote.")
    saved = checkpoint["vlmq"]
    if saved["fingerprint"] != fingerprint:
        raise ModelError(
            f"the checkpoint was made with {saved['settings']['backbone']}, whose tokenizer is not that of "
            f"{backbone}; set model.backbone to the one it was trained from."
        )
    # A sharding strategy has put the weights in place already, and taken them out.
    for name, value in checkpoint.get("state_dict", {}).items():
        if name not in own or own[name].shape != value.shape:
            raise ModelError(
                f"the checkpoint is of another model: its {name} {tuple(value.shape)} has no counterpart here; use "
                f"the model settings it was trained with (backbone {saved['settings']['backbone']}, "
                f"critic {saved['settings']['critic']})."
            )
    done = saved["phases"][: saved["schedule"]["index"] + 1]
    if phases[: len(done)] != done:
        raise ModelError(
            f"the checkpoint stands in phase '{done[-1]}' of {saved['phases']}, but model.phases are {phases}; "
            "resume with the phases it was started with (you may add phases at the end)."
        )


def check_trains(checkpoint: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse to go on with other weights than were trained, or in another precision.

    Args:
        checkpoint: what `read` gave.
        settings: of the model that goes on.

    Raises:
        ModelError: they differ, naming the first difference.
    """
    saved = checkpoint["vlmq"]["settings"]
    for name in ("freeze_vision", "lora", "dtype"):
        if saved[name] != settings[name]:
            raise ModelError(
                f"the checkpoint was trained with model.{name} {_shown(saved[name])}, but it is "
                f"{_shown(settings[name])} now; resume with what it was trained with."
            )


class _Target:
    """A file for torch to write to, which keeps the first error for afterwards."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Done by whoever opened the file."""


def _shown(value: object) -> str:
    """A setting as one writes it."""
    return json.dumps(value).strip('"')


def _keep(path: Path, name: Path) -> None:
    """Let a file be there under another name too, in one step."""
    link = name.with_name(f"{name.name}.part")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without links: for a moment the file has only its new name
        os.replace(path, name)
    else:
        os.replace(link, name)
