"""Keys and values kept from one turn of an episode to the next, whose prompt begins with all that was read before.

What is kept is compared before it is used: the ids of every prompt and reply, number by number, and their pictures
as the model gets them. It is forgotten as soon as a weight has changed. Rows of a batch may have read unequal lengths:
what they have read stands at the right end of the cache, what is new at the right end of the batch, and the attention
mask leaves out what lies between.

A family's keys and values can be kept where a token sees what stands before it and nothing else, and where every layer
holds them token by token. Gemma 3 and PaliGemma look ahead, convolutions and linear attention hold a running state,
layers with a sliding window have let go of the beginning, and of an adapter's model nobody has shown it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from vlmq.model.attention import reusable
from vlmq.model.backbone import Backbone


class Part(NamedTuple):
    """A prompt or a reply: its ids (n,), and what the image processor made of its picture."""

    ids: NDArray[np.int32]
    pixels: Mapping[str, NDArray[Any]] | None = None


class Before(NamedTuple):
    """What R rows have read already.

    Attributes:
        cache: keys and values in P columns, each row's at the right end; it grows as the rows go on.
        mask: (R, P), 1 where a column is the row's.
        position: (R,) that of the token which follows.
    """

    cache: Any
    mask: Tensor
    position: Tensor


class Read(NamedTuple):
    """What a batch of prompts and the replies to it left behind.

    Attributes:
        cache: keys and values: what had been read before, then the batch's columns, then a column for each token of
            a reply but the last.
        mask: (R, S) of the batch.
        positions: (R, S), or (3, R, S), of the batch.
        before: what had been read before it.
    """

    cache: Any
    mask: Tensor
    positions: Tensor
    before: Before | None


@dataclass(eq=False)
class _Block:
    """Keys and values of several rows, layer by layer (R, H, W, D), each row's at the right end."""

    layers: list[tuple[Tensor, Tensor]]

    @property
    def size(self) -> int:
        return sum(part.numel() * part.element_size() for layer in self.layers for part in layer)


@dataclass(eq=False)
class _Entry:
    """What one slot has read: its parts, where each ends, which position follows it; how much of it is in the block."""

    parts: list[Part]
    ends: list[int]
    nexts: list[int]
    length: int
    block: _Block
    row: int


class Found(NamedTuple):
    """What of some contexts is kept.

    Attributes:
        lengths: for each context, how many of its first tokens need not be read again.
        position: for each, the position that follows them.
    """

    lengths: list[int]
    position: list[int]
    entries: list[_Entry | None]

    def before(self, repeats: int = 1) -> Before | None:
        """As a batch starts from it, every context so many times in a row; None where nothing is kept."""
        longest = max(self.lengths)
        if not longest:
            return None
        layers = self._as_they_lie(longest) or self._gathered(longest)
        if repeats > 1:
            layers = [(k.repeat_interleave(repeats, 0), v.repeat_interleave(repeats, 0)) for k, v in layers]
        device = layers[0][0].device
        lengths, position = (
            torch.tensor(numbers, device=device).repeat_interleave(repeats)
            for numbers in (self.lengths, self.position)
        )
        columns = torch.arange(longest, device=device)
        return Before(_cache(layers), (columns >= longest - lengths[:, None]).long(), position)

    def _as_they_lie(self, longest: int) -> list[tuple[Tensor, Tensor]] | None:
        """A block's own tensors, where its rows are these: nothing is copied then."""
        known = [(row, entry) for row, entry in enumerate(self.entries) if entry is not None]
        block = known[0][1].block
        keys = block.layers[0][0]
        same = all(
            entry.block is block and entry.row == row and self.lengths[row] in (0, entry.length)
            for row, entry in known
        )
        if not same or keys.shape[0] != len(self.entries) or keys.shape[2] != longest:
            return None
        return block.layers

    def _gathered(self, longest: int) -> list[tuple[Tensor, Tensor]]:
        like = next(entry for entry in self.entries if entry is not None).block.layers
        layers = [
            (
                k.new_zeros(len(self.entries), k.shape[1], longest, k.shape[3]),
                v.new_zeros(len(self.entries), v.shape[1], longest, v.shape[3]),
            )
            for k, v in like
        ]
        for row, (entry, length) in enumerate(zip(self.entries, self.lengths, strict=True)):
            if entry is None or not length:
                continue
            for kept, into in zip(entry.block.layers, layers, strict=True):
                for source, target in zip(kept, into, strict=True):
                    start = source.shape[2] - entry.length
                    target[row, :, longest - length :] = source[entry.row, :, start : start + length]
        return layers


class Kept:
    """What every slot has read so far, within a budget of memory; the slots asked longest ago go first.

    Args:
        backbone: whose keys and values they are.
        capacity_bytes: of all that is kept; a batch that needs more alone is not kept. 0 keeps nothing.

    Attributes:
        asked: tokens of contexts so far.
        spared: those among them that were not read again.
    """

    def __init__(self, backbone: Backbone, capacity_bytes: int) -> None:
        self._backbone, self._capacity = backbone, capacity_bytes
        self._entries: dict[int, _Entry] = {}
        self._version: tuple[Any, ...] = ()
        self.asked = self.spared = 0
        if not reusable(backbone.model_type):
            self._capacity = 0

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return sum({id(entry.block): entry.block.size for entry in self._entries.values()}.values())

    def find(self, slots: Sequence[int], contexts: Sequence[Sequence[Part]]) -> Found:
        """What of these contexts has been read; the last prompt of each is to be read in any case.

        Args:
            slots: whose they are.
            contexts: prompts and replies in turn.
        """
        if self._entries and self._version != _version(self._backbone):
            self._entries.clear()
        lengths, position = [0] * len(slots), [0] * len(slots)
        entries: list[_Entry | None] = [self._entries.get(slot) for slot in slots]
        for index, (entry, context) in enumerate(zip(entries, contexts, strict=True)):
            if entry is not None and (same := _common(entry.parts, context[:-1])):
                lengths[index] = min(entry.ends[same - 1], entry.length)
                # What is missing of a part is the last token of a reply, and in text positions count by one.
                position[index] = entry.nexts[same - 1] - (entry.ends[same - 1] - lengths[index])
            else:
                entries[index] = None  # another episode, or a window that has moved on
        self.asked += sum(len(part.ids) for context in contexts for part in context)
        self.spared += sum(lengths)
        return Found(lengths, position, entries)

    def keep(
        self, slots: Sequence[int], contexts: Sequence[Sequence[Part]], rows: Sequence[int], read: Read
    ) -> None:
        """Take what a batch has read in place of what these slots had.

        Args:
            slots: whose rows they are.
            contexts: what each row has read: prompts and replies in turn, a reply last.
            rows: which rows of the batch they are.
            read: what the batch left behind.
        """
        old = {slot: self._entries.pop(slot, None) for slot in slots}
        if not slots or not self._capacity:
            return
        if not all(type(layer) is DynamicLayer and layer.is_initialized for layer in read.cache.layers):
            self._capacity = 0  # a layer that does not hold every token
            return
        layers = [(layer.keys, layer.values) for layer in read.cache.layers]
        ends = [np.cumsum([len(part.ids) for part in context]).tolist() for context in contexts]
        taken = _columns([each[-1] - 1 for each in ends], rows, read)
        size = sum(
            taken.size * part.shape[1] * part.shape[3] * part.element_size()
            for layer in layers
            for part in layer
        )
        if size > self._capacity:
            return
        self._make_room(size)
        self._version = _version(self._backbone)
        device = layers[0][0].device
        which = torch.tensor(rows, device=device)
        columns = torch.from_numpy(taken).to(device)[:, None, :, None]
        block = _Block([(_pick(k, which, columns), _pick(v, which, columns)) for k, v in layers])
        for place, (slot, context, row) in enumerate(zip(slots, contexts, rows, strict=True)):
            nexts = _nexts(old[slot], ends[place], row, read)
            self._entries[slot] = _Entry(list(context), ends[place], nexts, ends[place][-1] - 1, block, place)

    def forget(self, slots: Sequence[int]) -> None:
        """Let go of what these slots had."""
        for slot in slots:
            self._entries.pop(slot, None)

    def _make_room(self, size: int) -> None:
        while self._entries and self.size + size > self._capacity:
            self._entries.pop(next(iter(self._entries)))


def _columns(lengths: Sequence[int], rows: Sequence[int], read: Read) -> NDArray[np.int64]:
    """(N, W) columns of a batch's cache that hold what N of its rows have read, each row's at the right end."""
    past_mask = read.mask[:, :0] if read.before is None else read.before.mask
    past, new = past_mask.shape[1], read.mask.shape[1]
    had, own = past_mask.sum(1).cpu().numpy(), read.mask.sum(1).cpu().numpy()
    columns = np.zeros((len(rows), max(lengths)), np.int64)
    for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        prompt = np.concatenate(
            [np.arange(past - had[row], past), np.arange(past + new - own[row], past + new)]
        )
        reply = past + new + np.arange(length - len(prompt))
        columns[place, columns.shape[1] - length :] = np.concatenate([prompt, reply])
    return columns


def _nexts(old: _Entry | None, ends: list[int], row: int, read: Read) -> list[int]:
    """The position that follows each part of a row; of those that were not read again it is known."""
    had = 0 if read.before is None else int(read.before.mask[row].sum())
    own = int(read.mask[row].sum())
    # In text all axes of a position agree, and every part ends with text.
    positions = read.positions.reshape(-1, *read.mask.shape)[0, row, read.mask.shape[1] - own :].tolist()
    found = []
    for index, end in enumerate(ends):
        if end <= had:
            assert old is not None
            found.append(old.nexts[index])
        elif end - had <= own:
            found.append(positions[end - had - 1] + 1)
        else:
            found.append(positions[-1] + 1 + end - had - own)
    return found


def _common(one: Sequence[Part], other: Sequence[Part]) -> int:
    """How many parts two contexts have in common, from the beginning."""
    for count, (a, b) in enumerate(zip(one, other, strict=False)):
        if not _same(a, b):
            return count
    return min(len(one), len(other))


def _same(one: Part, other: Part) -> bool:
    if one.ids is not other.ids and not np.array_equal(one.ids, other.ids):
        return False
    if one.pixels is other.pixels:
        return True
    if one.pixels is None or other.pixels is None or one.pixels.keys() != other.pixels.keys():
        return False
    return all(np.array_equal(one.pixels[name], other.pixels[name]) for name in one.pixels)


def _pick(source: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Of (R, H, L, D) some rows, and some columns of each."""
    chosen = source if len(rows) == len(source) else source[rows]
    return chosen.gather(2, columns.expand(-1, source.shape[1], -1, source.shape[3]))


def _cache(layers: Sequence[tuple[Tensor, Tensor]]) -> DynamicCache:
    """Keys and values as transformers takes them; they are not written to, for its layers grow by joining."""
    cache = DynamicCache()
    for keys, values in layers:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def _version(backbone: Backbone) -> tuple[Any, ...]:
    """Another one once a weight has been written to, or replaced."""
    return tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in backbone.parameters())
