"""States that later phases start from: the weights and the optimizer at the end of an earlier phase.

Each process of a sharded run keeps its own part, so nothing is gathered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlmq.api import ModelError
from vlmq.model.actor_critic import ActorCritic, own_part
from vlmq.rollout import sync
from vlmq.train import checkpoint


def file(run_dir: Path, phase: str, *, sharded: bool) -> Path:
    """Where a phase's end is kept: one file of a whole model, or each process's part of a sharded one."""
    part = f"-{sync.rank()}-of-{sync.world_size()}" if sharded else ""
    return run_dir / "phases" / f"{phase}{part}.pt"


def save(path: Path, model: ActorCritic, optimizer: torch.optim.Optimizer, *, sharded: bool) -> None:
    """Keep what training changes: parameters that are trained or follow, and the optimizer's state."""
    if sharded or sync.rank() == 0:
        checkpoint.write(_state(model, optimizer), path)
    sync.barrier()


@torch.no_grad()
def load(path: Path, model: ActorCritic, optimizer: torch.optim.Optimizer) -> None:
    """Put a kept state back in place.

    Raises:
        ModelError: the file is missing or damaged.
    """
    if not checkpoint.is_intact(path):
        raise ModelError(
            f"{path}, the state a phase starts from, is missing or damaged; start the run again."
        )
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    for name, parameter in _kept(model):
        own_part(parameter).copy_(state["parameters"][name])
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter, saved in zip(parameters, state["optimizer"], strict=True):
        for key, value in saved.items():
            own_part(optimizer.state[parameter][key]).copy_(value)


def _kept(model: ActorCritic) -> list[tuple[str, Tensor]]:
    given = model.given()
    return [(name, p) for name, p in model.named_parameters() if name not in given]


def _state(model: ActorCritic, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {
        "parameters": {name: own_part(p).detach().clone() for name, p in _kept(model)},
        "optimizer": [
            {key: own_part(value).clone() for key, value in optimizer.state[p].items()}
            for group in optimizer.param_groups
            for p in group["params"]
        ],
    }
