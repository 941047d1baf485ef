"""Replay: references into episode stores as TorchRL replay buffers, sampled by counters.

What update u draws is a pure function of (seed, u, episodes visible at u). The buffers hold references of fixed
shape, never pictures; two of them, offline and online, are mixed at any ratio from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.data.replay_buffers.samplers import Sampler

from vlmq import counter
from vlmq.api import DataError, Episode
from vlmq.data.batch import Fragment, Origin
from vlmq.data.priority import Priorities
from vlmq.data.store import EpisodeStore
from vlmq.prompt.window import History

_REPLAY = counter.purpose("replay")
_PRIORITY = counter.purpose("replay by priority")
_HELD_OUT = counter.purpose("held out")
_UNNUMBERED = 2**40
"""Stands before the position of an episode that has no index."""


class EpisodeSource(Protocol):
    """Episodes by index, made on demand: a pure function of the index."""

    def episode(self, index: int) -> Episode:
        """The episode with this index."""
        ...


class CounterSampler(Sampler):
    """Sampling with replacement, uniform or by priority; draws are named by (seed, stream, update, place in the batch).

    Args:
        seed: of the run.
        stream: tells this replay's draws from another's.
        priorities: of the turns.

    Attributes:
        update: that draws.
        by_priority: how many of the batch's last places are drawn by priority.
    """

    def __init__(self, seed: int, stream: int, priorities: Priorities) -> None:
        super().__init__()
        self.seed, self.stream, self.update, self.by_priority = seed, stream, 0, 0
        self._priorities = priorities

    def sample(self, storage: Any, batch_size: int) -> tuple[torch.Tensor, dict[str, Any]]:
        """Places in the storage, for the present update."""
        places = np.arange(batch_size)
        draw = counter.uniform(self.seed, _REPLAY, self.stream, self.update, places)
        drawn = (draw * len(storage)).astype(np.int64)
        if self.by_priority:
            last = places[-self.by_priority :]
            draw = counter.uniform(self.seed, _PRIORITY, self.stream, self.update, last)
            drawn[last] = self._priorities.draw(draw)
        return torch.from_numpy(drawn), {}

    def state_dict(self) -> dict[str, Any]:
        """The update it stands at."""
        return {"update": self.update}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stand at another update."""
        self.update = int(state_dict["update"])

    def _empty(self) -> None:
        """Nothing is kept between draws."""

    def dumps(self, path: Any) -> None:
        """Nothing is kept between draws."""

    def loads(self, path: Any) -> None:
        """Nothing is kept between draws."""


def held_out(seed: int, share: float, index: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which episodes the learner never trains on: a `share` of all indices, told by the index alone."""
    found: NDArray[np.bool_] = counter.uniform(seed, _HELD_OUT, index) < share
    return found


class TurnReplay:
    """A replay over one store: every visible turn is equally likely to start a fragment.

    Args:
        store: where the episodes are.
        seed: of the run.
        stream: tells this replay's draws from another's.
        history: context of a reply, see `vlmq.prompt.window`.
        fragment_turns: turns of one fragment; None takes the rest of the episode.
        among: which episodes it may ever show, by their indices; None for all.
    """

    def __init__(
        self,
        store: EpisodeStore,
        *,
        seed: int,
        stream: int,
        history: History,
        fragment_turns: int | None,
        among: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None = None,
    ) -> None:
        self.store = store
        self._among = among
        self._first = 0
        self.num_episodes = 0
        self.num_turns = 0
        self._history = history
        self._fragment_turns = fragment_turns
        self.stream = stream
        self.priorities = Priorities()
        self._sampler = CounterSampler(seed, stream, self.priorities)
        self._capacity = 0
        self._buffer: TensorDictReplayBuffer | None = None

    def show(self, below: int | None = None, first: int = 0) -> None:
        """Make every stored episode with an index from `first` and under `below` (or all) visible, in that order."""
        table = self.store.table
        # Imported episodes need have no index; each then has a number of its own all the same, after all others'.
        number = np.where(table["index"] < 0, _UNNUMBERED + np.arange(len(table)), table["index"])
        shown = number >= first
        if below is not None:
            shown &= number < below
        if self._among is not None:
            shown &= self._among(number)
        visible, number, positions = table[shown], number[shown], np.flatnonzero(shown)
        if (len(visible), first) == (self.num_episodes, self._first):
            return
        self._first = first
        order = np.argsort(number, kind="stable")
        turns = visible["num_turns"][order].astype(np.int64)
        references = TensorDict(
            {
                "episode": torch.from_numpy(np.repeat(positions[order], turns)),
                "turn": torch.from_numpy(np.arange(turns.sum()) - np.repeat(turns.cumsum() - turns, turns)),
                "place": torch.arange(int(turns.sum())),
            },
            batch_size=[int(turns.sum())],
        )
        self._fill(references)
        self.priorities.show(number[order].astype(np.int64), turns, visible["episode_return"][order])
        self.num_episodes, self.num_turns = len(visible), int(turns.sum())

    def sample(
        self, update: int, count: int, places: Sequence[int], by_priority: int = 0, later: bool = False
    ) -> list[Fragment]:
        """Of the `count` fragments that update `update` draws, the last `by_priority` ones so, those at `places`.

        With `later` each comes with the turns after it, without their pictures.
        """
        if self._buffer is None or self.num_turns == 0:
            raise DataError(
                f"{self.store.path}: the replay is empty; collect episodes first (`vlmq collect`)."
            )
        self._sampler.update, self._sampler.by_priority = update, by_priority
        drawn = self._buffer.sample(count)
        return [
            replace(
                self._read(int(drawn["episode"][place]), int(drawn["turn"][place]), later),
                origin=Origin(self.stream, int(drawn["place"][place]), place < count - by_priority),
            )
            for place in places
        ]

    def _fill(self, references: TensorDict) -> None:
        size = references.batch_size[0]
        if self._buffer is None or size > self._capacity:
            self._capacity = max(1024, 2 * size)
            self._buffer = TensorDictReplayBuffer(
                storage=LazyTensorStorage(self._capacity), sampler=self._sampler
            )
        self._buffer.empty()
        self._buffer.extend(references)

    def _read(self, position: int, turn: int, later: bool) -> Fragment:
        row = self.store.table[position]
        length = int(row["num_turns"])
        stop = length if self._fragment_turns is None else min(length, turn + self._fragment_turns)
        start = self._history.start(turn)
        turns, following = self.store.read(position, start, stop)
        terminated = bool(row["terminated"]) and stop == length
        outcome = bool(row["success"]), float(row["episode_return"])
        rest = self.store.outline(position).turns[stop:] if later and stop < length else ()
        return Fragment(turns, start, turn - start, following, terminated, *outcome, later=rest)


class StreamReplay:
    """Episodes made on demand, each seen once: fragment j of update u is episode u * count + j."""

    def __init__(self, source: EpisodeSource) -> None:
        self._source = source

    def sample(
        self, update: int, count: int, places: Sequence[int], by_priority: int = 0, later: bool = False
    ) -> list[Fragment]:
        """Of the `count` whole episodes that update `update` sees, those at `places`."""
        episodes = [self._source.episode(update * count + place) for place in places]
        return [
            Fragment(e.turns, 0, 0, e.final_observation, e.terminated, e.success, e.episode_return)
            for e in episodes
        ]
