"""Checks of actions: what is legal is accepted, and whatever else an agent may write is refused and harmless."""

from __future__ import annotations

import math

import numpy as np

from vlmq.api.testing.fresh import REPLAY_TURNS
from vlmq.api.testing.fuzz import SLOWEST_S, Reply, state_of
from vlmq.api.testing.play import Record, canonical, generator, random_legal
from vlmq.api.testing.question import Fault, Skip, question, shown
from vlmq.api.testing.subject import Subject

_MOST_TRIED = 30
"""Legal actions that are tried in one state."""

_PLAYED = ("can_be_made", "spaces_are_those_of_the_contract", "plays")


@question(*_PLAYED)
def legal_actions_are_accepted(subject: Subject) -> str:
    """Every action that is listed as legal is accepted: at reset, in mid-episode, and in random play."""
    listed = 0
    for record in subject.random_play:
        for before, after in zip(record.moments, record.moments[1:], strict=False):
            if after.action in before.legal:
                listed += 1
                _demand_accepted(record, len(record.moments), str(after.action), after.info)
    for seed in subject.seeds[:3]:
        path = subject.player.play(seed, random_legal, 4, salt=5)
        for turns in {0, len(path.actions) // 2}:
            legal = path.moments[turns].legal
            for action in legal[:: math.ceil(len(legal) / _MOST_TRIED)] if legal else ():
                listed += 1
                record = subject.player.replay(seed, [*path.actions[:turns], action])
                _demand_accepted(record, turns + 1, action, record.moments[-1].info)
    if not listed:
        raise Skip("it lists no legal actions")
    return f"{listed} tried"


@question(*_PLAYED)
def no_text_raises(subject: Subject) -> str:
    """No text raises: blanks, 10 kB, broken Unicode, JSON, near misses of the legal actions."""
    replies = subject.fuzzed.replies
    for reply in replies:
        if reply.raised is not None:
            raise Fault(
                f"{reply.raised}, {reply.state}",
                "info['action_ok'] False, whatever the text",
                "match the text strictly against what is legal, before anything else is done with it.",
            )
    return f"{len(replies)} texts"


@question(*_PLAYED, "no_text_raises")
def only_legal_texts_are_accepted(subject: Subject) -> str:
    """A text that is not listed as legal is refused: info["action_ok"] is False."""
    if subject.open_actions:
        raise Skip("it declares open_actions: legal_actions are examples")
    if not any(moment.legal for record in subject.random_play for moment in record.moments):
        raise Skip("it lists no legal actions")
    for reply in subject.fuzzed.replies:
        if reply.accepted:
            raise Fault(
                f"step({shown(reply.text)}) is accepted, {reply.state}, and not among the legal actions",
                "action_ok False: each action has one spelling, which info['legal_actions'] lists",
                "compare the text as it is, without strip, lower, int or a search; or declare"
                " metadata['vlmq']['open_actions'] = True where no list can hold all.",
            )
    return ""


@question(*_PLAYED, "no_text_raises")
def refused_texts_change_nothing(subject: Subject) -> str:
    """A refused text leaves the state as it was: picture, legal actions, and state_key (or the text, without one)."""
    for reply in _refused(subject):
        if reply.changed is not None:
            raise Fault(
                f"step({shown(reply.text)}) is refused and changes {reply.changed}, {reply.state}",
                "the same state; only the turn counts",
                "return before anything of the state is touched, if the text is no legal action.",
            )
    return ""


@question(*_PLAYED, "refused_texts_change_nothing", "reset_begins_anew")
def refused_texts_leave_no_trace(subject: Subject) -> str:
    """After a refused text the episode goes on as without it: picture, legal actions, state_key (or text), reward."""
    texts = list(dict.fromkeys(reply.text for reply in _refused(subject)))
    if not texts:
        raise Skip("it refuses no text")
    turns = 0
    for index, record in enumerate(subject.random_play[:10]):
        actions = record.actions[:REPLAY_TURNS]
        place = len(actions) // 2 if index % 2 else 0
        rng = generator(record.seed, place, 6)
        tried = [texts[i] for i in rng.permutation(len(texts))[:2]]
        detour = subject.player.replay(record.seed, [*actions[:place], *tried, *actions[place:]])
        turns += max(0, len(detour.actions) - place - len(tried))
        apart = _parting(record, detour, place, len(tried))
        if apart is not None:
            raise Fault(
                f"{apart}, where {shown(tried)} was refused after {place} turns, with seed {record.seed}",
                "the episode that the same legal actions bring without the refused texts",
                "return before anything is touched, the random generator and hidden state included, if the"
                " text is no legal action.",
            )
    return f"{turns} turns"


@question(*_PLAYED, "no_text_raises", "episodes_end")
def refused_texts_count_a_turn(subject: Subject) -> str:
    """A refused text costs a turn: an agent that writes nothing but nonsense comes to the end, too."""
    refused = [reply.text for reply in _refused(subject)]
    if not refused:
        raise Skip("it refuses no text")
    record = subject.player.replay(subject.seeds[0], refused[:1] * subject.turn_limit)
    if not record.ended:
        raise Fault(
            f"{len(record.actions)} turns of {shown(refused[0])} bring no end",
            f"an end within {subject.turn_limit} turns",
            "count a refused text as a turn, and truncate at the limit.",
        )
    return f"the end after {len(record.actions)}"


@question(*_PLAYED, "no_text_raises", "rewards_lie_in_their_range")
def refused_texts_pay_no_more(subject: Subject) -> str:
    """A refused text earns no more than the best legal action was seen to earn."""
    rewards = [
        float(after.reward)
        for record in [*subject.random_play, *subject.expert_play]
        for after in record.moments[1:]
        if after.info.get("action_ok") in (True, np.True_)
    ]
    if not rewards:
        raise Skip("no legal action was played")
    for reply in _refused(subject):
        if float(reply.reward) > max(rewards):  # type: ignore[arg-type]  # a check before this one saw a number
            raise Fault(
                f"step({shown(reply.text)}) is refused and earns {reply.reward}, {reply.state}",
                f"at most {max(rewards):g}, the best reward that a legal action earned",
                "give a penalty for text that is no action, or at least no reward.",
            )
    return ""


@question(*_PLAYED, "no_text_raises")
def no_text_is_slow_to_read(subject: Subject) -> str:
    """No text takes more than 10 ms to read, beyond what a turn with a short one takes."""
    found = subject.fuzzed
    times = [(reply.seconds - found.short_seconds, reply) for reply in found.replies if not reply.accepted]
    if not times:
        raise Skip("it refuses no text")
    worst, reply = max(times, key=lambda timed: timed[0])
    if worst > SLOWEST_S:
        raise Fault(
            f"step({shown(reply.text)}) takes {worst * 1e3:.1f} ms longer than a short text does",
            f"at most {SLOWEST_S * 1e3:.0f} ms",
            "refuse a text longer than any action before parsing it; look for a regular expression that"
            " backtracks.",
        )
    return f"at most {max(worst, 0.0) * 1e3:.2f} ms"


def _refused(subject: Subject) -> list[Reply]:
    return [reply for reply in subject.fuzzed.replies if not reply.accepted and reply.raised is None]


def _parting(plain: Record, detour: Record, place: int, refused: int) -> str | None:
    """Where an episode parts from the same one without the texts that were refused at `place`; None where it does not.

    What ends an episode may pay by the turns that were taken; so may what is shown where a turn limit cuts it.
    """
    if any(moment.info.get("action_ok") for moment in detour.moments[place + 1 : place + 1 + refused]):
        return None  # not refused in this state
    pairs = zip(plain.moments[place:], detour.moments[place + refused :], strict=False)
    for turn, (without, after) in enumerate(pairs):
        if without.truncated or after.truncated:
            return None
        expected, seen = state_of(without), state_of(after)
        parts = [part for part in expected if expected[part] != seen.get(part)]
        if without.terminated != after.terminated:
            parts.append("the ending")
        elif turn and not after.ended and canonical(without.reward) != canonical(after.reward):
            parts.append("the reward")
        if parts:
            return f"the episode differs in {' and '.join(parts)} {turn} turns later"
    return detour.error


def _demand_accepted(record: Record, turn: int, action: str, info: object) -> None:
    ok = info.get("action_ok") if isinstance(info, dict) else None
    if ok not in (True, np.True_) or record.error is not None:
        raise Fault(
            record.error or f"step({shown(action)}) is listed as legal and refused, with seed {record.seed}",
            "action_ok True for every action in info['legal_actions']",
            "list only what step accepts in the present state.",
        )


QUESTIONS = (
    legal_actions_are_accepted,
    no_text_raises,
    only_legal_texts_are_accepted,
    refused_texts_change_nothing,
    refused_texts_leave_no_trace,
    refused_texts_count_a_turn,
    refused_texts_pay_no_more,
    no_text_is_slow_to_read,
)
