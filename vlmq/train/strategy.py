"""Sharding the actor-critic with FSDP2."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from vlmq.model.actor_critic import ActorCritic


def shard(model: ActorCritic, mesh: DeviceMesh) -> None:
    """Shard in place over the data-parallel dimension: each transformer layer, each critic, then the rest.

    The critics are groups of their own. The backbone is one too, so that acting, which never runs the whole
    module's forward, gathers its weights as learning does.

    Args:
        model: the actor-critic, unsharded.
        mesh: as Lightning's ModelParallelStrategy makes it.
    """
    options: dict[str, Any] = {"mesh": mesh["data_parallel"] if "data_parallel" in (mesh.mesh_dim_names or ()) else mesh}
    for layers in _layer_lists(model.backbone):
        for layer in layers:
            fully_shard(layer, **options)
    fully_shard(model.critic, **options)
    fully_shard(model.target_critic, **options)
    fully_shard(model.backbone, **options)
    for method in ("hidden", "logits", "extend"):
        register_fsdp_forward_method(model.backbone, method)


def _layer_lists(module: nn.Module) -> list[nn.ModuleList]:
    """The stacks of transformer layers, the vision tower's included."""
    return [m for name, m in module.named_modules() if isinstance(m, nn.ModuleList) and name.endswith("layers")]
