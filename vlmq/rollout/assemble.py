"""Transitions to whole episodes: K turns, K + 1 observations; episodes that broke are left out.

What an action brings may come some transitions later: in those between, its slot is waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from tensordict import TensorDictBase

from vlmq import keys
from vlmq.api import Episode, Observation, Turn
from vlmq.prompt.encode import Encoder


class Assembler:
    """Collects each slot's turns until its episode ends.

    Args:
        encoder: decodes reply ids.
        has_image: whether observations carry a picture.
    """

    def __init__(self, encoder: Encoder, *, has_image: bool) -> None:
        self._encoder = encoder
        self._has_image = has_image
        self._turns: dict[int, list[Turn]] = {}
        self._open: dict[int, Turn] = {}

    def add(
        self, transitions: TensorDictBase, seed_of: Callable[[int], int], **about: object
    ) -> list[Episode]:
        """Take the next transitions of every slot, batch (N, T), and give the episodes that ended.

        Args:
            transitions: a TorchRL collector's output.
            seed_of: the seed of an episode's index.
            about: fields of `Episode` that the transitions do not hold.
        """
        whole_now = keys.read(transitions, (*_SEEN, *_ACTED))
        whole_after = keys.read(transitions["next"], (*_SEEN, *_ENDS))
        ended: list[Episode] = []
        for time in range(transitions.batch_size[1]):
            now = {name: array[:, time] for name, array in whole_now.items()}
            after = {name: array[:, time] for name, array in whole_after.items()}
            ended += self._add_step(now, after, seed_of, about)
        return ended

    def _add_step(
        self,
        now: dict[str, np.ndarray],
        after: dict[str, np.ndarray],
        seed_of: Callable[[int], int],
        about: dict[str, object],
    ) -> list[Episode]:
        ended: list[Episode] = []
        for slot in range(len(now[keys.EPISODE])):
            index = int(now[keys.EPISODE][slot])
            if index < 0 or after[keys.FAILED][slot]:
                self._turns.pop(slot, None)
                self._open.pop(slot, None)
                continue
            if not now[keys.WAITING][slot]:
                self._open[slot] = self._said(slot, now)
            if after[keys.WAITING][slot] or slot not in self._open:
                continue
            reward, accepted = float(after["reward"][slot, 0]), bool(after[keys.ACTION_OK][slot])
            turn = replace(self._open.pop(slot), reward=reward, action_ok=accepted)
            self._turns.setdefault(slot, []).append(turn)
            if after["done"][slot, 0]:
                ended.append(
                    Episode(
                        turns=tuple(self._turns.pop(slot)),
                        final_observation=self._observation(slot, after),
                        terminated=bool(after["terminated"][slot, 0]),
                        truncated=bool(after["truncated"][slot, 0]),
                        success=bool(after[keys.SUCCESS][slot]),
                        seed=seed_of(index),
                        index=index,
                        tokenizer=self._encoder.fingerprint,
                        **about,  # type: ignore[arg-type]
                    )
                )
        return ended

    def _said(self, slot: int, now: dict[str, np.ndarray]) -> Turn:
        """A turn of which nothing has come yet."""
        count = int(now[keys.REPLY_LENGTH][slot])
        ids = now[keys.REPLY][slot, :count].copy()
        action = now[keys.ACTION][slot, : int(now[keys.ACTION_LENGTH][slot])]
        return Turn(
            observation=self._observation(slot, now),
            reply=self._encoder.decode(ids),
            action=action.tobytes().decode("utf-8", "replace"),
            reward=0.0,
            parsed=bool(now[keys.PARSED][slot]),
            action_ok=False,
            reply_ids=ids,
            logprobs=now[keys.LOGPROB][slot, :count].copy(),
            digest=int(now[keys.DIGEST][slot]),
            source=keys.SOURCES[int(now[keys.SOURCE][slot])],
        )

    def _observation(self, slot: int, view: dict[str, np.ndarray]) -> Observation:
        text = view[keys.TEXT][slot, : int(view[keys.TEXT_LENGTH][slot])].tobytes().decode("utf-8", "replace")
        return Observation(text, view[keys.IMAGE][slot].copy() if self._has_image else None)


_SEEN = (keys.IMAGE, keys.TEXT, keys.STATE)
_ACTED = (keys.ACTION, keys.REPLY, keys.LOGPROB, keys.REPLY_INFO)
_ENDS = ("reward", "done", "terminated", "truncated")
