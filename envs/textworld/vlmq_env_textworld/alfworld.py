"""ALFWorld's games in play, from a folder of its data; the names of things are those that ALFWorld gives them."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from textworld import EnvInfos
from textworld.envs.pddl import PddlEnv

from vlmq_env_textworld.sight import Item, Place, Sight

SPLITS = ("train", "valid_seen", "valid_unseen")
VERSION = "json_2.1.1"
GAME_FILE = "game.tw-pddl"

SIDE = 7
"""Pieces of furniture in a row of the map."""

_MARKS = {"isclean": "clean", "ishot": "hot", "iscool": "cool", "istoggled": "lit"}
_TASK = re.compile(r"Your task is to: (.*?)\.?\s*$", re.MULTILINE)


def game_files(folder: Path, split: str) -> list[Path]:
    """The games of a split, in a fixed order; those that its authors found unsolvable have no such file."""
    found = (folder / VERSION / split).glob(f"*/*/{GAME_FILE}")
    return sorted(path for path in found if "movable" not in str(path) and "Sliced" not in str(path))


def names_of(ids: list[str]) -> dict[str, str]:
    """ALFWorld's names of things, such as "mug 2", from ids that hold kind and coordinates.

    Things of a kind are counted down in the order of their ids, as ALFWorld does.
    """
    kinds = {}
    for name in sorted(ids):
        kind, bar, _ = name.partition("_bar_")
        kinds[name] = (kind + "basin" if "basin" in name and bar else kind) if bar else ""
    left = Counter(kind for kind in kinds.values() if kind)
    names = {}
    for name, kind in kinds.items():
        if kind:
            names[name] = f"{kind} {left[kind]}"
            left[kind] -= 1
        else:
            names[name] = name
    return names


_idle: list[PddlEnv] = []
"""Engines that nobody uses. Each has a copy of the planner's library, and a process that unloads one crashes when it
ends; so they are kept for the next player."""


class Player:
    """Plays ALFWorld's games one after another."""

    def __init__(self) -> None:
        self._env = _idle.pop() if _idle else PddlEnv(EnvInfos(facts=True, admissible_commands=True))

    def begin(self, path: Path) -> Household:
        """Begin a game. One at a time: it ends the one before."""
        with _own_arguments():
            self._env.load(
                json.loads(path.read_text(encoding="utf-8"))
            )  # given a path, it leaves the file open
            names = names_of(list(self._env._entity_infos))
            for info in self._env._entity_infos.values():
                info.name = names[info.id]
            state = self._env.reset()
        return Household(self._env, state)

    def close(self) -> None:
        """Leave the engine to others. Calling it again does nothing."""
        if self._env is not None:
            _idle.append(self._env)
            self._env = None


class Household:
    """One game of ALFWorld's in play."""

    recipe: tuple[tuple[str, ...], ...] = ()
    lost = False

    def __init__(self, env: Any, state: Any) -> None:
        self._env = env
        task = _TASK.search(state.feedback)
        self.goal = task.group(1) if task else "unknown"
        self.templates = tuple(state["command_templates"])
        self._infos = state["_entity_infos"]
        self._seen: set[str] = set()
        self._note(state)
        furniture = {fact.arguments[0].name for fact in self._facts["receptacleatlocation"]}
        self._furniture = sorted(furniture, key=lambda name: _in_order(self._name(name)))
        things = {fact.arguments[0].name for fact in self._facts["inreceptacle"]}
        self.names = tuple(sorted(self._name(name) for name in furniture | things))

    @property
    def commands(self) -> tuple[str, ...]:
        """What the engine can obey now, in order of the alphabet."""
        return self._commands

    def act(self, command: str) -> str:
        """Obey one of `commands`, and give the game's answer."""
        state, _, _ = self._env.step(command)
        self._note(state)
        return " ".join(str(state.feedback).split())

    def plan(self) -> list[str]:
        """Commands of the planner's shortest way from here; none where there is none."""
        return list(self._env._pddl_state.replan(self._env._entity_infos))

    def key(self) -> str:
        """A digest of the state: all facts, and what was visited."""
        facts = sorted(str(fact) for group in self._facts.values() for fact in group)
        return blake2b(repr((facts, sorted(self._seen))).encode(), digest_size=16).hexdigest()

    def sight(self) -> Sight:
        """What is known now."""
        inside = defaultdict(list)
        for fact in self._facts["inreceptacle"]:
            inside[fact.arguments[1].name].append(fact.arguments[0].name)
        shut = self._of("openable") - self._of("opened")
        lids = self._of("openable")

        def item(name: str) -> Item:
            marks = tuple(word for fact, word in _MARKS.items() if name in self._of(fact))
            return Item(self._name(name), "thing", "", marks)

        def place(index: int, name: str) -> Place:
            kind = "container" if name in lids else "supporter"
            state = ("closed" if name in shut else "open") if name in lids else ""
            seen = name in self._seen
            items = tuple(sorted(item(thing) for thing in inside[name])) if seen and name not in shut else ()
            cell = (index % SIDE - SIDE // 2, index // SIDE - SIDE // 2)
            itself = Item(self._name(name), kind, state if seen else "")
            return Place(self._name(name), cell, {}, items, itself, seen)

        places = [place(index, name) for index, name in enumerate(self._furniture)]
        here = [self._name(name) for name in self._here]
        places.sort(key=lambda known: known.name not in here[:1])
        held = tuple(sorted(item(fact.arguments[1].name) for fact in self._facts["holds"]))
        return Sight(here[0] if here else None, tuple(places), (), held)

    def _note(self, state: Any) -> None:
        self._commands = tuple(state["admissible_commands"])
        self.won = bool(state["won"])
        self._facts: dict[str, list[Any]] = defaultdict(list)
        for fact in state["_facts"]:
            if not fact.name.startswith(("new-axiom", "not_")):
                self._facts[fact.name].append(fact)
        spots = {fact.arguments[1].name for fact in self._facts["atlocation"]}
        self._here = sorted(
            fact.arguments[0].name
            for fact in self._facts["receptacleatlocation"]
            if fact.arguments[1].name in spots
        )
        self._seen |= set(self._here)

    def _of(self, fact: str) -> set[str]:
        return {found.arguments[0].name for found in self._facts[fact]}

    def _name(self, name: str) -> str:
        return str(self._infos[name].name)


def _in_order(name: str) -> tuple[str, int]:
    """Sorts "drawer 2" before "drawer 10"."""
    kind, _, number = name.rpartition(" ")
    return (kind, int(number)) if number.isdigit() else (name, 0)


@contextmanager
def _own_arguments() -> Iterator[None]:
    """The planner's translator writes to `sys.argv`; nobody else's arguments may change."""
    before = list(sys.argv)
    try:
        yield
    finally:
        sys.argv[:] = before
