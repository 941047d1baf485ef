"""The memory task: a coloured shape is shown once; some turns later the agent is asked for its colour.

It is small, and yet has what an environment needs: several turns, a picture that matters, text that does not
give the picture away, illegal actions, a turn limit, an expert. Of vlmq it uses `vlmq.api` and nothing else.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray
from vlmq.api import action_space, check_whole, observation_space

from vlmq_env_example import picture

WAIT = "wait"
ANSWERS = tuple(picture.COLOURS)


class MemoryEnv(gymnasium.Env[dict[str, Any], str]):
    """First a cue, then `delay` distracting pictures, then the question.

    Args:
        delay: number of distracting turns between the cue and the question.
        max_turns: the episode is cut after this many turns; None: room for three illegal actions.
    """

    # Read without making an environment: `vlmq envs show` prints it, the pool asks it for `workers`.
    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # gymnasium declares it for instances
        "render_modes": [],
        "vlmq": {
            "reward_range": (-1.0, 1.0),  # of one turn
            "success": "the agent named the colour of the first shape",
            "modalities": ("image",),  # what the picture shows is not repeated in the text
            "requirements": (),  # e.g. ({"needs": "a browser", "command": "apt-get install chromium"},)
            "licence": "Apache-2.0",
            "secrets": ("_colour",),  # attributes that no text and no info may tell; `vlmq check` listens
            "workers": False,  # True for an environment that is slow or may crash: a process for each
        },
    }

    def __init__(self, delay: int = 2, max_turns: int | None = None) -> None:
        # An argument comes from somebody's configuration: refuse it in one sentence.
        check_whole("Memory", "delay", delay, 0, 100)
        if max_turns is not None:
            check_whole("Memory", "max_turns", max_turns, delay + 2, 1000)
        self.delay = delay
        self.max_turns = delay + 5 if max_turns is None else max_turns
        # The spaces of the contract: a picture of (height, width, 3) uint8 and a text; a text as the action.
        self.observation_space = observation_space(picture.SIZE_PX, picture.SIZE_PX)
        self.action_space = action_space()
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Choose a colour and show it."""
        super().reset(seed=seed)
        # All randomness comes from self.np_random: the same seed and actions give the same episode. Drawing
        # the pictures beforehand keeps them the same whatever the agent does.
        self._colour = ANSWERS[self.np_random.integers(len(ANSWERS))]
        self._pictures: list[NDArray[np.uint8]] = [picture.draw_cue(self._colour, self.np_random)]
        self._pictures += [picture.draw_distractor(self.np_random) for _ in range(self.delay)]
        self._pictures.append(picture.draw_question())
        self._stage = 0  # 0: the cue; 1 to delay: distractors; delay + 1: the question
        self._num_turns = 0
        self._over = False
        return self._observation(), self._info(action_ok=True)

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take one action: `wait`, or a colour at the question.

        Raises:
            ResetNeeded: the episode is over.
        """
        if self._over:
            raise ResetNeeded("the episode is over: call reset() first")
        self._num_turns += 1
        # Illegal text never raises: the state stays, the turn counts, a penalty, action_ok is False.
        known = action in self._legal_actions()
        terminated = known and self._asking
        right = terminated and action == self._colour
        if known and not self._asking:
            self._stage += 1
        truncated = not terminated and self._num_turns >= self.max_turns
        self._over = terminated or truncated
        reward = 1.0 if right else 0.0 if known and not terminated else -1.0
        info = self._info(action_ok=known, success=right if self._over else None)
        return self._observation(), reward, terminated, truncated, info

    def expert_action(self) -> str | None:
        """The right action. Optional: it proves that the task can be solved, and makes demonstrations."""
        return self._colour if self._asking else WAIT

    @property
    def _asking(self) -> bool:
        return self._stage == self.delay + 1

    def _legal_actions(self) -> tuple[str, ...]:
        return ANSWERS if self._asking else (WAIT,)

    def _observation(self) -> dict[str, Any]:
        # The text says what to do and in which words, and never what the picture shows. No chat template, no
        # output format: those are the framework's.
        if self._asking:
            text = "Which colour was the first shape? Answer with one word: " + ", ".join(ANSWERS) + "."
        elif self._stage == 0:
            text = f"Remember the colour of this shape; you will be asked for it later. Now answer: {WAIT}."
        else:
            text = f"Nothing to do in this turn. Answer: {WAIT}."
        # A copy: who receives an observation may keep it, or write into it.
        return {"image": self._pictures[self._stage].copy(), "text": text}

    def _info(self, *, action_ok: bool, success: bool | None = None) -> dict[str, Any]:
        info: dict[str, Any] = {
            "action_ok": action_ok,
            "legal_actions": self._legal_actions(),
            # Optional: progress in [0, 1], and a hashable that is equal where the state is.
            "progress": self._stage / (self.delay + 2),
            "state_key": (self._colour, self._stage),
        }
        if success is not None:
            info["success"] = success
        return info
