"""Several causal sequences in each row of a batch: sequences of unequal length then leave less padding."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmq.prompt.encode import Encoder, Row


class Packed(NamedTuple):
    """R sequences in at most R rows.

    Attributes:
        rows: the joined sequences.
        row: (R,) the row that each sequence went into.
        start: (R,) the position it begins at.
    """

    rows: list[Row]
    row: NDArray[np.int64]
    start: NDArray[np.int64]


def pack(rows: list[Row]) -> Packed:
    """Join sequences so that no row becomes longer than the longest of them: first fit, the longest first."""
    longest = max(len(row.ids) for row in rows)
    members: list[list[int]] = []
    lengths: list[int] = []
    into, start = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for index in sorted(range(len(rows)), key=lambda i: -len(rows[i].ids)):
        own = len(rows[index].ids)
        place = next((p for p, length in enumerate(lengths) if length + own <= longest), len(lengths))
        if place == len(lengths):
            members.append([])
            lengths.append(0)
        into[index], start[index] = place, lengths[place]
        members[place].append(index)
        lengths[place] += own
    joined = [
        Row(np.concatenate([rows[i].ids for i in own]), tuple(p for i in own for p in rows[i].pixels))
        for own in members
    ]
    return Packed(joined, into, start)


def collate_packed(rows: list[Row], encoder: Encoder) -> tuple[dict[str, Tensor], Packed]:
    """Inputs in which a token sees its own sequence alone, and where each sequence went.

    Positions begin anew with each sequence and there is no attention mask: from such positions transformers makes
    the block-wise causal mask, whatever implementation of attention runs.

    Args:
        rows: R sequences.
        encoder: batches ids and pixels.

    Returns:
        input_ids and position_ids (at most R, L) int64 with what the image processor gave, and the packing.
    """
    packed = pack(rows)
    inputs = encoder.collate(packed.rows, left=False)
    filled = inputs.pop("attention_mask").sum(1).numpy()
    positions = np.tile(np.arange(inputs["input_ids"].shape[1]), (len(packed.rows), 1))
    for place, end in enumerate(filled):
        # What pads a row counts as a sequence of its own.
        positions[place, end:] -= end
    for row, place, start in zip(rows, packed.row, packed.start, strict=True):
        positions[place, start : start + len(row.ids)] = np.arange(len(row.ids))
    return inputs | {"position_ids": torch.from_numpy(positions)}, packed
