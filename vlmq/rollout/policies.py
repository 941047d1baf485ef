"""Who replies: a model, or a script that plays random or expert actions and sometimes garbles them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vlmq import counter
from vlmq.api import DataError
from vlmq.model.backbone import Backbone
from vlmq.model.generate import Guide, Sampling
from vlmq.prompt.encode import Encoder, Segment
from vlmq.prompt.parse import Parsed, format_reply, parse_agent
from vlmq.rollout.corrupt import corrupt
from vlmq.rollout.reading import REUSE_GB, Asked, Reader

SAMPLING = counter.purpose("sampling")
"""Of a reply's noise, with its episode and turn."""
_CHOICE = counter.purpose("scripted choice")
_EXPERT_TURN = counter.purpose("whether the expert plays a turn")
_RATE = counter.purpose("exploration rate")


@dataclass(eq=False)
class Context:
    """What one environment's agent may look at when it replies.

    Attributes:
        episode: index of the episode; negative where nobody waits for the reply.
        turn: index of the turn.
        segments: prompts in the window, the one to answer last; empty for policies that do not read.
        replies: ids of the replies between them.
        random_action: one legal action drawn at random; None where the environment lists none.
        expert_action: what the environment's expert would do; None where it has none.
        slot: of the environment; negative where what is read for it need not be found again.
        grows: whether the context of the slot's next turn begins as this one does.
    """

    episode: int
    turn: int
    segments: list[Segment] = field(default_factory=list)
    replies: list[NDArray[np.int32]] = field(default_factory=list)
    random_action: str | None = None
    expert_action: str | None = None
    slot: int = -1
    grows: bool = False


@dataclass(frozen=True, eq=False)
class Reply:
    """A reply's ids (n,), their log-probabilities (n,), NaN where unknown, and who chose it."""

    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    source: str


class Policy(Protocol):
    """Replies to a batch of contexts. One that reads them gets one of no episode where there is none."""

    reads_context: bool

    def replies(self, contexts: list[Context]) -> list[Reply]:
        """One reply for each context, in order."""
        ...


class ModelPolicy:
    """The model samples its replies.

    Args:
        backbone: trunk and language head.
        encoder: the one that made the contexts.
        sampling: how to draw.
        seed: of the sampling noise.
        explore: probability that a turn is played by a random legal action instead, well formed; each episode has
            its own between these two.
        guide: the critic, where it shall have a say in the sampling.
        best_of: replies drawn for each context, of which the one that the guide finds worth most is given.
        anyone: see `sample_replies`. A process with nothing to sample while another samples runs the model
            too, on one context whose reply is dropped.
        reuse_gb: memory for what is kept of the contexts read, for the turns that follow; see `Reader`.
    """

    reads_context = True

    def __init__(
        self,
        backbone: Backbone,
        encoder: Encoder,
        sampling: Sampling,
        *,
        seed: int,
        explore: tuple[float, float] = (0.0, 0.0),
        guide: Guide | None = None,
        best_of: int = 1,
        anyone: Callable[[bool], bool] = bool,
        reuse_gb: float = REUSE_GB,
    ) -> None:
        assert best_of == 1 or guide is not None, "the best of several replies needs a judge"
        self._guide, self._best_of = guide, best_of
        self._encoder, self._sampling = encoder, sampling
        self.reader = Reader(backbone, encoder, reuse_gb)
        self._seed, self._explore, self._anyone = seed, explore, anyone

    def replies(self, contexts: list[Context]) -> list[Reply]:
        """One reply for each context, in order."""
        explored = [exploration(c, self._encoder, self._seed, self._explore) for c in contexts]
        replies = {i: reply for i, reply in enumerate(explored) if reply is not None}
        asked = [i for i, context in enumerate(contexts) if i not in replies and context.episode >= 0]
        if self._anyone(bool(asked)):
            shown = asked or [0]
            sampled = self._sample([contexts[i] for i in shown])
            replies = dict(zip(shown, sampled, strict=True)) | replies
        return [replies[i] for i in range(len(contexts)) if i in replies]

    def _sample(self, contexts: list[Context]) -> list[Reply]:
        several = [context for context in contexts for _ in range(self._best_of)]
        noise = np.array([[self._seed, SAMPLING, context.episode, context.turn] for context in several])
        if self._best_of > 1:
            noise = np.column_stack([noise, np.tile(np.arange(self._best_of), len(contexts))])
        asked = [Asked(c.segments, c.replies, c.slot, c.grows and c.slot >= 0) for c in contexts]
        (ids, logprobs, _), best = self.reader.sample(
            asked, noise, self._sampling, guide=self._guide, best_of=self._best_of, anyone=self._anyone
        )
        return [Reply(ids[i], logprobs[i], "model") for i in best]


class ScriptedPolicy:
    """Random legal actions, expert ones, or a mixture; a share of the random ones is garbled.

    Args:
        encoder: turns replies into ids.
        seed: of every choice.
        expert: share of episodes that the expert plays; the others are random.
        by_turn: whether `expert` is a share of the turns instead, drawn one by one: an expert that errs.
        corruption: share of the random replies that are garbled, independently of the state.
    """

    reads_context = False

    def __init__(
        self,
        encoder: Encoder,
        *,
        seed: int,
        expert: float = 0.0,
        by_turn: bool = False,
        corruption: float = 0.0,
    ) -> None:
        self._encoder, self._seed, self._corruption = encoder, seed, corruption
        self._expert, self._by_turn = expert, by_turn

    def replies(self, contexts: list[Context]) -> list[Reply]:
        """One reply for each context, in order."""
        return [self._reply(context) for context in contexts]

    def _reply(self, context: Context) -> Reply:
        unit = (_EXPERT_TURN, context.episode, context.turn) if self._by_turn else (_CHOICE, context.episode)
        by_expert = float(counter.uniform(self._seed, *unit)) < self._expert
        action = context.expert_action if by_expert else context.random_action
        if action is None:
            raise DataError(
                "the environment offers no expert; choose collect.policy: random."
                if by_expert
                else "the environment lists no legal actions to choose from; choose collect.policy: expert or model."
            )
        encoder = self._encoder
        ids = encoder.reply(format_reply(action, encoder.reply_format))
        if by_expert:
            return scripted_reply(ids, "expert")
        draw = float(counter.uniform(self._seed, _CHOICE, context.episode, context.turn))
        if draw < self._corruption:
            garbled = corrupt(action, encoder, (self._seed, context.episode, context.turn))
            return scripted_reply(garbled, "corrupted")
        return scripted_reply(ids, "random")


def exploration(context: Context, encoder: Encoder, seed: int, between: tuple[float, float]) -> Reply | None:
    """A random legal action in a model's place; None where the model itself shall reply.

    Args:
        context: of the turn.
        encoder: the one that made it.
        seed: of the draws.
        between: lowest and highest probability; each episode has its own.
    """
    low, high = between
    if high == 0.0 or context.random_action is None:
        return None
    rate = low
    if high > low:
        rate += (high - low) * float(counter.uniform(seed, _RATE, context.episode))
    draw = float(counter.uniform(seed, _CHOICE, context.episode, context.turn))
    if draw >= rate:
        return None
    return scripted_reply(encoder.reply(format_reply(context.random_action, encoder.reply_format)), "random")


def scripted_reply(ids: NDArray[np.int32], source: str) -> Reply:
    """A reply that no model sampled: its log-probabilities are unknown."""
    return Reply(ids, np.full(len(ids), np.nan, np.float32), source)


class Compared:
    """A policy whose replies are held against the environment's expert on the way.

    Args:
        policy: who plays.
        encoder: the one that made the contexts.

    Attributes:
        asked: replies so far where the expert knew an action, by index of the episode.
        agreed: those among them that say the same action.
    """

    def __init__(self, policy: Policy, encoder: Encoder) -> None:
        self._policy, self._encoder = policy, encoder
        self.reads_context = policy.reads_context
        self.asked, self.agreed = Counter[int](), Counter[int]()

    def replies(self, contexts: list[Context]) -> list[Reply]:
        """The policy's own."""
        replies = self._policy.replies(contexts)
        waiting = [context for context in contexts if context.episode >= 0]
        for context, reply in zip(waiting, replies, strict=False):  # one reply may be nobody's
            if context.expert_action is not None:
                found = parse_agent(self._encoder.decode(reply.ids), self._encoder.reply_format)
                same = isinstance(found, Parsed) and found.action.strip() == context.expert_action
                self.asked[context.episode] += 1
                self.agreed[context.episode] += same
        return replies
