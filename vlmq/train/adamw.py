"""AdamW in float32, whatever precision the weights have.

Half of bfloat16's spacing at 1 is 0.002, so a usual step, added to a weight of that precision, is rounded away. Such a
weight has a master in float32, which moves and from which it is rounded (P. Micikevicius et al., arXiv 1710.03740).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

MASTER = "master"
"""Its key in the state of a parameter."""


class AdamW(torch.optim.AdamW):
    """torch's AdamW; weights of less than float32's precision are moved through masters.

    The state of such a weight holds its master, and all of it is float32.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with self._masters() as stand_ins:
            self.move(stand_ins)
        return loss

    def move(self, stand_ins: dict[Tensor, Tensor]) -> None:
        """Move what the groups hold.

        Args:
            stand_ins: for each master, which stands in its weight's place now, that weight.
        """
        super().step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state; torch's own way would round it to the weights' precision."""
        super().load_state_dict(state_dict)
        names = [name for group in state_dict["param_groups"] for name in group["params"]]
        weights = [weight for group in self.param_groups for weight in group["params"]]
        for name, weight in zip(names, weights, strict=True):
            if is_low(weight):
                for key, value in state_dict["state"].get(name, {}).items():
                    if key != "step":
                        self.state[weight][key] = value.to(weight.device, torch.float32)

    @contextmanager
    def _masters(self) -> Iterator[dict[Tensor, Tensor]]:
        """Masters in the place of weights of low precision, whose gradients they take; these are rounded from them."""
        placed: list[tuple[list[Tensor], int, Tensor, Tensor]] = []
        for group in self.param_groups:
            for place, weight in enumerate(group["params"]):
                if weight.grad is not None and is_low(weight):
                    state = self.state.pop(weight, {})
                    master = state.pop(MASTER, None)
                    if master is None:
                        master = weight.detach().float()
                    master.grad, weight.grad = weight.grad.float(), None
                    if state:
                        self.state[master] = state
                    group["params"][place] = master
                    placed.append((group["params"], place, weight, master))
        try:
            yield {master: weight for _, _, weight, master in placed}
        finally:
            for members, place, weight, master in placed:
                master.grad = None
                members[place] = weight
                weight.detach().copy_(master)
                self.state[weight] = {**self.state.pop(master, {}), MASTER: master}


def is_low(weight: Tensor) -> bool:
    """Whether a weight has less than float32's precision."""
    return weight.is_floating_point() and torch.finfo(weight.dtype).bits < 32
