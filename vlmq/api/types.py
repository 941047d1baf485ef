"""What travels between environments, agents and the episode store: Observation, Turn, Episode."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Observation:
    """What the agent is shown at one turn.

    Attributes:
        text: everything the agent is told this turn: task, state, legal syntax.
        image: uint8 of shape (H, W, 3), or None where the environment has no picture.
    """

    text: str
    image: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class Turn:
    """One environment step, with what the agent saw before it.

    Attributes:
        observation: what the agent saw before it replied.
        reply: the reply as text, end token excluded.
        action: the text that was executed; "" where the reply did not parse.
        reward: the environment's reward for this turn.
        parsed: whether the framework's parser found an action in the reply.
        action_ok: whether the environment accepted the action as legal.
        reply_ids: int32 of shape (n,): the tokens that were sampled, END TOKEN INCLUDED unless the reply
            was cut at its length limit; never re-tokenised from text. Empty where no tokenizer was involved.
        logprobs: float32 of shape (n,): log-probability of each token under the model that acted, at
            temperature 1 over its whole vocabulary; NaN where unknown (scripted or imported replies).
        digest: fingerprint of the token ids and pixels the actor saw; 0 where unknown.
        source: who chose this reply: "random", "expert", "model", "corrupted", or an importer's name.
    """

    observation: Observation
    reply: str
    action: str
    reward: float
    parsed: bool = True
    action_ok: bool = True
    reply_ids: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    logprobs: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    digest: int = 0
    source: str = ""

    @property
    def valid(self) -> bool:
        """Whether the reply parsed and the environment accepted the action."""
        return self.parsed and self.action_ok


@dataclass(frozen=True, eq=False)
class Episode:
    """K turns and K + 1 observations.

    Attributes:
        env_id: registered id of the environment.
        seed: the seed given to `reset`.
        turns: K turns.
        final_observation: the observation after the last turn, so that truncation can bootstrap; None
            where it was not recorded (an imported episode).
        terminated: the task itself ended: no value follows.
        truncated: the episode was cut, by a limit for instance: a value follows.
        success: what the environment says of the outcome.
        source: the policy that acted: "random", "expert", "mixture", "model", or an importer's name.
        index: counter of this episode within its collection; it determines `seed`.
        policy_version: optimizer updates made before this episode was played; -1 where unknown.
        tokenizer: fingerprint of the tokenizer of `reply_ids`; "" where there are none.
        env_args: keyword arguments the environment was made with, as sorted JSON text.
    """

    env_id: str
    seed: int
    turns: tuple[Turn, ...]
    final_observation: Observation | None
    terminated: bool
    truncated: bool
    success: bool
    source: str = ""
    index: int = -1
    policy_version: int = -1
    tokenizer: str = ""
    env_args: str = "{}"

    @property
    def num_turns(self) -> int:
        """K, the number of turns."""
        return len(self.turns)

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of the rewards."""
        return float(sum(turn.reward for turn in self.turns))

    @property
    def observations(self) -> tuple[Observation, ...]:
        """All observations in order: K, or K + 1 where the final one was recorded."""
        last = () if self.final_observation is None else (self.final_observation,)
        return tuple(turn.observation for turn in self.turns) + last
