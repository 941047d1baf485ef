"""What the page shows of an episode: its turns, and what each token was worth where a critic looked on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmq.api import Episode


@dataclass(frozen=True)
class Alternative:
    """What the policy might have said in place of a token.

    Attributes:
        text: what it spells.
        log_prob: of the policy.
        q: what the critic says it is worth, as a fraction of the return range; None where it knows no Q of tokens.
    """

    text: str
    log_prob: float
    q: float | None = None


@dataclass(frozen=True)
class Token:
    """One token of a reply.

    Attributes:
        text: what it spells.
        advantage: A, as a fraction of the return range.
        q: Q of the token, likewise.
        value: V of the state in which it was said.
        log_prob: of the present policy.
        slack: factor on the filter's margin for this token.
        behaviour: log-probability under whoever said it; None where unknown.
        alternatives: the likeliest tokens here, this one perhaps among them, the likeliest first.
    """

    text: str
    advantage: float
    q: float
    value: float
    log_prob: float
    slack: float = 1.0
    behaviour: float | None = None
    alternatives: Sequence[Alternative] = ()


@dataclass(frozen=True, eq=False)
class SeenTurn:
    """One turn as the page shows it.

    Attributes:
        image: uint8 (H, W, 3), or None.
        prompt: the observation's text.
        reply: as text.
        action: what was executed; "" where the reply held none.
        reward: of the turn.
        parsed: whether the reply parsed.
        action_ok: whether its action was legal.
        source: who replied.
        tokens: of the reply, where a critic looked on.
        observed: discounted return from here on, as a fraction of the return range; None where it is not known.
    """

    image: NDArray[np.uint8] | None
    prompt: str
    reply: str
    action: str
    reward: float
    parsed: bool = True
    action_ok: bool = True
    source: str = ""
    tokens: Sequence[Token] = ()
    observed: float | None = None


@dataclass(frozen=True, eq=False)
class SeenEpisode:
    """One episode as the page shows it. Episodes of the same `env_id`, `env_args` and `seed` are twins.

    Attributes:
        origin: where it comes from, "own play" for instance.
        index: of the episode in its store.
        env_id: of its environment.
        seed: of the environment.
        success: whether it succeeded.
        truncated: whether it was cut.
        episode_return: undiscounted.
        turns: in order.
        final_image: picture after the last turn, or None.
        final_text: text after it; None where that was not recorded.
        env_args: of its environment, as sorted JSON text.
        policy_version: updates made before it was played; -1 where unknown.
    """

    origin: str
    index: int
    env_id: str
    seed: int
    success: bool
    truncated: bool
    episode_return: float
    turns: Sequence[SeenTurn]
    final_image: NDArray[np.uint8] | None = None
    final_text: str | None = None
    env_args: str = "{}"
    policy_version: int = -1

    @property
    def unparsed(self) -> int:
        """Turns whose reply did not parse."""
        return sum(not turn.parsed for turn in self.turns)

    @property
    def refused(self) -> int:
        """Turns whose reply parsed, but to no legal action."""
        return sum(turn.parsed and not turn.action_ok for turn in self.turns)

    @property
    def largest_advantage(self) -> float | None:
        """Of all its tokens by size, with its sign; None without a critic."""
        found = [token.advantage for turn in self.turns for token in turn.tokens]
        return max(found, key=abs) if found else None

    @property
    def disagreement(self) -> float | None:
        """Mean over its turns of how far the critic, asked after the reply, was from what followed; None if unknown."""
        gaps = [
            abs(turn.tokens[-1].q - turn.observed)
            for turn in self.turns
            if turn.tokens and turn.observed is not None
        ]
        return math.fsum(gaps) / len(gaps) if gaps else None


def as_recorded(episode: Episode, origin: str, turns: Sequence[SeenTurn] | None = None) -> SeenEpisode:
    """An episode as it was recorded.

    Args:
        episode: the episode.
        origin: where it comes from.
        turns: with what a critic says of them; without, they are shown as they are.
    """
    final = episode.final_observation
    if turns is None:
        turns = [
            SeenTurn(
                turn.observation.image, turn.observation.text, turn.reply, turn.action, turn.reward, turn.parsed,
                turn.action_ok, turn.source or "unknown",
            )
            for turn in episode.turns
        ]  # fmt: skip
    return SeenEpisode(
        origin=origin, index=int(episode.index), env_id=episode.env_id, seed=int(episode.seed),
        success=bool(episode.success), truncated=bool(episode.truncated),
        episode_return=float(episode.episode_return), turns=turns,
        final_image=None if final is None else final.image, final_text=None if final is None else final.text,
        env_args=episode.env_args, policy_version=int(episode.policy_version),
    )  # fmt: skip
