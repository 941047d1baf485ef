"""Playing episodes: a TorchRL collector over the bridge, asked for episodes by index.

An episode's seed is a function of its index, so which slot or process plays it changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from torchrl.collectors import Collector

from vlmq import counter
from vlmq.api import Episode
from vlmq.env import failures
from vlmq.env.address import local_id
from vlmq.env.bridge import PoolEnv
from vlmq.env.pool import make_pool
from vlmq.prompt.encode import Encoder
from vlmq.prompt.window import History
from vlmq.rollout import sync
from vlmq.rollout.actor import Actor
from vlmq.rollout.assemble import Assembler
from vlmq.rollout.policies import Context, Policy, Reply

_STEPS = 4
"""Turns of each environment that the collector hands over at once; what it does for each hand-over, it does rarely."""
_PATIENCE = 8
"""Episodes given up, or two for each environment if that is more, before one that never came to an end is hopeless."""


class Player:
    """N environments, an actor, and the loop between them. Close it, or use it in a `with`.

    Args:
        env_id: registered id, or `remote://host:port/ID`; episodes hold the id alone.
        num_envs: environments played at once.
        encoder: shared with the learner.
        env_args: keyword arguments of the environment.
        history: earlier turns in the context of a reply.
        max_reply: longest reply in tokens, end token included.
        workers: one process an environment; None takes what the environment declares.
        timeout_s: longest wait for an environment.
        asynchronous: reply to the environments that have answered while others are still at work; None: where each
            has its own process. Which replies are sampled in one batch depends on timing then, and with it the last
            digits of their log-probabilities.
        blank_images: replace every picture by a blank one.
        anyone: whether the flag is set on any process; keeps sharded ranks in step.

    Attributes:
        address: the id as given.
        works: whether the environment is known to play episodes to their end.
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int,
        encoder: Encoder,
        *,
        env_args: dict[str, Any] | None = None,
        history: History = History(),
        max_reply: int = 32,
        workers: bool | None = None,
        timeout_s: float = 60.0,
        asynchronous: bool | None = None,
        blank_images: bool = False,
        anyone: Callable[[bool], bool] = bool,
    ) -> None:
        pool = make_pool(
            env_id,
            num_envs,
            env_args=env_args,
            workers=workers,
            timeout_s=timeout_s,
            expert=True,
            blank_images=blank_images,
        )
        self.address, self.env_id = env_id, local_id(env_id)
        self.env_args = json.dumps(env_args or {}, sort_keys=True)
        has_image = pool.image_shape is not None
        self.asynchronous = pool.concurrent if asynchronous is None else asynchronous
        self._seed_of: Callable[[int], int] = lambda index: 0
        self._env = PoolEnv(
            pool,
            lambda index: self._seed_of(index),
            max_reply=max_reply,
            asynchronous=self.asynchronous,
        )
        self._actor = Actor(
            encoder,
            _Nobody(),
            history=history,
            max_reply=max_reply,
            action_bytes=pool.action_bytes,
            has_image=has_image,
        )
        self._assembler = Assembler(encoder, has_image=has_image)
        self._collector = Collector(
            self._env,
            self._actor,
            frames_per_batch=num_envs * _STEPS,
            total_frames=-1,
            track_traj_ids=False,
            trust_policy=True,
            return_same_td=True,
            auto_register_policy_transforms=False,
            split_trajs=False,
        )
        self._frames: Iterator[Any] | None = None
        self._anyone = anyone
        self._patience = max(_PATIENCE, 2 * num_envs)
        self.works = False

    def play(
        self,
        policy: Policy,
        episodes: Sequence[int],
        seed_of: Callable[[int], int],
        *,
        source: str,
        policy_version: int = -1,
        works: bool = False,
    ) -> Iterator[Episode]:
        """Play the named episodes to their end and yield them as they finish.

        Args:
            policy: who replies.
            episodes: indices; every one is played, but for those whose environment keeps breaking.
            seed_of: the seed of an index.
            source: name of the policy, stored with the episode.
            policy_version: updates made so far.
            works: that the environment is known to.

        Raises:
            PluginError: not one episode was played to its end, here or on another process, before so many were given
                up that none will be.
        """
        self.works |= works
        self._actor.policy = policy
        self._seed_of = seed_of
        self._env.enqueue(episodes)
        about = {
            "env_id": self.env_id, "env_args": self.env_args, "source": source,
            "policy_version": policy_version,
        }  # fmt: skip
        while self._anyone(self._env.busy):
            if self._frames is None:
                self._frames = iter(self._collector)
            for episode in self._assembler.add(next(self._frames), seed_of, **about):
                self.works = True
                yield replace(episode, env_id=self._env.played.pop(episode.index, self.env_id))
            if self._anyone(not self.works and len(self._env.discarded) >= self._patience):
                raise failures.unplayable(self.address, sync.everyone(self.discarded))

    @property
    def discarded(self) -> list[tuple[int, str]]:
        """Episodes given up so far because their environment kept breaking, with the reason."""
        return list(zip(self._env.discarded, self._env.reasons, strict=True))

    def close(self) -> None:
        """Stop the environments."""
        self._collector.shutdown()

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Nobody:
    """The policy before anyone was asked to play: every slot idles, so no reply is wanted."""

    reads_context = False

    def replies(self, contexts: list[Context]) -> list[Reply]:
        assert not contexts, "no episode was asked for, yet a reply is wanted"
        return []


def episode_seed(seed: int, stream: str) -> Callable[[int], int]:
    """Seeds of the episodes of one stream ("train", "evaluation") of a run."""
    name = counter.purpose(stream)
    return lambda index: counter.seed(seed, name, index)
