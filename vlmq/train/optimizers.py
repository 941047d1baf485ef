"""The optimizer: one group of parameters for the trunk and one for the critic, each with its own rate and clipping."""

from __future__ import annotations

from typing import Any, Literal

import torch

from vlmq.api import UserError
from vlmq.model.actor_critic import ActorCritic
from vlmq.train.adamw import AdamW
from vlmq.train.muon import Muon, inner_matrices

OptimizerName = Literal["adamw", "muon"]
GROUPS = ("trunk", "critic")
_BETAS = (0.9, 0.98)


def build(
    model: ActorCritic, name: OptimizerName, trunk_rate: float, critic_rate: float, *, weight_decay: float
) -> torch.optim.Optimizer:
    """An optimizer of the trainable weights.

    Args:
        model: whose.
        name: `muon` is AdamW but for the trunk's inner matrices, which must be whole.
        trunk_rate: learning rate of the trunk, or its adapters.
        critic_rate: of the critic.
        weight_decay: of both.

    Raises:
        UserError: weights of float16, whose gradients are too small for it.
    """
    if any(p.dtype == torch.float16 for p in model.backbone.parameters()):
        raise UserError(
            "model.dtype float16 holds no gradient below 6e-8 and no loss is scaled here, so nothing is trained in it; "
            "set model.dtype bfloat16 or float32."
        )
    groups: list[dict[str, Any]] = [
        {"params": [p for p in part.parameters() if p.requires_grad], "lr": rate, "base": rate}
        for part, rate in ((model.backbone, trunk_rate), (model.critic, critic_rate))
    ]
    if name == "adamw":
        return AdamW(groups, weight_decay=weight_decay, betas=_BETAS)
    return Muon(groups, inner_matrices(model.backbone), weight_decay=weight_decay, betas=_BETAS)


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's learning rate to this share of the rate it was built with."""
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * factor


def clip(optimizer: torch.optim.Optimizer, most: float) -> dict[str, float]:
    """Clip each group's gradients on their own; gives their norms before that.

    Args:
        optimizer: whose.
        most: largest norm of a group.
    """
    norms: dict[str, float] = {}
    for name, group in zip(GROUPS, optimizer.param_groups, strict=True):
        norm = torch.nn.utils.clip_grad_norm_(group["params"], most)
        if hasattr(norm, "full_tensor"):
            norm = norm.full_tensor()
        norms[f"gradient_norm/{name}"] = float(norm)
    return norms
