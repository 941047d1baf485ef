"""Processes in step: who plays which episode, and whether anyone still has something to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """This process's number; 0 where there is one process."""
    return dist.get_rank() if _many() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if _many() else 1


def my_share(items: Sequence[Any]) -> list[Any]:
    """Every world_size-th item, starting at this process's number."""
    return list(items[rank() :: world_size()])


def anyone(flag: bool) -> bool:
    """Whether the flag is set on any process."""
    if not _many():
        return flag
    value = torch.tensor([int(flag)], device=_device())
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return bool(value.item())


def everyone(items: list[Any]) -> list[Any]:
    """The items of all processes, in order of process."""
    if not _many():
        return items
    gathered: list[list[Any]] = [[] for _ in range(world_size())]
    dist.all_gather_object(gathered, items)
    return [item for part in gathered for item in part]


def joined(rows: Tensor) -> Tensor:
    """The rows (N, ...) of all processes, in order of process; each may hold another number of them."""
    if not _many():
        return rows
    return torch.cat([part.to(rows.device) for part in everyone([rows.detach().cpu()])])


def total(value: float) -> float:
    """The sum over processes."""
    if not _many():
        return value
    tensor = torch.tensor(
        [value], dtype=torch.float64 if _device() == "cpu" else torch.float32, device=_device()
    )
    dist.all_reduce(tensor)
    return float(tensor.item())


def barrier() -> None:
    """Wait for every process."""
    if _many():
        dist.barrier()


def _many() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
