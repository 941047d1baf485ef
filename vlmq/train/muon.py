"""Muon for the matrices inside the trunk, AdamW for everything else, as one optimizer.

Muon steps along the nearest orthogonal matrix to the momentum (K. Jordan, 2024, "Muon: an optimizer for hidden
layers in neural networks"), its size matched to AdamW's as in J. Liu et al., arXiv 2502.16982. torch.optim.Muon
holds matrices only and works in bfloat16, which a CPU emulates; this one works in float32, on all matrices of a
shape at once.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

import torch
from torch import Tensor, nn

from vlmq.train.adamw import AdamW

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5
_MATCH_ADAMW = 0.2
"""Root mean square of a usual AdamW step at learning rate 1."""


class Muon(AdamW):
    """AdamW, with Muon for some of its matrices.

    Args:
        groups: parameter groups as for AdamW.
        matrices: the parameters among them, of two dimensions each, that Muon moves.
        momentum: of Muon (Nesterov's).
        adamw: further arguments of AdamW; the weight decay and the learning rates are Muon's too.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        matrices: frozenset[nn.Parameter],
        momentum: float = 0.95,
        **adamw: Any,
    ) -> None:
        self.matrices, self.momentum = matrices, momentum
        super().__init__(groups, **adamw)

    def move(self, stand_ins: dict[Tensor, Tensor]) -> None:
        """Muon's matrices first, whose gradients it uses up, then AdamW's parameters."""
        for group in self.param_groups:
            self._move_matrices(group, stand_ins)
        super().move(stand_ins)

    @torch.no_grad()
    def _move_matrices(self, group: dict[str, Any], stand_ins: dict[Tensor, Tensor]) -> None:
        shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for parameter in group["params"]:
            if stand_ins.get(parameter, parameter) in self.matrices and parameter.grad is not None:
                shapes[parameter.shape].append(parameter)
        for shape, parameters in shapes.items():
            directions = []
            for parameter in parameters:
                gradient = cast(Tensor, parameter.grad)
                state = self.state[parameter]
                if "momentum" not in state:
                    state["step"] = torch.zeros(())  # AdamW looks for it in whatever it restores
                    state["momentum"] = torch.zeros_like(gradient)
                state["step"] += 1
                mean = state["momentum"].lerp_(gradient, 1.0 - self.momentum)
                directions.append(gradient.lerp(mean, self.momentum).float())
                parameter.grad = None
            rate = group["lr"] * _MATCH_ADAMW * max(shape) ** 0.5
            for parameter, direction in zip(parameters, orthogonal(torch.stack(directions)), strict=True):
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                parameter.add_(direction.to(parameter.dtype), alpha=-rate)


def inner_matrices(model: nn.Module) -> frozenset[nn.Parameter]:
    """The trainable matrices of `model` but for embeddings, and for what is tied to them."""
    embeddings = {m.weight for m in model.modules() if isinstance(m, nn.Embedding)}
    return frozenset(p for p in model.parameters() if p.requires_grad and p.ndim == 2 and p not in embeddings)


def orthogonal(matrices: Tensor) -> Tensor:
    """(n, rows, columns) -> the same shape: about the nearest orthogonal matrices, singular values 0.7 to 1.2.

    Five steps of the quintic Newton-Schulz iteration with Jordan's coefficients.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_STEPS):
        gram: Tensor = x @ x.mT
        x = a * x + torch.baddbmm(gram, gram, gram, beta=b, alpha=c) @ x
    return x.mT if tall else x
