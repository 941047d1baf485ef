"""Texts that are no actions, and what an environment does with them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vlmq.api.testing.deadline import Hung
from vlmq.api.testing.play import Moment, Player, Record, canonical, generator, random_legal

STRANGE = (
    *(
        "",
        " ",
        "\t",
        "\n",
        " \r\n ",
        "\x00",
        "\ufeff",
        "\u200b",
        "\ud800",
        "\udfff\ud800",
        "é" * 100,
        "日本語",
    ),
    *(
        "None",
        "null",
        "{",
        "}",
        "{}",
        "[]",
        '{"action":',
        '{"action": ""}',
        '{"action": null}',
        "[[[[",
        "%s%n{0}",
    ),
    *("a" * 10_000, " " * 10_000, "(" * 10_000, "1" * 10_000, "\n" * 10_000, "a " * 5_000, "é" * 5_000),
)
"""Nothing that a sensible action language contains."""

SLOWEST_S = 0.010
"""Time that reading a text may take, whatever the text."""
_AGAIN_ABOVE_S = (*[SLOWEST_S / 10] * 2, *[SLOWEST_S] * 6)
"""What a turn has to take for it to be timed once more, time after time."""

_MOST_ACTIONS = 4
"""Legal actions whose near misses are tried in one state."""


@dataclass(frozen=True)
class Reply:
    """What one text that is not listed as legal brought.

    Attributes:
        text: what was played.
        state: in which state, in words.
        raised: the exception, or None.
        accepted: whether the environment called it legal.
        changed: what it changed of the state, or None.
        reward: as it came.
        seconds: the shortest of its turns.
    """

    text: str
    state: str
    raised: str | None
    accepted: bool
    changed: str | None
    reward: object
    seconds: float


@dataclass
class Fuzzed:
    """All replies, and how long a short text takes: what is over that is spent on reading the text."""

    replies: list[Reply] = field(default_factory=list)

    @property
    def short_seconds(self) -> float:
        """The median of the short texts, or 0 without any."""
        times = sorted(
            reply.seconds for reply in self.replies if len(reply.text) <= 20 and not reply.accepted
        )
        return times[len(times) // 2] if times else 0.0


def near_misses(action: str, rng: np.random.Generator) -> list[str]:
    """Texts that resemble an action: a lenient parser takes some of them for it."""
    texts = [
        *(action[:-1], action[1:], action + action, f"{action} {action}", f"{action}, {action}"),
        *(f" {action}", f"{action} ", f"\n{action}", f"{action}\n", f"{action}\x00", f"{action}."),
        *(action.upper(), action.lower(), action.title(), action.swapcase()),
        *(f"'{action}'", f'"{action}"', f"`{action}`", f"{{{action}}}", json.dumps({"action": action})),
        *(f"action: {action}", f"not {action}", "".join(_wide(character) for character in action)),
    ]
    for _ in range(3):
        place, other = int(rng.integers(len(action) + 1)), chr(int(rng.integers(33, 127)))
        texts += [action[:place] + other + action[place:], action[:place] + other + action[place + 1 :]]
    return texts


def texts(legal: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Everything that is tried in a state: nothing that is legal there."""
    chosen = [legal[i] for i in rng.permutation(len(legal))[:_MOST_ACTIONS]]
    tried = dict.fromkeys([*STRANGE, *(text for action in chosen for text in near_misses(action, rng))])
    return [text for text in tried if text not in legal]


def fuzz(player: Player, seeds: Sequence[int]) -> Fuzzed:
    """Try every text at the beginning and in the middle of an episode of each seed."""
    found = Fuzzed()
    for seed in seeds:
        path = player.play(seed, random_legal, 2, salt=3)
        if path.error is not None or not path.moments:
            continue
        # not the end itself: there nothing may be played
        prefixes = [[], path.actions if not path.ended else path.actions[:-1]]
        for prefix in prefixes[: 2 if prefixes[1] else 1]:
            found.replies += _Trial(player, seed, prefix).run()
            if found.replies and Hung.__name__ in (found.replies[-1].raised or ""):
                return found
    return found


def state_of(moment: Moment) -> dict[str, str]:
    """What must stay as it was under a text that is no action.

    The text counts only where no state_key says what the state is: it may tell of the refusal or the turns left.
    """
    state = {
        "the picture": canonical(moment.picture),
        "legal_actions": canonical(moment.info.get("legal_actions")),
    }
    if "state_key" in moment.info:
        return {**state, "state_key": canonical(moment.info["state_key"])}
    return {**state, "the text": canonical(moment.text)}


class _Trial:
    """All texts in one state, which is brought back whenever a text has left it."""

    def __init__(self, player: Player, seed: int, prefix: Sequence[str]) -> None:
        self._player, self._seed, self._prefix = player, seed, prefix
        self._record = Record(seed)
        self._return()

    def run(self) -> list[Reply]:
        if not self._record.moments:
            return []
        replies: list[Reply] = []
        rng = generator(self._seed, len(self._prefix), 4)
        for text in texts(self._record.moments[-1].legal, rng):
            replies.append(self._try(text))
            if Hung.__name__ in (replies[-1].raised or ""):
                break  # the next one might take as long
        return replies

    def _try(self, text: str) -> Reply:
        reply = self._once(text)
        for limit in _AGAIN_ABOVE_S:
            # a long turn is timed again: it may have been the machine; of a text that is acted on, nobody asks
            if reply.seconds > limit and reply.raised is None and not reply.accepted:
                again = self._once(text)
                reply = again if again.seconds < reply.seconds else reply
        return reply

    def _once(self, text: str) -> Reply:
        before = state_of(self._record.moments[-1])
        start = time.perf_counter()
        went = self._player.turn(self._record, text)
        seconds = time.perf_counter() - start
        where = (
            f"after {len(self._prefix)} turns of seed {self._seed}"
            if self._prefix
            else f"at reset of seed {self._seed}"
        )
        if not went:
            raised, self._record.error = self._record.error, None
            self._return()
            return Reply(text, where, raised, False, None, None, seconds)
        now = self._record.moments[-1]
        accepted = now.info.get("action_ok") in (True, np.True_)
        changed = None if accepted else _changed(before, state_of(now), now)
        if accepted or changed or now.ended:
            self._return()
        return Reply(text, where, None, accepted, changed, now.reward, seconds)

    def _return(self) -> None:
        self._record = self._player.replay(self._seed, self._prefix)


def _changed(before: Mapping[str, str], after: Mapping[str, str], moment: Moment) -> str | None:
    if moment.terminated:
        return "the episode, which it terminates"
    if moment.truncated:  # the turn limit: what is shown when an episode was cut is the environment's choice
        return None
    return " and ".join(part for part in before if before[part] != after.get(part)) or None


def _wide(character: str) -> str:
    """The full-width form, which str.isdigit and int() take for the plain one."""
    return chr(ord(character) + 0xFEE0) if 33 <= ord(character) <= 126 else character
