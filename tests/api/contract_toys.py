"""Toy environments: one that keeps the contract, and for each check of the kit one that breaks just that.

Plain classes in a module, so that a process which has this folder on its path can import them by name.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from vlmq.api import action_space, observation_space

PLACES = ("ash", "birch", "cedar", "dogwood", "elm")


class Walk(gymnasium.Env[dict[str, Any], str]):
    """Walk along a row of trees to the one that the picture marks. It keeps the contract."""

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": [],
        "vlmq": {
            "reward_range": (-1.0, 1.0),
            "success": "the walker stands at the marked tree",
            "modalities": ("image", "both", "text"),
            "requirements": (),
            "licence": "Apache-2.0",
            "secrets": ("goal_name",),
        },
    }
    legal_actions = ("left", "right")
    turn_limit = 10
    goal_reward = 1.0
    illegal_reward = -1.0

    def __init__(self, modality: str = "image") -> None:
        self.modality = modality
        side = None if modality == "text" else 8
        self.observation_space = observation_space(side, side)
        self.action_space = action_space()
        self.place = self.goal = self.turns = 0
        self.over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.goal = int(self.np_random.integers(5))
        self.place = (self.goal + int(self.np_random.integers(1, 5))) % 5
        self.turns, self.over = 0, False
        return self.observation(), self.info(True)

    def step(self, action: str) -> Any:
        if self.over:
            raise ResetNeeded("the walk is over; call reset() first")
        self.turns += 1
        ok = self.understands(action)
        reward = -0.1 if ok else self.illegal_reward
        if ok:
            self.move(action)
        terminated = ok and self.place == self.goal
        if terminated:
            reward = self.goal_reward
        truncated = not terminated and self.turns >= self.turn_limit
        self.over = terminated or truncated
        info = self.info(ok)
        if self.over:
            info["success"] = terminated
        return self.observation(), reward, terminated, truncated, info

    @property
    def goal_name(self) -> str:
        return PLACES[self.goal]

    def understands(self, action: str) -> bool:
        return action in self.legal_actions

    def move(self, action: str) -> None:
        self.place = min(max(self.place + (1 if action == "right" else -1), 0), 4)

    def expert_action(self) -> str | None:
        return "right" if self.place < self.goal else "left"

    def info(self, ok: bool) -> dict[str, Any]:
        return {"action_ok": ok, "legal_actions": self.legal_actions, "state_key": (self.goal, self.place)}

    def text(self) -> str:
        task = "Walk to the marked tree. Actions: left, right."
        if self.modality == "image":
            return task
        return f"{task}\nTree {self.place} of 5, marked: {self.goal}."

    def image(self) -> np.ndarray:
        image = np.full((8, 8, 3), 230, np.uint8)
        image[2, self.goal] = (200, 0, 0)
        image[5, self.place] = (0, 0, 200)
        return image

    def observation(self) -> dict[str, Any]:
        shown = {"text": self.text()}
        return shown if self.modality == "text" else {**shown, "image": self.image()}


def declaring(**changes: Any) -> dict[str, Any]:
    """The metadata of Walk with other declarations; None takes one away."""
    ours = {**Walk.metadata["vlmq"], **changes}
    return {**Walk.metadata, "vlmq": {name: value for name, value in ours.items() if value is not None}}


class can_be_made(Walk):
    metadata = declaring(requirements=({"needs": "a loom", "command": "apt-get install loom"},))

    def __init__(self, modality: str = "image") -> None:
        raise RuntimeError("no loom on this machine")


class spec_pickles(Walk):
    """Its spec has a lambda among its arguments; see the test."""

    def __init__(self, modality: str = "image", extra: Any = None) -> None:
        super().__init__(modality)


class metadata_is_complete(Walk):
    metadata = declaring(licence=None)


class spaces_are_those_of_the_contract(Walk):
    def __init__(self, modality: str = "image") -> None:
        super().__init__(modality)
        self.action_space = gymnasium.spaces.Discrete(2)


class modalities_work(Walk):
    def __init__(self, modality: str = "image") -> None:
        super().__init__("both" if modality == "text" else modality)


class plays(Walk):
    def move(self, action: str) -> None:
        super().move(action)
        if self.place == 3:
            raise KeyError("tree 3 fell")


class observations_lie_in_their_space(Walk):
    def observation(self) -> dict[str, Any]:
        seen = super().observation()
        return {**seen, "image": seen["image"].astype(float)} if self.over and "image" in seen else seen


class action_ok_is_always_told(Walk):
    def info(self, ok: bool) -> dict[str, Any]:
        told = super().info(ok)
        if not self.turns:
            del told["action_ok"]
        return told


class a_text_is_no_utf8(Walk):
    def text(self) -> str:
        return f"{super().text()} \ud800"


class legal_actions_are_texts_or_none(Walk):
    def info(self, ok: bool) -> dict[str, Any]:
        return {**super().info(ok), "legal_actions": list(self.legal_actions)}


class legal_actions_can_be_written(Walk):
    """Its actions end in a blank; see the test for what else no agent can write."""

    legal_actions = ("left ", "right ")

    def __init__(self, modality: str = "image", right: str = "right ") -> None:
        super().__init__(modality)
        self.legal_actions = ("left", right) if right != "left" else ("left", "right", "left")

    def move(self, action: str) -> None:
        super().move("right" if action == self.legal_actions[1] else "left")

    def expert_action(self) -> str | None:
        return self.legal_actions[super().expert_action() == "right"]


class episodes_end(Walk):
    metadata = declaring(turn_limit=10)
    turn_limit = 40


class success_is_told_at_the_end(Walk):
    def step(self, action: str) -> Any:
        *rest, truncated, info = super().step(action)
        if truncated:
            del info["success"]
        return *rest, truncated, info


class infos_pickle(Walk):
    def info(self, ok: bool) -> dict[str, Any]:
        return {**super().info(ok), "draw": UNPICKLABLE}


UNPICKLABLE = lambda: None  # noqa: E731


class the_id_that_is_played_plays_the_same(Walk):
    def info(self, ok: bool) -> dict[str, Any]:
        return {**super().info(ok), "env_id": "line/Walk-v0"}


class rewards_lie_in_their_range(Walk):
    goal_reward = 10.0


class a_reward_is_a_text(Walk):
    def step(self, action: str) -> Any:
        observation, reward, *rest = super().step(action)
        return observation, str(reward), *rest


class an_ended_episode_stays_ended(Walk):
    def step(self, action: str) -> Any:
        if self.over:
            self.place, self.turns, self.over = (self.goal + 2) % 5, 0, False
        return super().step(action)


class reset_begins_anew(Walk):
    wear = 0

    def image(self) -> np.ndarray:
        return super().image() - np.uint8(self.wear % 100)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.wear += 1
        return super().reset(seed=seed)


class the_seed_decides(Walk):
    made = 0

    def __init__(self, modality: str = "image") -> None:
        super().__init__(modality)
        type(self).made += 1
        self.shade = np.uint8(self.made % 100)

    def image(self) -> np.ndarray:
        return super().image() - self.shade


class the_seed_decides_in_a_fresh_process(Walk):
    def image(self) -> np.ndarray:
        return super().image() - np.uint8(hash("shade") % 100)


class seeds_differ(Walk):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place, self.goal = 1, 4
        return self.observation(), self.info(True)

    metadata = declaring(secrets=())


class global_generators_are_left_alone(Walk):
    def move(self, action: str) -> None:
        random.random()
        super().move(action)


class the_picture_follows_the_state(Walk):
    def image(self) -> np.ndarray:
        if self.turns == 0:
            self.first = super().image()
        return self.first.copy()


class the_text_leaves_the_picture_its_part(Walk):
    def text(self) -> str:
        return f"Walk to the marked tree. Actions: left, right.\nTree {self.place} of 5, marked: {self.goal}."


class legal_actions_are_accepted(Walk):
    def info(self, ok: bool) -> dict[str, Any]:
        return {**super().info(ok), "legal_actions": (*self.legal_actions, "jump")}


class no_text_raises(Walk):
    def understands(self, action: str) -> bool:
        return action.encode() in (b"left", b"right")


class only_legal_texts_are_accepted(Walk):
    def understands(self, action: str) -> bool:
        return action.strip() in self.legal_actions


class refused_texts_change_nothing(Walk):
    def understands(self, action: str) -> bool:
        known = action in self.legal_actions
        if not known and "left" in action:
            self.place = max(self.place - 1, 0)
        return known


class refused_texts_leave_no_trace(Walk):
    """A refused text draws from the generator that decides whether a step away from the tree slips."""

    def understands(self, action: str) -> bool:
        known = action in self.legal_actions
        if not known:
            self.np_random.random()
        return known

    def move(self, action: str) -> None:
        slips = self.np_random.random() < 0.5
        if not slips or (action == "right") == (self.place < self.goal):
            super().move(action)


class a_refused_text_turns_the_walker_round(Walk):
    hidden = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.hidden = False
        return super().reset(seed=seed)

    def understands(self, action: str) -> bool:
        known = action in self.legal_actions
        self.hidden = self.hidden or not known
        return known

    def move(self, action: str) -> None:
        super().move("left" if (action == "right") == self.hidden else "right")


class refused_texts_count_a_turn(Walk):
    def understands(self, action: str) -> bool:
        known = action in self.legal_actions
        self.turns -= not known
        return known


class refused_texts_pay_no_more(Walk):
    goal_reward = 0.5
    illegal_reward = 1.0


class no_text_is_slow_to_read(Walk):
    def understands(self, action: str) -> bool:
        time.sleep(4e-6 * len(action))
        return action in self.legal_actions


class hangs(Walk):
    def understands(self, action: str) -> bool:
        while len(action) > 5_000:
            pass
        return action in self.legal_actions


class hangs_when_made(Walk):
    def __init__(self, modality: str = "image") -> None:
        while True:
            time.sleep(0.01)


class exits_when_made(Walk):
    def __init__(self, modality: str = "image") -> None:
        sys.exit(0)


class exits_at_reset(Walk):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        sys.exit(0)


class exits_in_a_turn(Walk):
    def move(self, action: str) -> None:
        sys.exit(0)


class ends_the_process(Walk):
    def move(self, action: str) -> None:
        os._exit(0)


class kills_the_process(Walk):
    def move(self, action: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class dies_elsewhere(Walk):
    def __init__(self, modality: str = "image") -> None:
        super().__init__(modality)
        if "pytest" not in sys.modules:
            print("out of yarn", file=sys.stderr, flush=True)
            os._exit(3)


class expert_acts_legally(Walk):
    def expert_action(self) -> str | None:
        return str(super().expert_action()).upper()


class expert_solves(Walk):
    def expert_action(self) -> str | None:
        return "left" if self.goal == 4 and self.place == 0 else super().expert_action()


class expert_beats_chance(Walk):
    def move(self, action: str) -> None:
        super().move("right" if self.place < self.goal else "left")


class exits_at_a_later_seed(Walk):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None and seed > 2:
            sys.exit(0)
        return super().reset(seed=seed)


class chance_is_as_declared(Walk):
    metadata = declaring(chance_level=0.01)


class secrets_are_kept(Walk):
    def info(self, ok: bool) -> dict[str, Any]:
        return {**super().info(ok), "debug": f"the {self.goal_name} tree"}


class a_listed_answer_is_told(Walk):
    """Name the marked tree: the text lists all names, and then the right one once more."""

    legal_actions = PLACES

    def move(self, action: str) -> None:
        self.place = PLACES.index(action)

    def expert_action(self) -> str | None:
        return self.goal_name

    def text(self) -> str:
        return f"Which tree is marked? One of {', '.join(PLACES)}. (It is {self.goal_name}.)"


class answers_are_listed(a_listed_answer_is_told):
    def text(self) -> str:
        return f"Which tree is marked? One of {', '.join(PLACES)}."


class close_can_be_repeated(Walk):
    def __init__(self, modality: str = "image") -> None:
        super().__init__(modality)
        self.device = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        os.close(self.device)


class no_process_outlives_close(Walk):
    def __init__(self, modality: str = "image") -> None:
        super().__init__(modality)
        self.helper = subprocess.Popen(["sleep", "86399"], start_new_session=True)


class cannot_be_made_often(Walk):
    """A process can make twelve of them."""

    made = 0

    def __init__(self, modality: str = "image") -> None:
        super().__init__(modality)
        type(self).made += 1
        if self.made > 12:
            raise RuntimeError("no more looms")


class ends_the_process_when_closed_often(Walk):
    closed = 0

    def close(self) -> None:
        type(self).closed += 1
        if self.closed > 12:
            os._exit(0)


class no_thread_outlives_close(Walk):
    def __init__(self, modality: str = "image") -> None:
        super().__init__(modality)
        threading.Thread(target=threading.Event().wait, daemon=True).start()


KEPT: list[Any] = []


class no_file_stays_open(Walk):
    def __init__(self, modality: str = "image") -> None:
        super().__init__(modality)
        KEPT.append(os.open(os.devnull, os.O_RDONLY))


class memory_does_not_grow(Walk):
    def __init__(self, modality: str = "image") -> None:
        super().__init__(modality)
        KEPT.append(np.ones(100_000, np.uint8))


class sync_vectors_agree(Walk):
    shared: ClassVar[dict[str, int]] = {}

    @property
    def place(self) -> int:
        return self.shared.get("place", 0)

    @place.setter
    def place(self, value: int) -> None:
        self.shared["place"] = value


class async_vectors_agree(Walk):
    def text(self) -> str:
        return f"{super().text()} {'' if multiprocessing.parent_process() is None else 'In a worker.'}"


class gymnasium_finds_no_fault(Walk):
    def __init__(self, modality: str = "image") -> None:
        super().__init__(modality)
        self.frame = np.zeros((8, 8, 3), np.uint8)

    def image(self) -> np.ndarray:
        self.frame[:] = super().image()
        return self.frame
