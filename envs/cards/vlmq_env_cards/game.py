"""What the games share: settings, the observation of a text and a picture, the turn counter."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from vlmq.api import action_space, check_choice, check_flags, check_whole, observation_space

MODALITIES = ("image", "both", "text")
"""Where the state is shown: in the picture alone, in picture and text, or in the text alone."""

SMALLEST_PX, LARGEST_PX = 32, 1024


class Game(gymnasium.Env[dict[str, Any], str]):
    """A turn-based game whose state is drawn; a subclass gives the rules and the picture.

    Deals come from `np_random`, the look of an episode from a generator seeded by one further draw of it. So
    a seed gives the same deals in every modality, size and variation.

    Args:
        modality: one of `MODALITIES`. With "text" there is no picture and no `image` in the observation.
        variation: whether each episode has its own size, position, colours and noise; within an episode
            they never change. False gives one plain look.
        size: side of the square picture, in pixels.

    Raises:
        PluginError: a setting is not one of those above.
    """

    def __init__(self, modality: str = "image", variation: bool = True, size: int = 64) -> None:
        name = type(self).__name__
        check_choice(name, "modality", modality, MODALITIES)
        check_whole(name, "size", size, SMALLEST_PX, LARGEST_PX)
        check_flags(name, variation=variation)
        self.modality = modality
        self.variation = variation
        self.size = size
        side = None if modality == "text" else size
        self.observation_space = observation_space(side, side)
        self.action_space = action_space()
        self._turns_left = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Deal, choose the look of the episode, and show the first observation."""
        super().reset(seed=seed)
        self._turns_left = self.turn_limit
        self._deal(self.np_random)
        look_seed = int(self.np_random.integers(2**63))
        if self.modality != "text":
            self._choose_look(np.random.default_rng(look_seed) if self.variation else None)
        return self._observation(), self._info(action_ok=True)

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Play one turn. Text that is no action changes nothing but the turn counter, and costs a penalty.

        Raises:
            ResetNeeded: the episode is over.
        """
        if self._turns_left == 0:
            raise ResetNeeded(f"{type(self).__name__}: the episode is over; call reset() before step().")
        self._turns_left -= 1
        known = isinstance(action, str) and action in self.legal_actions
        if known:
            reward, terminated, success, error = self._play(action)
        else:
            reward, terminated, success = self.penalty, False, False
            error = "not an action; answer with one of " + " ".join(self.legal_actions)
        truncated = not terminated and self._turns_left == 0
        if truncated:
            reward = self._truncation_reward(reward)
        info = self._info(action_ok=known)
        if error:
            info["error"] = error
        if terminated or truncated:
            self._turns_left = 0
            info["success"] = success
        return self._observation(), reward, terminated, truncated, info

    # What a game says of itself ------------------------------------------------------------------------

    turn_limit: int
    """Turns after which an unfinished episode is truncated."""

    legal_actions: tuple[str, ...]
    """Every text the game understands."""

    penalty: float = -1.0
    """Reward of a text that is not one of `legal_actions`."""

    task: str
    """Rules and syntax: all the text there is when the state is in the picture alone."""

    def expert_action(self) -> str:
        """The next action of a perfect player."""
        raise NotImplementedError

    def _deal(self, rng: np.random.Generator) -> None:
        """Set the state of a new episode."""
        raise NotImplementedError

    def _play(self, action: str) -> tuple[float, bool, bool, str]:
        """Apply a legal action; return reward, terminated, success, and a line of reproach or ""."""
        raise NotImplementedError

    def _truncation_reward(self, reward: float) -> float:
        """The last reward of an episode that ran out of turns, given what the turn itself earned."""
        return reward

    def _state_key(self) -> tuple[Any, ...]:
        """The state as a hashable value, without the turn counter."""
        raise NotImplementedError

    def _state_text(self) -> str:
        """The state in words, for the modalities that tell it."""
        raise NotImplementedError

    def _choose_look(self, rng: np.random.Generator | None) -> None:
        """Fix the look of the new episode; without a generator, the plain one."""
        raise NotImplementedError

    def _draw(self) -> NDArray[np.uint8]:
        """The picture of the present state, as a new array of shape (size, size, 3)."""
        raise NotImplementedError

    # ---------------------------------------------------------------------------------------------------

    def _observation(self) -> dict[str, Any]:
        if self.modality == "image":
            return {"image": self._draw(), "text": self.task}
        text = f"{self.task}\n{self._state_text()}"
        return {"text": text} if self.modality == "text" else {"image": self._draw(), "text": text}

    def _info(self, action_ok: bool) -> dict[str, Any]:
        return {"action_ok": action_ok, "legal_actions": self.legal_actions, "state_key": self._state_key()}
