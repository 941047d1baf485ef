"""The environments: episodes of TextWorld's and ALFWorld's games, seen as a map, in words, or both."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from vlmq.api import PluginError, action_space, check_choice, check_flags, check_whole, observation_space
from vlmq_env_textworld import words
from vlmq_env_textworld.cache import cached
from vlmq_env_textworld.drawing import Look, Picture, smallest
from vlmq_env_textworld.levels import LEVELS, SPLITS
from vlmq_env_textworld.machine import demand_alfworld, demand_textworld
from vlmq_env_textworld.sight import Sight

if TYPE_CHECKING:  # they import TextWorld, whose absence a constructor says in plain words
    from vlmq_env_textworld.alfworld import Player

MODALITIES = ("image", "both", "text")
"""Where the state is shown: in the picture alone, in picture and text, or in the text alone."""

SUCCESS_REWARD = 1.0
ILLEGAL_REWARD = -0.1
SHAPING = 0.5
"""Weight of the progress made or lost in a turn, where shaping is asked for."""

LARGEST_PX = 1024
RULES_BYTES, STATE_BYTES = 2048, 8192
"""Capacity of a text that holds the task, the syntax and the labels; and of the state in words."""

LICENCE = "Apache-2.0; TextWorld, which makes and plays the games: MIT; jericho, which it imports: GPL-2+"


class Tale(Protocol):
    """A game in play, whichever engine plays it."""

    goal: str
    templates: tuple[str, ...]
    names: tuple[str, ...]
    recipe: tuple[tuple[str, ...], ...]

    @property
    def commands(self) -> tuple[str, ...]: ...  # noqa: D102  # the engine says what each is
    @property
    def won(self) -> bool: ...  # noqa: D102
    @property
    def lost(self) -> bool: ...  # noqa: D102
    def act(self, command: str) -> str: ...  # noqa: D102
    def plan(self) -> list[str]: ...  # noqa: D102
    def key(self) -> str: ...  # noqa: D102
    def sight(self) -> Sight: ...  # noqa: D102


class TextGame(gymnasium.Env[dict[str, Any], str]):
    """The episodes of a finite list of games; the classes below say which games.

    Reward: 1 when the game is won, which ends the episode; -0.1 for a text that is none of the commands which the
    engine can obey; else 0. A game that is lost ends the episode, too.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # gymnasium declares it for instances
        "render_modes": [],
        "vlmq": {
            "reward_range": (ILLEGAL_REWARD, SUCCESS_REWARD),
            "success": "The game was won within the turn limit.",
            "modalities": MODALITIES,
            "requirements": (),
            "licence": LICENCE,
        },
    }

    def __init__(
        self,
        games: int,
        modality: str,
        reach: int,
        size: int | None,
        max_turns: int,
        idle: bool,
        shaping: bool,
        variation: bool,
    ) -> None:
        check_choice("TextWorld", "modality", modality, MODALITIES)
        check_whole("TextWorld", "max_turns", max_turns, 1, 10_000)
        check_flags("TextWorld", idle=idle, shaping=shaping, variation=variation)
        size = smallest(reach) if size is None else size
        check_whole("TextWorld", "size", size, smallest(reach), LARGEST_PX)
        self.games, self.modality, self.reach, self.size = games, modality, reach, size
        self.max_turns, self.idle, self.shaping, self.variation = max_turns, idle, shaping, variation
        ours = {**self.metadata["vlmq"], "turn_limit": max_turns, "open_actions": not self.idle}
        if self.shaping:
            ours["reward_range"] = (min(ILLEGAL_REWARD, -SHAPING), SUCCESS_REWARD + SHAPING)
        self.metadata = {**self.metadata, "vlmq": ours}  # type: ignore[misc]
        shown = None if modality == "text" else size
        self._capacity = RULES_BYTES + (0 if modality == "image" else STATE_BYTES)
        self.observation_space = observation_space(shown, shown, text_bytes=self._capacity)
        self.action_space = action_space()
        self._turns_left = 0

    def _begin(self, number: int) -> Tale:
        """Start the game of this number."""
        raise NotImplementedError

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin a game: the one whose number is the seed, modulo the number of games; without a seed, any."""
        super().reset(seed=seed)
        drawn, look_seed = (int(self.np_random.integers(2**63)) for _ in range(2))
        self._number = (drawn if seed is None else seed) % self.games
        self._tale = tale = self._begin(self._number)
        self._labels = words.labels(tale.names)
        self._rules = words.rules(tale.goal, tale.templates, tale.recipe)
        if self.modality != "text":
            self._rules = f"{self._rules}\n{words.legend(self._labels)}"
            look = Look.draw(np.random.default_rng(look_seed)) if self.variation else Look.plain()
            self._picture = Picture(self.reach, self.size, look, self._labels)
        self._reply = words.BEGIN
        self._turns_left = self.max_turns
        self._longest = max(1, len(tale.plan())) if self.shaping else 1
        self._progress = 0.0
        self._note()
        return self._observation(), self._info(action_ok=True)

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Play one turn. Only a text that is letter by letter one of the engine's commands reaches the engine.

        Any other changes nothing but the turn counter, and costs a penalty.

        Raises:
            ResetNeeded: the episode is over.
        """
        if self._turns_left == 0:
            raise ResetNeeded("TextWorld: the episode is over; call reset() before step().")
        self._turns_left -= 1
        tale = self._tale
        obeyed = isinstance(action, str) and action in self._commands
        reward, self._reply = ILLEGAL_REWARD, words.NOTHING
        if obeyed:
            self._reply = tale.act(action)
            self._note()
            reward = SUCCESS_REWARD if tale.won else 0.0
            if self.shaping:
                before, self._progress = self._progress, self._share_done()
                reward += SHAPING * (self._progress - before)
        terminated = obeyed and (tale.won or tale.lost)
        truncated = not terminated and self._turns_left == 0
        info = self._info(action_ok=obeyed)
        if not obeyed:
            info["error"] = words.NOTHING
        if terminated or truncated:
            self._turns_left = 0
            info["success"] = tale.won
        return self._observation(), reward, terminated, truncated, info

    def expert_action(self) -> str | None:
        """The engine's next command, which knows where everything is; None once it sees no way to win."""
        tale = self._tale
        plan = [] if tale.won or tale.lost else tale.plan()
        return plan[0] if plan and plan[0] in self._commands else None

    def _share_done(self) -> float:
        """How much shorter the engine's plan is than at the start, from 0 to 1."""
        if self._tale.won:
            return 1.0
        plan = self._tale.plan()
        return max(0.0, 1 - len(plan) / self._longest) if plan else 0.0

    def _note(self) -> None:
        """Keep what the present state shows and allows: a refused text changes none of it."""
        tale = self._tale
        sight = tale.sight()
        if self.modality != "image":
            self._words = words.describe(sight)
        if self.modality != "text":
            self._frame = self._picture.draw(sight)
        self._commands = frozenset(tale.commands)
        useful = tuple(command for command in tale.commands if self.idle or not words.is_idle(command))
        self._legal = useful or tale.commands
        self._key = (self._number, tale.key())

    def _observation(self) -> dict[str, Any]:
        text = self._rules if self.modality == "image" else f"{self._rules}\n{self._reply}\n{self._words}"
        text = words.fitting(text, self._capacity)
        return {"text": text} if self.modality == "text" else {"image": self._frame.copy(), "text": text}

    def _info(self, action_ok: bool) -> dict[str, Any]:
        return {"action_ok": action_ok, "legal_actions": self._legal, "state_key": self._key}


class TextWorld(TextGame):
    """A challenge of TextWorld's.

    Args:
        challenge: one of the keys of `levels.LEVELS`.
        level: from 1; how many there are depends on the challenge.
        split: one of `levels.SPLITS`; no world is in both.
        games: how many there are in this split. Each is made when it is first played, and kept on the disk.
        modality: one of `MODALITIES`. With "text" there is no picture and no `image` in the observation.
        size: side of the square picture in pixels; None: the smallest, at which a dot is a pixel.
        max_turns: the episode is truncated after so many turns; None: after as many as the level allows.
        idle: whether `legal_actions` lists `look`, `inventory` and `examine`, too, which only tell what is seen anyway.
            They are obeyed in any case.
        shaping: add half of the progress made in each turn, by the length of the engine's plan.
        variation: whether each episode has its own colours and noise.

    Raises:
        PluginError: a setting is not one of those above, or TextWorld is not there.
    """

    def __init__(
        self,
        challenge: str = "CoinCollector",
        level: int = 1,
        split: str = "train",
        games: int = 100,
        modality: str = "image",
        size: int | None = None,
        max_turns: int | None = None,
        idle: bool = False,
        shaping: bool = False,
        variation: bool = True,
    ) -> None:
        check_choice("TextWorld", "challenge", challenge, tuple(LEVELS))
        check_whole("TextWorld", "level", level, 1, len(LEVELS[challenge]))
        check_choice("TextWorld", "split", split, SPLITS)
        check_whole("TextWorld", "games", games, 1, 1_000_000)
        demand_textworld()
        self._level = LEVELS[challenge][level - 1]
        self.challenge, self.level, self.split = challenge, level, split
        turns = self._level.max_turns if max_turns is None else max_turns
        super().__init__(games, modality, self._level.reach, size, turns, idle, shaping, variation)

    def _begin(self, number: int) -> Tale:
        from vlmq_env_textworld import making
        from vlmq_env_textworld.story import Story

        def make() -> bytes:
            level = self._level
            game = making.deal(self.challenge, level.settings, self.split, number, level.max_turns)
            return json.dumps(game.serialize()).encode()

        name = f"{making.STAMP}/{self.challenge}-{self.level}/{self.split}-{number}"
        return Story(making.load(json.loads(cached(name, make))))


class ALFWorld(TextGame):
    """ALFWorld's games, from a folder of its data.

    Args:
        split: one of "train", "valid_seen", "valid_unseen".
        data: the folder; None: what the environment variable ALFWORLD_DATA names.
        games: the first so many of the split's games, in the order of their names; None: all.
        modality, size, max_turns, idle, shaping, variation: as in `TextWorld`. Shaping asks the planner in each turn.

    Raises:
        PluginError: a setting is not one of those above, or the data or the planner are not there.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        **TextGame.metadata,
        "vlmq": {
            **TextGame.metadata["vlmq"],
            "requirements": (
                "ALFWorld's data: `pip install alfworld && alfworld-download`, and ALFWORLD_DATA=<its folder>",
                {"needs": "a planner", "command": "pip install fast-downward-textworld==20.6.4"},
            ),
            "licence": f"{LICENCE}; the planner: GPL-3; ALFWorld's data: MIT",
        },
    }

    def __init__(
        self,
        split: str = "train",
        data: str | None = None,
        games: int | None = None,
        modality: str = "image",
        size: int | None = None,
        max_turns: int = 50,
        idle: bool = False,
        shaping: bool = False,
        variation: bool = True,
    ) -> None:
        demand_textworld()
        folder = demand_alfworld(data)
        from vlmq_env_textworld import alfworld

        check_choice("TextWorld", "split", split, alfworld.SPLITS)
        self._files = alfworld.game_files(folder, split)
        if not self._files:
            wanted = folder / alfworld.VERSION / split
            raise PluginError(
                f"ALFWorld: {wanted} holds no game (*/*/{alfworld.GAME_FILE}): download the data anew."
            )
        if games is not None:
            check_whole("TextWorld", "games", games, 1, len(self._files))
            self._files = self._files[:games]
        self.split = split
        self._player: Player | None = None
        reach = alfworld.SIDE // 2
        super().__init__(len(self._files), modality, reach, size, max_turns, idle, shaping, variation)

    def _begin(self, number: int) -> Tale:
        from vlmq_env_textworld.alfworld import Player

        if self._player is None:
            self._player = Player()
        return self._player.begin(self._files[number])

    def close(self) -> None:
        """Leave the planner to others. Calling it again does nothing; a later `reset` takes one again."""
        self._turns_left = 0
        if self._player is not None:
            self._player.close()
            self._player = None
