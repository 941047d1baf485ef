"""A collector beside the trainer, as it is where it works: what it is made of, and the share of a round that it plays.

It has environments and a copy of the model of its own. An episode is a function of its index and of the weights:
whoever plays it, it is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmq.api import Episode
from vlmq.model.backbone import Backbone
from vlmq.prompt.encode import Encoder
from vlmq.rollout.collector import Player, episode_seed
from vlmq.rollout.policies import Policy


@dataclass(frozen=True)
class Recipe:
    """What a collector is made of, over there. Everything is picklable: functions of modules, their arguments.

    Attributes:
        encoder: makes the encoder.
        backbone: makes the model.
        player: makes the environments.
        device: where the model is.
    """

    encoder: Callable[[], Encoder]
    backbone: Callable[[], Backbone]
    player: Callable[[Encoder], Player]
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Order:
    """A share of a round.

    Attributes:
        indices: of the episodes.
        seed: of the run.
        stream: of the episodes' seeds, see `episode_seed`.
        source: stored with each episode.
        policy: makes who plays of the model and the encoder.
        version: updates that made the weights.
    """

    indices: list[int]
    seed: int
    stream: str
    source: str
    policy: Callable[[Backbone, Encoder], Policy]
    version: int


@dataclass(frozen=True, eq=False)
class Weights:
    """Named weights in one piece of memory, so that one handle is enough to share them.

    Attributes:
        data: uint8 (bytes,), one parameter after the other; an array where they are in memory of Ray's, read-only.
        layout: of each, in order: name, dtype, shape.
    """

    data: Tensor | NDArray[np.uint8]
    layout: tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]

    @classmethod
    def of(cls, backbone: Backbone, *, frozen_too: bool) -> Weights:
        """A copy of a model's weights on the CPU. Where they are sharded, every process must call this.

        Args:
            backbone: the model.
            frozen_too: not only those that are trained.
        """
        named = [(n, p.detach()) for n, p in backbone.named_parameters() if frozen_too or p.requires_grad]
        whole = [(name, _whole(parameter).cpu().contiguous()) for name, parameter in named]
        layout = tuple((name, value.dtype, tuple(value.shape)) for name, value in whole)
        return cls(torch.cat([value.view(-1).view(torch.uint8) for _, value in whole]), layout)

    @torch.no_grad()
    def load_into(self, backbone: Backbone) -> None:
        """Set these parameters; the others stay."""
        own = dict(backbone.named_parameters())
        place = 0
        for name, dtype, shape in self.layout:
            size = math.prod(shape) * dtype.itemsize
            piece = self.data[place : place + size]
            # a copy of its own: the piece may not begin where its type must
            whole = piece.clone() if isinstance(piece, Tensor) else torch.from_numpy(piece.copy())
            own[name].copy_(whole.view(dtype).view(shape))
            place += size


def _whole(value: Tensor) -> Tensor:
    full: Callable[[], Tensor] | None = getattr(value, "full_tensor", None)
    return value if full is None else full()


@dataclass(frozen=True, eq=False)
class Played:
    """A share that was played.

    Attributes:
        version: updates that made the weights.
        episodes: by index.
        lost: those whose environment kept breaking, with the reason.
    """

    version: int
    episodes: list[Episode]
    lost: list[tuple[int, str]]


class Host:
    """One collector, in the process or on the machine where it works. It is made when it is first asked.

    Args:
        recipe: what it is made of.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._encoder: Encoder | None = None

    def asynchronous(self) -> bool:
        """Whether what it plays depends on timing in its last digits."""
        self._make()
        return self._player.asynchronous

    def play(self, order: Order, weights: Weights | None = None) -> Played:
        """Play a share.

        Args:
            order: which.
            weights: what differs from the model as it is made; None where they are those of the share before.
        """
        encoder = self._make()
        if weights is not None:
            weights.load_into(self._backbone)
        before = len(self._player.discarded)
        played = self._player.play(
            order.policy(self._backbone, encoder),
            order.indices,
            episode_seed(order.seed, order.stream),
            source=order.source,
            policy_version=order.version,
        )
        episodes = sorted(played, key=lambda episode: episode.index)
        return Played(order.version, episodes, self._player.discarded[before:])

    def _make(self) -> Encoder:
        if self._encoder is None:
            encoder = self._recipe.encoder()
            self._backbone = self._recipe.backbone().to(self._recipe.device).eval()
            self._player = self._recipe.player(encoder)
            self._encoder = encoder
        return self._encoder
