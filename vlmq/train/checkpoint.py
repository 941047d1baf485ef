"""Finding, reading and judging checkpoints; a missing or broken one is an error, never a silent fresh start."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlmq.api import ModelError

FOLDER = "checkpoints"


def find(name: str, run_dir: str | Path) -> Path:
    """The file that `last`, `best` or a path stands for.

    Raises:
        ModelError: there is no such file.
    """
    path = Path(run_dir) / FOLDER / f"{name}.ckpt" if name in ("last", "best") else Path(name)
    if path.exists():
        return path
    folder = Path(run_dir) / FOLDER
    there = sorted(p.name for p in folder.glob("*.ckpt")) if folder.is_dir() else []
    offer = f"there are {', '.join(there)}" if there else f"{folder} holds none; train first with `vlmq fit`"
    raise ModelError(f"no checkpoint {path}; {offer}.")


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU.

    Raises:
        ModelError: the file is truncated, damaged, or not one of ours; code in it is never run.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile, ValueError) as error:
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
