"""Where a page's episodes come from: a store or a JSONL file, all of them or some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from vlmq.api import Episode, UserError
from vlmq.data.files import META
from vlmq.data.jsonl import read_jsonl
from vlmq.data.store import EpisodeStore


def is_store(path: Path) -> bool:
    """Whether a folder holds recorded episodes."""
    return (path / META).is_file()


def some(path: Path, count: int, *, latest: bool = False) -> Iterator[Episode]:
    """The latest episodes of a store, the last one first, or some that are evenly spread; none where there is none."""
    if not is_store(path):
        return
    with EpisodeStore.open(path) as store:
        order = np.argsort(store.table["index"], kind="stable")
        if latest:
            order = order[::-1][:count]
        elif len(order) > count:
            order = order[np.unique(np.linspace(0, len(order) - 1, count).astype(int))]
        for position in order:
            yield store[int(position)]


def these(path: Path, indices: Sequence[int]) -> Iterator[Episode]:
    """The episodes of these indices, in this order.

    Raises:
        UserError: one is not there.
    """
    with EpisodeStore.open(path) as store:
        for index in indices:
            position = store.position_of(index)
            if position is None:
                known = store.table["index"]
                there = f"has {known.min()} to {known.max()}" if len(known) else "is empty"
                raise UserError(f"{path} holds no episode {index}; it {there}.")
            yield store[position]


def told(path: Path, count: int) -> Iterator[Episode]:
    """The first episodes of a JSONL file."""
    yield from islice(read_jsonl(path), count)
