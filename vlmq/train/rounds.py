"""Who plays the rounds of own play: the trainer in its own environments, or collectors beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

from vlmq.api import Episode
from vlmq.rollout import sync
from vlmq.rollout.backends import ProcessHandle, RayHandle, join_ray, put_into_ray
from vlmq.rollout.collector import Player, episode_seed
from vlmq.rollout.fleet import Fleet
from vlmq.rollout.host import Order
from vlmq.train import acting
from vlmq.train.arena import Arena, settle_lost, store_parts
from vlmq.train.ownplay import Explore
from vlmq.train.settings import Collectors

if TYPE_CHECKING:
    from vlmq.train.module import VlmqModule

STREAM, _SOURCE, _TITLE = "own play", "model", "playing"


class Rounds(Protocol):
    """Plays rounds into a store.

    Attributes:
        measured: what to log of the latest one.
    """

    measured: dict[str, float]

    def begin(self, number: int, missing: list[int], explore: Explore) -> None:
        """Have a round played from now on, where that is possible: its number, its episodes, how much they explore."""

    def play(self, folder: Path, number: int, missing: list[int], explore: Explore) -> list[int]:
        """Play a round, or await it, into a folder's store; gives the episodes whose environment kept breaking."""

    def repeats(self) -> bool:
        """Whether a round that is played again comes out the same to the last digit."""

    def close(self) -> None:
        """Stop whoever plays."""


class Here:
    """The trainer plays, each process its share, between two updates.

    Args:
        learner: whose policy.
        arena: the environments.
        temperature: of the sampling.
        seed: of the run.
    """

    def __init__(self, learner: VlmqModule, arena: Arena, *, temperature: float, seed: int) -> None:
        self.measured: dict[str, float] = {}
        self._learner, self._arena = learner, arena
        self._temperature, self._seed = temperature, seed

    def begin(self, number: int, missing: list[int], explore: Explore) -> None:
        """Nobody is free to play before the round is due."""

    def play(self, folder: Path, number: int, missing: list[int], explore: Explore) -> list[int]:
        """See `Rounds`."""
        policy = acting.policy(self._learner, temperature=self._temperature, seed=self._seed, explore=explore)
        return self._arena.play_into(
            folder, policy, missing, episode_seed(self._seed, STREAM), title=_TITLE, source=_SOURCE,
            policy_version=self._learner.schedule.made,
        )  # fmt: skip

    def repeats(self) -> bool:
        """See `Rounds`."""
        return not self._arena.asynchronous and self._learner.data.engine != "vllm"

    def close(self) -> None:
        """The environments are the arena's."""


class Beside:
    """Collectors play, from the moment a round is begun.

    Args:
        learner: whose policy.
        player: makes a collector's environments, once it has an encoder.
        settings: of the collectors.
        temperature: of the sampling.
        seed: of the run.
    """

    def __init__(
        self, learner: VlmqModule, player: Callable[..., Player], settings: Collectors, *, temperature: float,
        seed: int,
    ) -> None:  # fmt: skip
        self.measured: dict[str, float] = {"own_play/staleness": 0}
        self._learner, self._lag = learner, settings.lag
        self._temperature, self._seed = temperature, seed
        self._fleet = _fleet(learner, player, settings)

    def begin(self, number: int, missing: list[int], explore: Explore) -> None:
        """See `Rounds`."""
        policy, weights = acting.elsewhere(
            self._learner, temperature=self._temperature, seed=self._seed, explore=explore
        )
        version = self._learner.schedule.made
        if sync.rank() == 0:
            self._fleet.begin(number, Order(missing, self._seed, STREAM, _SOURCE, policy, version), weights)

    def play(self, folder: Path, number: int, missing: list[int], explore: Explore) -> list[int]:
        """See `Rounds`."""
        lost: list[tuple[int, str]] = []

        def parts() -> Iterator[list[Episode]]:
            for share in self._fleet.finish(number) if sync.rank() == 0 else ():
                lost.extend(share.lost)
                self.measured["own_play/staleness"] = self._learner.schedule.made - share.version
                yield share.episodes

        store_parts(folder, parts(), total=len(missing), title=_TITLE)
        return settle_lost(lost)

    def repeats(self) -> bool:
        """See `Rounds`."""
        if self._lag or self._learner.data.engine == "vllm":
            return False
        return not sync.anyone(sync.rank() == 0 and self._fleet.asynchronous)

    def close(self) -> None:
        """Stop the collectors."""
        self._fleet.close()


def _fleet(learner: VlmqModule, player: Callable[..., Player], settings: Collectors) -> Fleet:
    recipe = acting.recipe(learner, player, settings.device)
    if settings.backend == "ray":
        if sync.rank() == 0:
            join_ray(
                settings.address, cpus=settings.count * settings.cpus, gpus=settings.count * settings.gpus
            )
        return Fleet(
            lambda: RayHandle(recipe, settings.cpus, settings.gpus), settings.count, share=put_into_ray
        )
    threads = max(1, torch.get_num_threads() // settings.count)
    return Fleet(lambda: ProcessHandle(recipe, threads), settings.count)
