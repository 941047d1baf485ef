"""Strategies: which of Lightning's serve here, and sharding the actor-critic with FSDP2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy, StrategyRegistry
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from vlmq.api import UserError
from vlmq.model import vision
from vlmq.model.actor_critic import ActorCritic

NAME = "fsdp2"
"""`trainer.strategy: fsdp2` is Lightning's ModelParallelStrategy, set as this project needs it."""

_FIRST = "fsdp"
_UNFIT = ("fsdp", "deepspeed")
"""PyTorch's first FSDP and DeepSpeed wrap the module as a whole, and gather weights for its `forward` alone."""

if NAME not in StrategyRegistry.available_strategies():
    StrategyRegistry.register(
        NAME, ModelParallelStrategy, "FSDP2 over all processes", save_distributed_checkpoint=False
    )


def served(chosen: Any) -> Any:
    """`fsdp` by its successor, which is said; anything else as it was chosen.

    Args:
        chosen: `trainer.strategy`.
    """
    if chosen != _FIRST:
        return chosen
    print(
        f"trainer.strategy {_FIRST} is served by {NAME}: PyTorch's first FSDP gathers no weights to sample with"
    )
    return NAME


@contextmanager
def refused(chosen: Any) -> Iterator[None]:
    """While Lightning makes a trainer: what this machine or this project cannot serve is the user's to change.

    Args:
        chosen: `trainer.strategy`.

    Raises:
        UserError: the strategy shards in a way that sampling cannot pass, or what the trainer was told does not fit
            this machine.
    """
    name = chosen if isinstance(chosen, str) else type(chosen).__name__
    if name.lower().startswith(_UNFIT) and name != NAME:
        raise UserError(
            f"trainer.strategy {name} takes the weights apart where the agent must sample from them; "
            f"use {NAME} to shard, or ddp."
        )
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
        reason = " ".join(str(error).split()).rstrip(".!")
        raise UserError(
            f"the trainer's settings do not fit this machine: {reason}; choose others, --trainer.accelerator cpu "
            "for instance."
        ) from error


def prepare(strategy: Strategy) -> None:
    """Have a sharding strategy write each checkpoint as one file, which one process can read too."""
    if isinstance(strategy, ModelParallelStrategy):
        strategy._save_distributed_checkpoint = False


def shard(model: ActorCritic, device_type: str) -> None:
    """Shard in place over all processes: each transformer layer, each critic, then the rest of the backbone.

    The critics are groups of their own: they run outside the backbone. Gathered weights are freed after each
    forward, so that in between a parameter is this process's part, also where no backward follows.

    Args:
        model: the actor-critic, whole, and the same on every process.
        device_type: "cpu" or "cuda".
    """
    # A mesh of our own: by default Lightning's gives all processes of a node to tensor parallelism.
    options: dict[str, Any] = {
        "mesh": init_device_mesh(device_type, (dist.get_world_size(),)),
        "reshard_after_forward": True,
    }
    vision.forget(model)
    backbones = [model.backbone] if model.reference is None else [model.backbone, model.reference]
    for backbone in backbones:
        for layers in _layer_lists(backbone):
            for layer in layers:
                fully_shard(layer, **options)
    for part in (model.critic, model.target_critic, *backbones):
        fully_shard(part, **options)
    for backbone in backbones:
        for method in ("hidden", "logits", "extend"):
            register_fsdp_forward_method(backbone, method)
    for method in ("every", "of_candidates"):
        register_fsdp_forward_method(model.critic, method)


def _layer_lists(module: nn.Module) -> list[nn.ModuleList]:
    """The stacks of transformer layers, the vision tower's included."""
    named = module.named_modules()
    return [m for name, m in named if isinstance(m, nn.ModuleList) and name.endswith("layers")]
