"""The environment: a BabyAI level played in words."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
from gymnasium.error import ResetNeeded
from minigrid.core.actions import Actions

from vlmq.api import PluginError, action_space, check_choice, check_flags, check_whole, observation_space
from vlmq_env_babyai import dealing, picture, words
from vlmq_env_babyai.expert import Guide
from vlmq_env_babyai.levels import CHANCE_LEVEL, EXPERT_SUCCESS, LEVELS
from vlmq_env_babyai.mission import instructions, marks

MODALITIES = ("image", "both", "text")
"""Where the state is shown: in the picture alone, in picture and text, or in the text alone."""

ACTIONS = {
    "turn left": Actions.left,
    "turn right": Actions.right,
    "go forward": Actions.forward,
    "pick up": Actions.pickup,
    "drop": Actions.drop,
    "toggle": Actions.toggle,
}
"""minigrid's seventh action, `done`, has no effect on a level."""

LEGAL_ACTIONS = tuple(ACTIONS)

SUCCESS_REWARD = 1.0
ILLEGAL_REWARD = -0.1

LARGEST_PX = 1024

MISSION_BYTES = 512
"""Capacity of a text that holds the mission, the actions and what is carried."""


class BabyAI(gymnasium.Env[dict[str, Any], str]):
    """Do what the mission says, in a grid of rooms with doors, keys, balls and boxes.

    Reward: 1 for the mission done, which ends the episode; -0.1 for a text that is no action; else 0. An episode
    also ends, without success, where the mission can fail and has. The levels are drawn from `np_random`, which
    is seeded as minigrid's is: a seed gives the very episode that it gives there.

    Args:
        level: one of `levels.LEVELS`.
        modality: one of `MODALITIES`. With "text" there is no picture and no `image` in the observation.
        view: one of `picture.VIEWS`.
        size: side of the square picture in pixels; seven or more for each cell of the view.
        max_turns: the episode is truncated after so many turns; None: after as many as minigrid allows.
        decay: the reward for success is 1 - 0.9 * turns / limit, as in minigrid.
        show_syntax: whether the text lists the actions, which are always the same. An agent that has data to learn
            them from does without.

    Raises:
        PluginError: a setting is not one of those above.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # gymnasium declares it for instances
        "render_modes": [],
        "vlmq": {
            "reward_range": (ILLEGAL_REWARD, SUCCESS_REWARD),
            "success": "The mission was carried out within the turn limit.",
            "modalities": MODALITIES,
            "requirements": (),
            "licence": "Apache-2.0; minigrid, which holds the levels: Apache-2.0",
        },
    }

    def __init__(
        self,
        level: str,
        modality: str = "image",
        view: str = "agent",
        size: int = 64,
        max_turns: int | None = None,
        decay: bool = False,
        show_syntax: bool = True,
    ) -> None:
        if level not in LEVELS:
            raise PluginError(
                f"BabyAI: level={level!r} is unknown; `vlmq envs` lists all, as babyai/<level>."
            )
        check_choice("BabyAI", "modality", modality, MODALITIES)
        check_choice("BabyAI", "view", view, picture.VIEWS)
        if max_turns is not None:
            check_whole("BabyAI", "max_turns", max_turns, 1, 1_000_000)
        check_flags("BabyAI", decay=decay, show_syntax=show_syntax)
        self._level = dealing.make_level(level)
        cells = picture.cells_across(self._level, view)
        if modality != "text":
            check_whole("BabyAI", "size", size, cells * picture.SMALLEST_CELL_PX, LARGEST_PX)
        self.level, self.modality, self.view, self.size = level, modality, view, size
        self.max_turns, self.decay, self.show_syntax = max_turns, decay, show_syntax
        declared: dict[str, float] = {"turn_limit": max_turns or dealing.longest_episode(self._level)}
        if level in EXPERT_SUCCESS:
            declared["expert_success"] = EXPERT_SUCCESS[level]
        if level in CHANCE_LEVEL and max_turns is None:
            declared["chance_level"] = CHANCE_LEVEL[level]
        self.metadata = {**self.metadata, "vlmq": {**self.metadata["vlmq"], **declared}}  # type: ignore[misc]
        side = None if modality == "text" else size
        things = 0 if modality == "image" else words.THING_BYTES * min(cells**2, words.MOST_THINGS)
        self.observation_space = observation_space(side, side, text_bytes=MISSION_BYTES + things)
        self.action_space = action_space()
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Deal a level and show it."""
        super().reset(seed=seed)
        self._level.np_random = self.np_random
        self._level.reset()
        self._limit = self.max_turns or int(self._level.max_steps)
        # minigrid's reward is positive only within its own limit, and tells success from failure here
        self._level.max_steps = self._limit
        self._num_turns = 0
        self._over = False
        self._guide = Guide(self._level)
        return self._observation(), self._info(action_ok=True)

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Play one turn. Text that is no action changes nothing but the turn counter, and costs a penalty.

        Raises:
            ResetNeeded: the episode is over.
        """
        if self._over:
            raise ResetNeeded("BabyAI: the episode is over; call reset() before step().")
        self._num_turns += 1
        chosen = ACTIONS.get(action) if isinstance(action, str) else None
        terminated = success = False
        reward = ILLEGAL_REWARD
        if chosen is not None:
            _, paid, terminated, _, _ = self._level.step(chosen)
            self._guide.note(chosen)
            success = terminated and float(paid) > 0
            reward = self._success_reward() if success else 0.0
        truncated = not terminated and self._num_turns >= self._limit
        self._over = terminated or truncated
        info = self._info(action_ok=chosen is not None)
        if chosen is None:
            info["error"] = "not an action; answer with one of: " + ", ".join(LEGAL_ACTIONS)
        if self._over:
            info["success"] = success
        return self._observation(), reward, terminated, truncated, info

    def expert_action(self) -> str | None:
        """The bot's next action; None while no episode is under way. Without a plan it walks about."""
        return None if self._over else LEGAL_ACTIONS[self._guide.advice()]

    def _success_reward(self) -> float:
        return 1 - 0.9 * self._num_turns / self._limit if self.decay else SUCCESS_REWARD

    def _observation(self) -> dict[str, Any]:
        lines = [f"Task: {self._level.mission}"]
        if self.show_syntax:
            lines.append(f"Actions: {', '.join(LEGAL_ACTIONS)}")
        if self.modality != "image":
            lines.append(words.describe(self._level, self.view))
        # always: in the picture a key in hand is all but hidden by the agent, or not drawn at all
        lines.append(words.carried(self._level))
        text = "\n".join(lines)
        if self.modality == "text":
            return {"text": text}
        return {"image": picture.draw(self._level, self.view, self.size), "text": text}

    def _info(self, action_ok: bool) -> dict[str, Any]:
        return {"action_ok": action_ok, "legal_actions": LEGAL_ACTIONS, "state_key": self._state_key()}

    def _state_key(self) -> tuple[Any, ...]:
        level = self._level
        position = tuple(map(int, level.agent_pos))
        held = None if level.carrying is None else level.carrying.encode()
        return (
            level.mission,
            marks(instructions(level)),
            position,
            int(level.agent_dir),
            held,
            level.grid.encode().tobytes(),
        )
