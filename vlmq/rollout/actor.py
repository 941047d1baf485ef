"""The actor: observations of a batched environment in, replies and parsed actions out, as a TensorDictModule."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase

from vlmq import keys
from vlmq.api import Observation, UserError
from vlmq.prompt.encode import Encoder, Segment, digest
from vlmq.prompt.parse import ParseError, parse_agent
from vlmq.prompt.window import History
from vlmq.rollout import sync
from vlmq.rollout.policies import Context, Policy, Reply

log = logging.getLogger(__name__)

_MOST_QUOTED = 60
"""Letters of an action that does not fit."""


class Actor(TensorDictModuleBase):
    """Encodes each slot's window, asks the policy, parses its replies.

    Args:
        encoder: shared with the learner.
        policy: who replies; may be replaced between episodes.
        history: earlier turns in the context of a reply.
        max_reply: capacity of a reply in tokens.
        action_bytes: capacity of an action.
        has_image: whether observations carry a picture.
    """

    def __init__(
        self,
        encoder: Encoder,
        policy: Policy,
        *,
        history: History,
        max_reply: int,
        action_bytes: int,
        has_image: bool,
    ) -> None:
        super().__init__()
        self.in_keys = [keys.IMAGE, keys.TEXT, keys.HINTS, keys.STATE]
        self.out_keys = [keys.ACTION, keys.REPLY, keys.LOGPROB, keys.REPLY_INFO]
        self.policy = policy
        self._encoder = encoder
        self._history = history
        self._max_reply = max_reply
        self._action_bytes = action_bytes
        self._has_image = has_image
        self._memory: dict[int, _Memory] = {}
        self._idle: Context | None = None
        self._told = False

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write a reply and an action for every slot that plays."""
        view = keys.read(tensordict, self.in_keys)
        episodes = view[keys.EPISODE]
        # Nothing is asked of a slot that idles, waits for its environment, or has one that broke at its reset.
        live = (episodes >= 0) & (view[keys.FAILED] == 0) & (view[keys.WAITING] == 0)
        slots = [int(slot) for slot in np.flatnonzero(live)]
        contexts = [self._context(slot, view) for slot in slots]
        asked = contexts or self._bystander(view)
        replies = self.policy.replies(asked)[: len(contexts)] if asked else []
        n = len(episodes)
        action = np.zeros((n, self._action_bytes), np.uint8)
        reply_ids = np.zeros((n, self._max_reply), np.int32)
        logprob = np.zeros((n, self._max_reply), np.float32)
        info = np.zeros((n, len(keys.COLUMNS[keys.REPLY_INFO])), np.int64)
        for slot, context, reply in zip(slots, contexts, replies, strict=True):
            reply = self._fit(reply, context)
            count = len(reply.ids)
            reply_ids[slot, :count], logprob[slot, :count] = reply.ids, reply.logprobs
            seen = 0
            if self.policy.reads_context:
                seen = digest(context.segments, context.replies)
                self._memory[slot].replies.append(reply.ids)
            found = parse_agent(self._encoder.decode(reply.ids), self._encoder.reply_format)
            data = b"" if isinstance(found, ParseError) else found.action.encode("utf-8", "replace")
            # An action too long to be one is as good as none.
            parsed = not isinstance(found, ParseError) and len(data) <= self._action_bytes
            data = data if parsed else b""
            action[slot, : len(data)] = np.frombuffer(data, np.uint8)
            info[slot] = len(data), count, parsed, keys.SOURCES.index(reply.source), seen
        written = (action, reply_ids, logprob, info)
        for name, array in zip(self.out_keys, written, strict=True):
            tensordict[name] = torch.from_numpy(array)
        return tensordict

    def _bystander(self, view: dict[str, Any]) -> list[Context]:
        """What the policy gets where no slot is live: a sharded model runs on all processes or on none."""
        if not self.policy.reads_context or sync.world_size() == 1:
            return []
        if self._idle is None:
            image = np.zeros_like(view[keys.IMAGE][0]) if self._has_image else None
            self._idle = Context(-1, 0, [self._encoder.prompt(Observation("", image), first=True)])
        return [self._idle]

    def _fit(self, reply: Reply, context: Context) -> Reply:
        """A reply longer than the capacity is cut: its end token is lost, as a model's would be.

        The first random action that does not fit is told: it says nothing any more, and will never be seen played.

        Raises:
            UserError: an expert's is longer: cut, it would be no demonstration.
        """
        if len(reply.ids) <= self._max_reply:
            return reply
        said = {"expert": context.expert_action, "random": context.random_action}.get(reply.source)
        if said is not None:
            needs = (
                f"the action {said[:_MOST_QUOTED]!r} takes {len(reply.ids)} tokens as a reply, and model.max_reply is "
                f"{self._max_reply}"
            )
            if reply.source == "expert":
                raise UserError(f"{needs}; raise it.")
            if not self._told:
                self._told = True
                log.warning(
                    "%s: random replies like it are cut, and no such action is ever played; raise it", needs
                )
        return Reply(reply.ids[: self._max_reply], reply.logprobs[: self._max_reply], reply.source)

    def _context(self, slot: int, view: dict[str, Any]) -> Context:
        episode, turn = int(view[keys.EPISODE][slot]), int(view[keys.TURN][slot])
        context = Context(
            episode,
            turn,
            random_action=_text(view[keys.RANDOM_ACTION][slot], int(view[keys.RANDOM_LENGTH][slot])),
            expert_action=_text(view[keys.EXPERT_ACTION][slot], int(view[keys.EXPERT_LENGTH][slot])),
        )
        if not self.policy.reads_context:
            return context
        if turn == 0:
            self._memory[slot] = _Memory()
        memory = self._memory[slot]
        text = _text(view[keys.TEXT][slot], int(view[keys.TEXT_LENGTH][slot])) or ""
        image = view[keys.IMAGE][slot].copy() if self._has_image else None
        start = self._history.start(turn)
        memory.see(turn, Observation(text, image), start)
        context.segments = [
            memory.segment(i, i == start, self._history.shows(i, turn), self._encoder)
            for i in range(start, turn + 1)
        ]
        context.replies = memory.replies[start:turn]
        context.slot, context.grows = slot, self._history.grows(turn)
        return context


class _Memory:
    """What one slot's agent has seen and said in the present episode; of pictures, those its window still holds."""

    def __init__(self) -> None:
        self.replies: list[np.ndarray] = []
        self._observations: dict[int, Observation] = {}
        self._segments: dict[tuple[int, bool, bool], Segment] = {}

    def see(self, turn: int, observation: Observation, start: int) -> None:
        """Take the observation of a turn, and forget what lies before the window's start."""
        self._observations[turn] = observation
        for old in [seen for seen in self._observations if seen < start]:
            del self._observations[old]
        for key in [key for key in self._segments if key[0] < start]:
            del self._segments[key]

    def segment(self, turn: int, first: bool, shown: bool, encoder: Encoder) -> Segment:
        key = (turn, first, shown)
        if key not in self._segments:
            seen = self._observations[turn]
            self._segments[key] = encoder.prompt(seen if shown else replace(seen, image=None), first=first)
        return self._segments[key]


def _text(buffer: np.ndarray, length: int) -> str | None:
    return None if length < 0 else buffer[:length].tobytes().decode("utf-8", "replace")
