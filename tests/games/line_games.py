"""Test fixture: two small games, and both in one, for the tests of the core, which know no installed plugin."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from vlmq.api import action_space, observation_space

SIDE_PX = 64
HIGHEST = 5
COLOURS = {"red": (200, 40, 40), "green": (40, 150, 60), "blue": (50, 80, 200)}


class Game(gymnasium.Env[dict[str, Any], str]):
    """What both share: spaces, the turn counter, the penalty of text that is no action."""

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # gymnasium declares it for instances
        "render_modes": [],
        "vlmq": {
            "reward_range": (-1.0, 1.0),
            "success": "the last action was the right one",
            "modalities": ("image",),
            "requirements": (),
            "licence": "Apache-2.0",
        },
    }
    limit: int
    text: str
    legal: tuple[str, ...]

    def __init__(self) -> None:
        self.observation_space = observation_space(SIDE_PX, SIDE_PX)
        self.action_space = action_space()
        self.left = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.left = self.limit
        self.begin()
        return self.observation(), self.info(True)

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        if not self.left:
            raise ResetNeeded("the episode is over; call reset() before step().")
        self.left -= 1
        known = action in self.legal
        reward, won, over = self.play(action) if known else (-1.0, False, False)
        info = self.info(known)
        if over or not self.left:
            info["success"] = won
        truncated = not over and not self.left
        self.left = 0 if over else self.left
        return self.observation(), reward, over, truncated, info

    def observation(self) -> dict[str, Any]:
        return {"image": self.picture(), "text": self.text}

    def info(self, action_ok: bool) -> dict[str, Any]:
        return {"action_ok": action_ok, "legal_actions": self.legal, "state_key": self.key()}

    def begin(self) -> None:
        raise NotImplementedError

    def play(self, action: str) -> tuple[float, bool, bool]:
        """Reward, whether it is won, whether it is over."""
        raise NotImplementedError

    def picture(self) -> NDArray[np.uint8]:
        raise NotImplementedError

    def key(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def expert_action(self) -> str:
        raise NotImplementedError


class Walk(Game):
    """Bring the lower bar to the length of the upper one.

    Args:
        variation: whether each episode has colours of its own.
        size: side of the picture in pixels.
        turns: most turns of an episode.
        told: whether the lengths are said, and no picture is shown.
    """

    text = "Move C to T.\nActions: + or -"
    legal = ("+", "-")

    def __init__(
        self, variation: bool = True, size: int = SIDE_PX, turns: int = 10, told: bool = False
    ) -> None:
        super().__init__()
        self.variation, self.size, self.limit, self.told = variation, size, turns, told
        self.observation_space = observation_space(None, None) if told else observation_space(size, size)

    def observation(self) -> dict[str, Any]:
        told = {"text": f"{self.text}\nC {self.current} T {self.target}"}
        return told if self.told else super().observation()

    def begin(self) -> None:
        self.current, self.target = (int(n) for n in self.np_random.permutation(HIGHEST + 1)[:2])
        low = self.np_random.integers(0, 100, 3) if self.variation else np.zeros(3)
        self.ground, self.ink = low.astype(np.uint8), (255 - low).astype(np.uint8)

    def play(self, action: str) -> tuple[float, bool, bool]:
        before = abs(self.target - self.current)
        self.current = min(max(self.current + (1 if action == "+" else -1), 0), HIGHEST)
        after = abs(self.target - self.current)
        return (1.0, True, True) if after == 0 else (0.0 if after < before else -1.0, False, False)

    def picture(self) -> NDArray[np.uint8]:
        image = np.empty((self.size, self.size, 3), np.uint8)
        image[:] = self.ground
        unit, row = self.size // (HIGHEST + 2), self.size // 6
        image[row : 2 * row, : unit * (self.target + 1)] = self.ink
        image[4 * row : 5 * row, : unit * (self.current + 1)] = self.ink
        return image

    def key(self) -> tuple[Any, ...]:
        return self.target, self.current

    def expert_action(self) -> str:
        return "+" if self.current < self.target else "-"


class Recall(Game):
    """A colour is shown once, then asked for after `delay` empty pictures.

    Args:
        delay: how many.
    """

    def __init__(self, delay: int = 2) -> None:
        super().__init__()
        self.delay, self.limit = delay, delay + 5

    def begin(self) -> None:
        self.colour, self.stage = str(self.np_random.choice(list(COLOURS))), 0
        # every picture of the episode is drawn beforehand, so that none depends on what the agent does
        self.noise = self.np_random.integers(150, 200, (self.delay + 2, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        self.noise[0, 8:56, 8:56] = COLOURS[self.colour]
        self.tell()

    def tell(self) -> None:
        asks = self.stage == self.delay + 1
        self.legal = tuple(COLOURS) if asks else ("wait",)
        self.text = f"Which colour was it? {', '.join(COLOURS)}." if asks else "Remember it. Answer: wait."

    def play(self, action: str) -> tuple[float, bool, bool]:
        if action == "wait":
            self.stage += 1
            self.tell()
            return 0.0, False, False
        right = action == self.colour
        return 1.0 if right else -1.0, right, True

    def picture(self) -> NDArray[np.uint8]:
        return self.noise[self.stage].copy()

    def key(self) -> tuple[Any, ...]:
        return self.colour, self.stage

    def expert_action(self) -> str:
        return self.colour if self.legal != ("wait",) else "wait"


class Either(gymnasium.Env[dict[str, Any], str]):
    """One game or the other: the seed decides."""

    metadata = Game.metadata

    def __init__(self) -> None:
        self.observation_space = observation_space(SIDE_PX, SIDE_PX)
        self.action_space = action_space()
        self.games: dict[str, Game] = {"line/Walk-v0": Walk(), "line/Recall-v0": Recall()}
        self.played = ""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        if seed is None:  # every game has a generator of its own: one seed for all of them
            seed = int(self.np_random.integers(2**31))
        super().reset(seed=seed)
        self.played = list(self.games)[int(self.np_random.integers(2))]
        observation, info = self.games[self.played].reset(seed=seed)
        return observation, {**info, "env_id": self.played}

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.games[self.played].step(action)
        return observation, reward, terminated, truncated, {**info, "env_id": self.played}

    def expert_action(self) -> str:
        return self.games[self.played].expert_action()
