"""Contexts read from where the last turn's reading ended, and replies to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmq.model.backbone import Backbone
from vlmq.model.generate import Guide, Sampled, Sampling, sample_after
from vlmq.model.reuse import Kept, Part
from vlmq.prompt.encode import Encoder, Row, Segment

REUSE_GB = 2.0
"""Memory for what is kept, where nobody says otherwise."""


class Asked(NamedTuple):
    """A context that wants a reply.

    Attributes:
        segments: prompts in the window, the one to answer last.
        replies: ids of the replies between them.
        slot: who asks.
        grows: whether the slot's next context begins as this one does.
    """

    segments: Sequence[Segment]
    replies: Sequence[NDArray[np.int32]]
    slot: int
    grows: bool


class Reader:
    """Samples replies, and keeps what it has read for the turns that follow.

    Args:
        backbone: trunk and language head.
        encoder: the one that made the contexts.
        reuse_gb: memory for what is kept, in GB; 0 reads every context from its beginning.

    Attributes:
        kept: what every slot has read.
    """

    def __init__(self, backbone: Backbone, encoder: Encoder, reuse_gb: float) -> None:
        self._backbone, self._encoder = backbone, encoder
        self.kept = Kept(backbone, int(reuse_gb * 1e9))

    def sample(
        self,
        asked: Sequence[Asked],
        noise: NDArray[np.int64],
        sampling: Sampling,
        *,
        guide: Guide | None = None,
        best_of: int = 1,
        anyone: Callable[[bool], bool] = bool,
    ) -> tuple[Sampled, list[int]]:
        """Draw so many replies to each context; gives all of them, and which of each context's is the best.

        Args:
            asked: the contexts.
            noise: counters of each reply's noise, one row a reply.
            sampling: how to draw.
            guide: see `sample_after`.
            best_of: replies to each.
            anyone: see `sample_after`.
        """
        contexts = [_parts(context) for context in asked]
        found = self.kept.find([context.slot for context in asked], contexts)
        rows = [_unread(*both) for both in zip(contexts, found.lengths, strict=True) for _ in range(best_of)]
        device = next(self._backbone.parameters()).device
        inputs = {name: value.to(device) for name, value in self._encoder.collate(rows, left=True).items()}
        was_training = self._backbone.training
        self._backbone.eval()
        try:
            sampled, read = sample_after(
                self._backbone, inputs, noise, sampling, found.before(best_of), guide=guide, anyone=anyone
            )
        finally:
            self._backbone.train(was_training)
        best = sampled.worth.reshape(-1, best_of).argmax(1) + best_of * np.arange(len(asked))
        chosen = best.tolist()
        self.kept.forget([context.slot for context in asked if not context.grows])
        growing = [index for index, context in enumerate(asked) if context.grows]
        self.kept.keep(
            [asked[index].slot for index in growing],
            [[*contexts[index], Part(sampled.ids[chosen[index]])] for index in growing],
            [chosen[index] for index in growing],
            read,
        )
        return sampled, chosen


def _parts(context: Asked) -> list[Part]:
    parts: list[Part] = []
    for index, segment in enumerate(context.segments):
        parts.append(Part(segment.ids, segment.pixels))
        if index < len(context.replies):
            parts.append(Part(context.replies[index]))
    return parts


def _unread(parts: Sequence[Part], length: int) -> Row:
    """What of a context comes after its first tokens, which hold no picture in part."""
    ends = np.cumsum([len(part.ids) for part in parts])
    pictures = tuple(
        part.pixels for part, end in zip(parts, ends, strict=True) if end > length and part.pixels is not None
    )
    return Row(np.concatenate([part.ids for part in parts])[length:], tuple(dict(p) for p in pictures))
