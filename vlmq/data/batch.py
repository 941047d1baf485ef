"""Episodes to one training batch: rows of tokens, and flat arrays over the agent's tokens.

Letters: R rows, L row length, A agent tokens, S states, P replies, F fragments, K later turns of the fragment with the
most of them. Agent tokens are ordered by fragment, turn and place in the reply. States 0..A-1 are the states in which
those tokens were chosen; states A..S-1 only bootstrap a value: the last prompt token of the turn after a fragment.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmq.api import Observation, Turn
from vlmq.prompt.encode import Encoder, Row, Segment
from vlmq.prompt.pack import collate_packed
from vlmq.prompt.window import History

_BLANK = Observation(text="", image=np.zeros((64, 64, 3), np.uint8))


@dataclass(frozen=True)
class Origin:
    """Where a fragment was drawn from.

    Attributes:
        replay: the stream of the replay that drew it.
        place: of its first trained turn in that replay.
        uniform: whether it was drawn uniformly; what is drawn by priority does not teach the critic.
    """

    replay: int
    place: int
    uniform: bool


@dataclass(frozen=True, eq=False)
class Fragment:
    """Consecutive turns of one episode, with what is needed to read and to bootstrap them.

    Attributes:
        turns: turns from the start of the first context window to the end of the fragment.
        first_turn: index within the episode of turns[0].
        skip: leading turns that are context only and not trained.
        following: observation after the last turn, None where it was not recorded.
        terminated: whether the episode terminated at the last turn.
        success: whether the whole episode succeeded.
        episode_return: undiscounted return of the whole episode.
        origin: where it was drawn from, None where no replay drew it.
        later: the episode's turns after the fragment, for what they earned: their pictures are black.
    """

    turns: tuple[Turn, ...]
    first_turn: int
    skip: int
    following: Observation | None
    terminated: bool
    success: bool = False
    episode_return: float = 0.0
    origin: Origin | None = None
    later: tuple[Turn, ...] = ()


@dataclass(frozen=True, eq=False)
class Batch:
    """Tensors of one update.

    Attributes:
        inputs: the encoder's batch: input_ids (R, L), attention_mask (R, L) or, packed, position_ids (R, L), pixels.
        positions: tokens in it, padding not counted.
        state_row: (S,) row of each state.
        state_position: (S,) position whose hidden state stands for the state.
        tokens: (A,) the agent's tokens.
        reply: (A,) index in 0..P-1 of the reply a token belongs to.
        last: (A,) whether it is the last token of its reply.
        terminal: (A,) whether the episode terminated with this token.
        reward: (A,) the environment's reward, on the last token of a reply, zero elsewhere.
        next_state: (A,) state after the token; 0 where there is none.
        next_known: (A,) whether that state was observed.
        next_token: (A,) agent token that follows in the same fragment, -1 where none does.
        thought: (A,) whether the token belongs to its reply's thoughts.
        behaviour: (A,) log-probability under the policy that acted, NaN where unknown.
        valid: (P,) whether the reply parsed and its action was legal.
        source: (P,) who chose the reply: index into `sources`.
        turn: (P,) turn index within the episode.
        success: (P,) whether the reply's episode succeeded.
        episode_return: (P,) undiscounted return of the reply's episode.
        uniform: (P,) whether the reply was drawn uniformly, and teaches the critic too.
        replay: (P,) stream of the replay that drew it, -1 for none.
        place: (P,) of its turn in that replay.
        end: (F,) the last agent token of each fragment.
        later_reward: (F, K) the environment's reward of each later turn of the episode; zero after its end.
        later_valid: (F, K) whether that turn's reply was valid; true after the episode's end.
        later_tokens: (F, K) tokens of that reply; one after the episode's end.
        sources: names of the codes.
    """

    inputs: dict[str, Tensor]
    positions: int
    state_row: Tensor
    state_position: Tensor
    tokens: Tensor
    reply: Tensor
    last: Tensor
    terminal: Tensor
    reward: Tensor
    next_state: Tensor
    next_known: Tensor
    next_token: Tensor
    thought: Tensor
    behaviour: Tensor
    valid: Tensor
    source: Tensor
    turn: Tensor
    success: Tensor
    episode_return: Tensor
    uniform: Tensor
    replay: Tensor
    place: Tensor
    end: Tensor
    later_reward: Tensor
    later_valid: Tensor
    later_tokens: Tensor
    sources: tuple[str, ...]

    @property
    def num_replies(self) -> int:
        """P."""
        return int(self.valid.shape[0])

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                value = value.to(device)
            elif isinstance(value, dict):
                value = {name: tensor.to(device) for name, tensor in value.items()}
            moved[field.name] = value
        return Batch(**moved)


@dataclass(eq=False)
class _Reply:
    """Where one trained reply stands: row, position of its first token, its ids."""

    row: int
    position: int
    ids: NDArray[np.int32]
    turn: Turn
    turn_index: int


_Chain = tuple[list[_Reply], tuple[int, int] | None, bool]
"""The replies of one fragment, where the state after them is read, and whether the episode terminated."""


def build_batch(
    fragments: list[Fragment],
    encoder: Encoder,
    history: History,
    *,
    packed: bool = False,
    pictured: bool = False,
) -> Batch:
    """Encode fragments into rows and lay out their tokens, states and links.

    Args:
        fragments: what was drawn from replay.
        encoder: the same that acted.
        history: the same that acted; an append-only one gives one sequence a fragment, otherwise one a reply.
        packed: whether several sequences may share a row, where they do not see each other.
        pictured: whether fragments in words alone are given a row with a blank picture, from which nothing is learnt.
            Where several processes share an update, each has to run the whole model: those that did not would
            wait for each other's gradients for ever.
    """
    rows: list[Row] = []
    chains: list[_Chain] = []
    for fragment in fragments:
        lay = _lay_whole if history.append_only else _lay_windows
        chains.append(lay(fragment, encoder, history, rows))
    if pictured and not any(row.pixels for row in rows):
        rows.append(context_row([encoder.prompt(_BLANK, first=True)], []))
    return _link(rows, chains, fragments, encoder, packed)


def reply_ids(turn: Turn, encoder: Encoder) -> NDArray[np.int32]:
    """The ids that were sampled; text is tokenised only where no model sampled it."""
    return turn.reply_ids if len(turn.reply_ids) else encoder.reply(turn.reply)


def context_row(segments: list[Segment], replies: list[NDArray[np.int32]], *, reply: int = 0) -> Row:
    """Prompts and replies, alternating, as one row; there may be one prompt more than replies.

    Args:
        segments: the prompts.
        replies: ids of the replies to them.
        reply: how many tokens of the last reply are learnt from with all before them as its prompt.
    """
    parts: list[NDArray[np.int32]] = []
    for index, segment in enumerate(segments):
        parts.append(segment.ids)
        if index < len(replies):
            parts.append(replies[index])
    return Row(np.concatenate(parts), tuple(s.pixels for s in segments if s.pixels is not None), reply)


def _lay_whole(fragment: Fragment, encoder: Encoder, history: History, rows: list[Row]) -> _Chain:
    """One row: every turn from the episode's start, then the unanswered prompt that follows."""
    segments = [encoder.prompt(t.observation, first=i == 0) for i, t in enumerate(fragment.turns)]
    ids = [reply_ids(turn, encoder) for turn in fragment.turns]
    replies: list[_Reply] = []
    position = 0
    for index, (segment, reply) in enumerate(zip(segments, ids, strict=True)):
        position += len(segment.ids)
        if index >= fragment.skip:
            turn_index = fragment.first_turn + index
            replies.append(_Reply(len(rows), position, reply, fragment.turns[index], turn_index))
        position += len(reply)
    bootstrap = None
    if fragment.following is not None and not fragment.terminated:
        segments.append(encoder.prompt(fragment.following, first=False))
        bootstrap = (len(rows), position + len(segments[-1].ids) - 1)
    rows.append(context_row(segments, ids))
    return replies, bootstrap, fragment.terminated


def _lay_windows(fragment: Fragment, encoder: Encoder, history: History, rows: list[Row]) -> _Chain:
    """One row a reply, each with its own window of earlier turns, and one for the prompt that follows."""
    replies: list[_Reply] = []
    observations = [turn.observation for turn in fragment.turns]
    if fragment.following is not None and not fragment.terminated:
        observations.append(fragment.following)
    ids = [reply_ids(turn, encoder) for turn in fragment.turns]
    bootstrap = None
    for index in range(fragment.skip, len(observations)):
        turn_index = fragment.first_turn + index
        segments = encoder.prompts(history.context(observations, turn_index, fragment.first_turn))
        start = index + 1 - len(segments)
        position = sum(len(s.ids) for s in segments) + sum(len(r) for r in ids[start:index])
        answered = index < len(fragment.turns)
        if answered:
            turn = fragment.turns[index]
            replies.append(_Reply(len(rows), position, ids[index], turn, turn_index))
        else:
            bootstrap = (len(rows), position - 1)
        own = len(ids[index]) if answered else 0
        rows.append(context_row(segments, ids[start : index + 1], reply=own))
    return replies, bootstrap, fragment.terminated


def _link(
    rows: list[Row], chains: list[_Chain], fragments: list[Fragment], encoder: Encoder, packed: bool
) -> Batch:
    replies = [reply for chain, _, _ in chains for reply in chain]
    counts = np.array([len(reply.ids) for reply in replies])
    total = int(counts.sum())
    ends = counts.cumsum() - 1
    last = np.zeros(total, bool)
    last[ends] = True
    row = np.repeat([reply.row for reply in replies], counts)
    offset = np.concatenate([np.arange(len(reply.ids)) for reply in replies])
    # The hidden state one place before a token is the one that predicts it.
    position = np.repeat([reply.position for reply in replies], counts) + offset - 1
    reward = np.zeros(total, np.float32)
    reward[ends] = [reply.turn.reward for reply in replies]

    next_state = np.arange(1, total + 1)
    next_token = np.arange(1, total + 1)
    next_known = np.ones(total, bool)
    terminal = np.zeros(total, bool)
    extra_row: list[int] = []
    extra_position: list[int] = []
    fragment_ends = np.cumsum([sum(len(reply.ids) for reply in chain) for chain, _, _ in chains]) - 1
    for end, (_, bootstrap, terminated) in zip(fragment_ends, chains, strict=True):
        next_token[end] = -1
        terminal[end] = terminated
        if bootstrap is None:
            next_state[end], next_known[end] = 0, False
        else:
            next_state[end] = total + len(extra_row)
            extra_row.append(bootstrap[0])
            extra_position.append(bootstrap[1])

    origins = [
        (fragment.origin or Origin(-1, 0, True), offset)
        for fragment, (chain, _, _) in zip(fragments, chains, strict=True)
        for offset in range(len(chain))
    ]
    whole = [fragment for fragment, (chain, _, _) in zip(fragments, chains, strict=True) for _ in chain]
    sources = tuple(sorted({reply.turn.source for reply in replies}))
    behaviour = np.concatenate(
        [
            reply.turn.logprobs if len(reply.turn.logprobs) else np.full(len(reply.ids), np.nan, np.float32)
            for reply in replies
        ]
    )
    later = [fragment.later for fragment in fragments]
    state_row = np.concatenate([row, extra_row]).astype(np.int64)
    state_position = np.concatenate([position, extra_position]).astype(np.int64)
    if packed:
        inputs, places = collate_packed(rows, encoder)
        state_row, state_position = places.row[state_row], places.start[state_row] + state_position
    else:
        inputs = encoder.collate(rows, left=False)
    return Batch(
        inputs=inputs,
        positions=sum(len(row.ids) for row in rows),
        state_row=torch.from_numpy(state_row),
        state_position=torch.from_numpy(state_position),
        tokens=torch.from_numpy(np.concatenate([reply.ids for reply in replies]).astype(np.int64)),
        reply=torch.from_numpy(np.repeat(np.arange(len(replies)), counts)),
        last=torch.from_numpy(last),
        terminal=torch.from_numpy(terminal),
        reward=torch.from_numpy(reward),
        next_state=torch.from_numpy(next_state),
        next_known=torch.from_numpy(next_known),
        next_token=torch.from_numpy(next_token),
        thought=torch.from_numpy(np.concatenate([encoder.thoughts(reply.ids) for reply in replies])),
        behaviour=torch.from_numpy(behaviour.astype(np.float32)),
        valid=torch.tensor([reply.turn.valid for reply in replies]),
        source=torch.tensor([sources.index(reply.turn.source) for reply in replies]),
        turn=torch.tensor([reply.turn_index for reply in replies]),
        success=torch.tensor([fragment.success for fragment in whole]),
        episode_return=torch.tensor([fragment.episode_return for fragment in whole], dtype=torch.float32),
        uniform=torch.tensor([origin.uniform for origin, _ in origins]),
        replay=torch.tensor([origin.replay for origin, _ in origins]),
        place=torch.tensor([origin.place + offset for origin, offset in origins]),
        end=torch.from_numpy(fragment_ends),
        later_reward=_table([[turn.reward for turn in turns] for turns in later], 0.0),
        later_valid=_table([[turn.valid for turn in turns] for turns in later], True),
        later_tokens=_table([[len(reply_ids(turn, encoder)) for turn in turns] for turns in later], 1),
        sources=sources,
    )


def _table(rows: list[list[Any]], fill: float) -> Tensor:
    table = torch.full((len(rows), max(map(len, rows))), fill)
    for number, row in enumerate(rows):
        table[number, : len(row)] = torch.tensor(row, dtype=table.dtype)
    return table
