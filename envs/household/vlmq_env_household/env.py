"""The environment: an episode in one home, seen as a floor plan, in words, or both."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from vlmq.api import action_space, check_choice, check_flags, check_whole, observation_space
from vlmq_env_household import language
from vlmq_env_household.drawing import DOTS, Picture
from vlmq_env_household.expert import next_command, searching_command
from vlmq_env_household.generator import LEVELS, generate
from vlmq_env_household.home import TASKS
from vlmq_env_household.look import Look
from vlmq_env_household.rules import World
from vlmq_env_household.splits import SPLITS

MODALITIES = ("image", "both", "text")
"""Where the state is shown: in the picture alone, in picture and text, or in the text alone."""

EXPERTS = ("searching", "shortest")
"""Who shows the way: one that looks for things, or one that knows where they are."""

SUCCESS_REWARD = 1.0
ILLEGAL_REWARD = -0.1
SHAPING = 0.5
"""Weight of the progress made or lost in a turn, where shaping is asked for."""

CELL_PX, LARGEST_PX = DOTS, 1024
"""Smallest side of one cell of the floor plan, at which every dot of the drawing is a pixel; largest picture."""

RULES_BYTES = 512
"""Capacity of a text that holds the task and the syntax."""

LINE_BYTES = 96
"""Longest line about one receptacle in words: its name, and three things with three marks each."""


class Household(gymnasium.Env[dict[str, Any], str]):
    """Go about a home, find things, do something with them, bring them to where the task wants them.

    Reward: 1 when the task is solved, which ends the episode; -0.1 for a text that is no legal command; else 0.
    A home is drawn from `np_random`, the look of its picture from a generator seeded by one further draw of it:
    so a seed gives the same home and task in every modality, size and variation.

    Args:
        task: one of `home.TASKS`, or "any" for one of them at random in each episode.
        level: from 0, one room with three receptacles, to 4, four rooms with 27.
        split: one of `splits.SPLITS`: goals and rooms of training, or those held out from it.
        modality: one of `MODALITIES`. With "text" there is no picture and no `image` in the observation.
        size: side of the square picture in pixels; 32 or more for each cell of the plan, which has `level` + 2
            cells a side; None: 32 for each.
        max_turns: the episode is truncated after so many turns.
        shaping: add half the progress made in each turn (and take it away for progress undone). The sum over an
            episode depends on its first and last state alone.
        variation: whether each episode has its own colours, floors and noise; within an episode they never change.
        show_syntax: whether the text tells the syntax of the commands: always the same, and most of what there is to
            read beside a picture. An agent that has data to learn it from does without.

        expert: one of `EXPERTS`. The shortest way cannot be imitated: it goes to things that nobody has seen.

    Raises:
        PluginError: a setting is not one of those above.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # gymnasium declares it for instances
        "render_modes": [],
        "vlmq": {
            "reward_range": (ILLEGAL_REWARD, SUCCESS_REWARD),
            "success": "The task was solved within the turn limit.",
            "modalities": MODALITIES,
            "requirements": (),
            "licence": "Apache-2.0",
        },
    }

    def __init__(
        self,
        task: str = "any",
        level: int = 0,
        split: str = "train",
        modality: str = "image",
        size: int | None = None,
        max_turns: int = 50,
        shaping: bool = False,
        variation: bool = True,
        show_syntax: bool = True,
        expert: str = "searching",
    ) -> None:
        check_choice("Household", "task", task, (*TASKS, "any"))
        check_choice("Household", "split", split, SPLITS)
        check_choice("Household", "modality", modality, MODALITIES)
        check_choice("Household", "expert", expert, EXPERTS)
        check_whole("Household", "level", level, 0, len(LEVELS) - 1)
        check_whole("Household", "max_turns", max_turns, 1, 10_000)
        check_flags("Household", shaping=shaping, variation=variation, show_syntax=show_syntax)
        side = LEVELS[level].side
        size = CELL_PX * side if size is None else size
        check_whole("Household", "size", size, CELL_PX * side, LARGEST_PX)
        self.task, self.level, self.split, self.modality = task, level, split, modality
        self.size, self.max_turns, self.expert = size, max_turns, expert
        self.shaping, self.variation, self.show_syntax = shaping, variation, show_syntax
        if self.shaping:
            low, high = min(ILLEGAL_REWARD, -SHAPING), SUCCESS_REWARD + SHAPING
            own = {**self.metadata["vlmq"], "reward_range": (low, high)}
            self.metadata = {**self.metadata, "vlmq": own}  # type: ignore[misc]
        shown = None if modality == "text" else size
        words = 0 if modality == "image" else LINE_BYTES * (sum(LEVELS[level].receptacles) + 8)
        self.observation_space = observation_space(shown, shown, text_bytes=RULES_BYTES + words)
        self.action_space = action_space()
        self._turns_left = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Draw a home, a task and a look, and show the first observation."""
        super().reset(seed=seed)
        rng = self.np_random
        kind = TASKS[int(rng.integers(len(TASKS)))] if self.task == "any" else self.task
        home = generate(rng, kind, self.level, self.split)
        look_seed = int(rng.integers(2**63))
        self._world = World(home)
        self._say = language.Phrasebook(home)
        sentence = language.sentence(home.task)
        self._rules = f"{sentence}\n{language.SYNTAX}" if self.show_syntax else sentence
        self._reply = "You begin."
        self._turns_left = self.max_turns
        self._progress = self._world.progress()
        if self.modality != "text":
            look = Look.draw(np.random.default_rng(look_seed)) if self.variation else Look.plain()
            self._picture = Picture(home, look, self.size)
        if self.modality != "image":
            self._words = language.StateInWords(home)
        return self._observation(), self._info(action_ok=True)

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Play one turn. Text that is no legal command changes nothing but the turn counter, and costs a penalty.

        Raises:
            ResetNeeded: the episode is over.
        """
        if self._turns_left == 0:
            raise ResetNeeded("Household: the episode is over; call reset() before step().")
        self._turns_left -= 1
        world = self._world
        command = self._legal.get(action) if isinstance(action, str) else None
        solved, reward = False, ILLEGAL_REWARD
        self._reply = language.NOTHING
        if command is not None:
            world.apply(command)
            solved = world.solved()
            self._reply = language.reply(command, world)
            before, self._progress = self._progress, world.progress()
            reward = SUCCESS_REWARD if solved else 0.0
            if self.shaping:
                reward += SHAPING * (self._progress - before)
        truncated = not solved and self._turns_left == 0
        info = self._info(action_ok=command is not None)
        if command is None:
            info["error"] = language.NOTHING
        if solved or truncated:
            self._turns_left = 0
            info["success"] = solved
        return self._observation(), reward, solved, truncated, info

    def expert_action(self) -> str | None:
        """The next command of the expert that was asked for; None once the task is solved."""
        world = self._world
        if world.solved():
            return None
        searching = self.expert == "searching" and self._turns_left > 0
        command = searching_command(world, self._turns_left) if searching else next_command(world)
        return self._say(command)

    def _observation(self) -> dict[str, Any]:
        if self.modality == "image":
            return {"image": self._picture.draw(self._world), "text": self._rules}
        text = f"{self._rules}\n{self._reply}\n{self._words(self._world)}"
        if self.modality == "text":
            return {"text": text}
        return {"image": self._picture.draw(self._world), "text": text}

    def _info(self, action_ok: bool) -> dict[str, Any]:
        self._legal = self._say.legal(self._world)
        return {
            "action_ok": action_ok,
            "legal_actions": tuple(sorted(self._legal)),
            "progress": self._progress,
            "state_key": self._world.key,
        }
