"""A pool of environments as ONE batched TorchRL environment: the only file that knows both.

Every leaf is dense: text and actions are fixed-capacity UTF-8 bytes with a length. Episodes are counters: `enqueue`
names the episodes to play, a slot that is free takes the next one at its reset, and a slot with nothing left to play
idles (episode -1) until there is. An environment that breaks never raises through TorchRL: its slot ends with
`failed`, and the episode is played again on the fresh environment of the same slot (another slot's may be about to
break for the same reason, as where a server dies), then given up.

Asynchronous, a step does not wait for every environment: a slot whose environment is still at work is `waiting`, and
takes part again in the step after its answer. While some environments work, the policy replies to the others.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Binary, Composite, Unbounded
from torchrl.envs import EnvBase

from vlmq import counter, keys
from vlmq.api import ContractError
from vlmq.env import failures
from vlmq.env.pool import Pool, Step

log = logging.getLogger(__name__)

_RANDOM_ACTION = counter.purpose("random action")


class PoolEnv(EnvBase):
    """N environments of a pool, stepped together.

    Args:
        pool: the environments; closed with this object.
        seed_of: the seed of an episode, by its index.
        max_reply: capacity of a reply in tokens.
        retries: how often an episode is played again after its environment broke.
        asynchronous: do not wait for an environment that takes longer than the policy does.

    Attributes:
        discarded: indices of episodes given up because their environment kept breaking.
        reasons: why, one sentence each.
        played: of episodes that the environment calls those of another id: which, by index. For whoever takes the
            episode to remove.
    """

    def __init__(
        self,
        pool: Pool,
        seed_of: Callable[[int], int],
        *,
        max_reply: int,
        retries: int = 1,
        asynchronous: bool = False,
    ) -> None:
        super().__init__(device=None, batch_size=[pool.num_envs])
        self.pool = pool
        self.seed_of = seed_of
        self.discarded: list[int] = []
        self.reasons: list[str] = []
        self.played: dict[int, str] = {}
        self._told: set[str] = set()
        self._max_reply = max_reply
        self._retries = retries
        self._attempts: dict[int, int] = {}
        self._queue: deque[int] = deque()
        self._again: dict[int, int] = {}
        n = pool.num_envs
        self._episode = np.full(n, -1, np.int64)
        self._seed = np.zeros(n, np.int64)
        self._turn = np.zeros(n, np.int64)
        self._failed = np.zeros(n, bool)
        self._steps: list[Step | None] = [None] * n
        self._asynchronous = asynchronous
        self._waiting = np.zeros(n, bool)
        self._asked_at = np.zeros(n)
        self._usual = np.zeros(n)
        self._shown_at = time.monotonic()
        self._blank = np.zeros((n, *(pool.image_shape or (0, 0, 3))), np.uint8)
        self._make_specs(n)

    # -- what the collector's owner says ---------------------------------------------------------------------

    def enqueue(self, episodes: Iterable[int]) -> None:
        """Episodes to play next, by index."""
        self._queue.extend(episodes)

    @property
    def busy(self) -> bool:
        """Whether an episode is being played or waits to be."""
        return bool(self._queue or self._again) or bool((self._episode >= 0).any())

    # -- TorchRL ---------------------------------------------------------------------------------------------

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        wanted = np.ones(self.pool.num_envs, bool)
        if tensordict is not None and "_reset" in tensordict.keys():  # noqa: SIM118 - a TensorDict has no `in` for keys
            wanted = tensordict["_reset"].numpy().reshape(-1)
        seeds: dict[int, int] = {}
        for slot in np.flatnonzero(wanted).tolist():
            self._episode[slot] = self._next(slot)
            self._turn[slot], self._failed[slot], self._steps[slot] = 0, False, None
            if self._episode[slot] >= 0:
                self._seed[slot] = self.seed_of(int(self._episode[slot]))
                seeds[slot] = int(self._seed[slot])
        self._ask(self.pool.begin, seeds)
        return self._observe(done=False)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        said = keys.read(tensordict, (keys.ACTION, keys.REPLY_INFO))
        actions, lengths = said[keys.ACTION], said[keys.ACTION_LENGTH]
        policy_s = time.monotonic() - self._shown_at
        live = np.flatnonzero((self._episode >= 0) & ~self._failed & ~self._waiting)
        texts = {int(s): actions[s, : lengths[s]].tobytes().decode("utf-8", "replace") for s in live}
        self._ask(self.pool.act, texts)
        if self._waiting.any():
            self._take_some(policy_s)
        return self._observe(done=True)

    def _set_seed(self, seed: int | None) -> None:
        """Nothing to seed: an episode's seed is a function of its index."""

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Stop the environments."""
        self.pool.close()
        super().close(raise_if_closed=raise_if_closed)

    # -- private ---------------------------------------------------------------------------------------------

    def _ask(self, how: Callable[[Mapping[int, Any]], None], what: Mapping[int, Any]) -> None:
        how(what)
        slots = list(what)
        self._waiting[slots], self._asked_at[slots] = True, time.monotonic()
        while not self._asynchronous and self._waiting.any():
            self._take(self.pool.all_answers())

    def _take_some(self, policy_s: float) -> None:
        """Take what has come, and wait for those expected back in less time than the policy takes.

        Without that wait each answer would be replied to alone, and one batch of many is much cheaper than many of one.
        """
        self._take(self.pool.answers())
        until = time.monotonic() + policy_s
        while (left := until - time.monotonic()) > 0:
            if not (self._waiting & (self._asked_at + self._usual <= until)).any():
                break
            self._take(self.pool.answers(left))

    def _take(self, answers: Mapping[int, Step]) -> None:
        now = time.monotonic()
        for slot, step in answers.items():
            self._waiting[slot] = False
            self._usual[slot] += 0.3 * (now - self._asked_at[slot] - self._usual[slot])
            if step.failure is not None:
                self._fail(slot, step.failure)
                continue
            if self._steps[slot] is not None:
                self._turn[slot] += 1
            self._steps[slot] = step
            if step.played is not None:
                self.played[int(self._episode[slot])] = step.played

    def _next(self, slot: int) -> int:
        """The episode that a free slot plays now; -1 for none."""
        if slot in self._again:
            return self._again.pop(slot)
        if not self._queue:
            return -1
        episode = self._queue.popleft()
        # the same index may have been another stream's before
        self._attempts.pop(episode, None)
        return episode

    def _fail(self, slot: int, reason: str) -> None:
        episode = int(self._episode[slot])
        self._failed[slot] = True
        if (kind := failures.kind(reason)) not in self._told:
            self._told.add(kind)
            log.warning("env '%s' broke: %s", self.pool.env_id, reason)
        self._attempts[episode] = self._attempts.get(episode, 0) + 1
        if self._attempts[episode] <= self._retries:
            self._again[slot] = episode
        else:
            self.played.pop(episode, None)
            self.discarded.append(episode)
            self.reasons.append(reason)

    def _observe(self, *, done: bool) -> TensorDict:
        n = self.pool.num_envs
        image = self._blank.copy()
        text = np.zeros((n, self.pool.text_bytes), np.uint8)
        hints = np.zeros((n, len(keys.COLUMNS[keys.HINTS]), self.pool.action_bytes), np.uint8)
        # text_length, random_length, expert_length, episode, turn, action_ok, success, failed, waiting
        state = np.zeros((n, len(keys.COLUMNS[keys.STATE])), np.int64)
        state[:, 1:3] = -1
        state[:, 3], state[:, 4], state[:, 7], state[:, 8] = (
            self._episode,
            self._turn,
            self._failed,
            self._waiting,
        )
        terminated, truncated = np.zeros((n, 1), bool), np.zeros((n, 1), bool)
        reward = np.zeros((n, 1), np.float32)
        draws = counter.bits(self._seed, self._turn, _RANDOM_ACTION)
        for slot, step in enumerate(self._steps):
            if self._waiting[slot]:
                continue
            if step is None or self._failed[slot]:
                # An idle slot, or a broken one, ends at once: the next reset may give it an episode.
                truncated[slot] = True
                continue
            if step.observation.image is not None:
                image[slot] = step.observation.image
            state[slot, 0] = _write(text[slot], step.observation.text, "text", "text_bytes")
            if step.legal_actions:
                choice = step.legal_actions[int(draws[slot]) % len(step.legal_actions)]
                state[slot, 1] = _write(hints[slot, 0], choice, "a legal action", "action_bytes")
            if step.expert is not None:
                state[slot, 2] = _write(hints[slot, 1], step.expert, "the expert's action", "action_bytes")
            state[slot, 5], state[slot, 6] = step.action_ok, step.success
            terminated[slot], truncated[slot] = step.terminated, step.truncated and not step.terminated
            reward[slot] = step.reward
        leaves = {
            keys.IMAGE: image,
            keys.TEXT: text,
            keys.HINTS: hints,
            keys.STATE: state,
        }
        if done:
            ended = terminated | truncated
            leaves |= {"reward": reward, "terminated": terminated, "truncated": truncated, "done": ended}
            self._episode[ended[:, 0]] = -1
        else:
            # A reset never ends an episode: a slot that broke or idles shows it at the next step.
            leaves |= {name: np.zeros((n, 1), bool) for name in ("terminated", "truncated", "done")}
        self._shown_at = time.monotonic()
        return TensorDict({name: torch.from_numpy(value) for name, value in leaves.items()}, batch_size=[n])

    def _make_specs(self, n: int) -> None:
        def whole(shape: tuple[int, ...], dtype: torch.dtype) -> Unbounded:
            return Unbounded(shape=(n, *shape), dtype=dtype)

        def several(name: str) -> Unbounded:
            return whole((len(keys.COLUMNS[name]),), torch.int64)

        text, action = self.pool.text_bytes, self.pool.action_bytes
        self.observation_spec = Composite(
            {
                keys.IMAGE: whole(self._blank.shape[1:], torch.uint8),
                keys.TEXT: whole((text,), torch.uint8),
                keys.HINTS: whole((len(keys.COLUMNS[keys.HINTS]), action), torch.uint8),
                keys.STATE: several(keys.STATE),
            },
            shape=(n,),
        )
        self.action_spec = Composite(
            {
                keys.ACTION: whole((action,), torch.uint8),
                keys.REPLY: whole((self._max_reply,), torch.int32),
                keys.LOGPROB: whole((self._max_reply,), torch.float32),
                keys.REPLY_INFO: several(keys.REPLY_INFO),
            },
            shape=(n,),
        )
        self.reward_spec = Unbounded(shape=(n, 1), dtype=torch.float32)
        self.done_spec = Composite(
            {
                name: Binary(n=1, shape=(n, 1), dtype=torch.bool)
                for name in ("done", "terminated", "truncated")
            },
            shape=(n,),
        )


def _write(buffer: NDArray[np.uint8], text: str, what: str, setting: str) -> int:
    """UTF-8 of a text into a fixed buffer; its length."""
    data = text.encode("utf-8", "replace")
    if len(data) > len(buffer):
        raise ContractError(
            f"{what} has {len(data)} bytes but its capacity is {len(buffer)}; raise {setting} in the environment."
        )
    buffer[: len(data)] = np.frombuffer(data, np.uint8)
    return len(data)
