"""A game of TextWorld in play: TextWorld's own engine in Python, and what its facts let the agent see.

`textworld.start` plays the same JSON by the same two classes, and works out for each turn lists that nobody asks for.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b

from textworld.generator.game import Game, GameProgression
from textworld.generator.inform7 import Inform7Game
from textworld.logic import Action, Proposition

from vlmq_env_textworld.sight import DIRECTIONS, Exit, Item, Place, Sight, fog_around, lay_out

KINDS = {
    "c": "container",
    "oven": "container",
    "s": "supporter",
    "stove": "supporter",
    "toaster": "supporter",
    "k": "key",
    "f": "food",
    "meal": "food",
    "d": "door",
}
"""By TextWorld's type; every other thing is a "thing"."""

STATES = ("open", "closed", "locked")
MARKS = ("fried", "roasted", "grilled", "burned", "chopped", "sliced", "diced")
HIDDEN = ("closed", "locked")

_NO_THINGS = ("P", "I", "r", "RECIPE", "ingredient", "slot")
_PLAYER, _INVENTORY = "P", "I"


class Story:
    """One game, from its beginning."""

    def __init__(self, game: Game) -> None:
        self._infos = game.infos
        self._progress = GameProgression(game)
        self._speaker = Inform7Game(game)
        self._seen: set[str] = set()
        self.templates = tuple(game.command_templates)
        self.names = tuple(
            sorted(info.name for info in game.infos.values() if info.name and info.type not in _NO_THINGS)
        )
        plan = self.plan()
        self.goal = plan[-1] if plan else game.objective
        self.recipe = tuple(tuple(step) for step in game.metadata.get("ingredients", ()))
        self._update()

    @property
    def commands(self) -> tuple[str, ...]:
        """What the engine can obey now, in order of the alphabet."""
        return tuple(self._actions)

    @property
    def won(self) -> bool:
        """Whether the quest is done."""
        return bool(self._progress.completed)

    @property
    def lost(self) -> bool:
        """Whether the quest can no longer be done."""
        return bool(self._progress.failed)

    def act(self, command: str) -> str:
        """Obey one of `commands`, and say what came of it."""
        self._progress.update(self._actions[command])
        self._update()
        if command.startswith("examine "):
            return self._description(command.removeprefix("examine "))
        return f"Done: {command}."

    def plan(self) -> list[str]:
        """Commands by which the engine would win from here; none where it cannot."""
        policy = self._progress.winning_policy
        return [] if policy is None else list(self._speaker.gen_commands_from_actions(policy))

    def key(self) -> str:
        """A digest of the state: all facts, and which rooms were seen."""
        facts = sorted(str(fact) for fact in self._progress.state.facts)
        return blake2b(repr((facts, sorted(self._seen))).encode(), digest_size=16).hexdigest()

    def sight(self) -> Sight:
        """What is known now."""
        ways, doors, inside, states = self._ways, self._doors, self._inside, self._states

        def item(name: str) -> Item:
            state = states.get(name, "")
            content = () if state in HIDDEN else items(name)
            info = self._infos[name]
            marks = tuple(mark for mark in MARKS if mark in self._marks.get(name, ()))
            return Item(info.name or "", KINDS.get(info.type, "thing"), state, marks, content)

        def items(holder: str) -> tuple[Item, ...]:
            return tuple(sorted(item(name) for name in inside[holder] if self._infos[name].name))

        def room(name: str) -> Place:
            exits = {}
            for direction in DIRECTIONS:
                to = ways[name].get(direction)
                if to is not None:
                    door = doors.get((name, to))
                    known = (self._infos[to].name or to) if to in self._seen else None
                    exits[direction] = Exit(known, None if door is None else item(door))
            return Place(self._infos[name].name or name, cells.get(name), exits, items(name))

        cells = lay_out(self._here, ways, self._seen)
        others = sorted(self._seen - {self._here}, key=lambda name: self._infos[name].name or name)
        places = tuple(room(name) for name in (self._here, *others))
        return Sight(places[0].name, places, fog_around(cells, ways), items(_INVENTORY))

    def _update(self) -> None:
        """Sort the facts, and list what can be done."""
        self._ways: dict[str, dict[str, str]] = defaultdict(dict)
        self._doors: dict[tuple[str, str], str] = {}
        self._inside: dict[str, list[str]] = defaultdict(list)
        self._states: dict[str, str] = {}
        self._marks: dict[str, set[str]] = defaultdict(set)
        for fact in self._progress.state.facts:
            self._note(fact)
        self._seen.add(self._here)
        self._actions = self._legal()

    def _note(self, fact: Proposition) -> None:
        names = [argument.name for argument in fact.arguments]
        match fact.name:
            case "at" if names[0] == _PLAYER:
                self._here = names[1]
            case "at" | "in" | "on":
                self._inside[names[1]].append(names[0])
            case "link":
                self._doors[names[0], names[2]] = names[1]
            case state if state in STATES:
                self._states[names[0]] = state
            case mark if mark in MARKS:
                self._marks[names[0]].add(mark)
            case way if way.endswith("_of") and way.removesuffix("_of") in DIRECTIONS:
                self._ways[names[1]][way.removesuffix("_of")] = names[0]

    def _legal(self) -> dict[str, Action]:
        """The engine's actions by command; of two that read alike, either will do, and always the same is taken."""
        actions = self._progress.valid_actions
        commands = self._speaker.gen_commands_from_actions(actions)
        found: dict[str, Action] = {}
        for command, action in sorted(
            zip(commands, actions, strict=True), key=lambda pair: (pair[0], str(pair[1]))
        ):
            found.setdefault(command, action)
        return found

    def _description(self, name: str) -> str:
        """What TextWorld wrote about a thing, unless it is a program for another engine."""
        for info in self._infos.values():
            if info.name == name and info.desc and "[" not in info.desc:
                return " ".join(info.desc.split())
        return f"Nothing special about {name}."
