"""Where tokens stand: plain counts, or the three axes of a family whose rotary positions know height and width.

Families with such positions (Qwen2-VL and its successors) compute them themselves, and keep what they need of one call
for the next. Here they are computed once for every batch and given with it, so that acting and learning, packed and
padded, use the same ones, and a model remembers nothing between calls.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

PICTURE = 1
"""How these families mark a token of a picture; text is 0."""
_FROM_ONE = ("paligemma",)
"""Families that count positions from one."""


def positions(trunk: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Position ids of a batch of prompts or sequences.

    Args:
        trunk: the model without its language head.
        inputs: input_ids (R, L), attention_mask (R, L) or, packed, position_ids (R, L), and pixels.

    Returns:
        (R, L); for families with three axes (3, R, L), or packed (4, R, L), the plain count first.
    """
    packed = inputs.get("position_ids")
    count = packed if packed is not None else (inputs["attention_mask"].cumsum(-1) - 1).clamp_min(0)
    if trunk.config.model_type in _FROM_ONE:
        count = count + 1
    if not hasattr(trunk, "get_rope_index"):
        return count
    if packed is None:
        return _axes(trunk, inputs, inputs["attention_mask"], count)
    return torch.cat([packed[None], _of_packed(trunk, inputs, packed)])


def _axes(trunk: Any, inputs: dict[str, Tensor], mask: Tensor, count: Tensor) -> Tensor:
    """(3, R, L) of padded rows."""
    ids = inputs["input_ids"]
    grid = inputs.get("image_grid_thw")
    if grid is None:
        return count.expand(3, *count.shape)
    kinds = (ids == trunk.config.image_token_id).int() * PICTURE
    axes: Tensor = trunk.get_rope_index(ids, kinds, image_grid_thw=grid, attention_mask=mask)[0]
    return axes


def _of_packed(trunk: Any, inputs: dict[str, Tensor], packed: Tensor) -> Tensor:
    """(3, R, L) of rows in which several sequences stand; each counts from its own beginning."""
    row, start = (packed == 0).nonzero(as_tuple=True)
    after = torch.cat([start[1:], start.new_tensor([packed.shape[1]])])
    length = torch.where(torch.cat([row[1:], row.new_tensor([-1])]) == row, after, packed.shape[1]) - start
    place = torch.arange(int(length.max()), device=packed.device)
    own = place < length[:, None]
    column = (start[:, None] + place).clamp_max(packed.shape[1] - 1)
    apart = {**inputs, "input_ids": inputs["input_ids"][row[:, None], column]}
    axes = _axes(trunk, apart, own.long(), place.expand(len(row), -1))
    found = packed.expand(3, *packed.shape).clone()
    found[:, row[:, None].expand_as(own)[own], column[own]] = axes[:, own]
    return found
