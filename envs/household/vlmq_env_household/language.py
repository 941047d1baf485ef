"""The words: commands, the task, and the state as a player may know it.

There is no parser. `COMMANDS` says how each command is written, the present state says which are legal, and a
text is a command exactly when it is one of those written out: "cabinet 1" cannot be found inside "cabinet 10".
"""

from __future__ import annotations

from vlmq_env_household.catalogue import RECEPTACLES, THINGS
from vlmq_env_household.home import Home, Task
from vlmq_env_household.rules import NOWHERE, Command, Sight, World

COMMANDS = {
    "go": "go to {place}",
    "open": "open {place}",
    "close": "close {place}",
    "take": "take {thing} from {place}",
    "move": "move {thing} to {place}",
    "use": "use {thing}",
    "clean": "clean {thing} with {place}",
    "heat": "heat {thing} with {place}",
    "cool": "cool {thing} with {place}",
    "examine": "examine {thing}{place}",
    "inventory": "inventory",
    "look": "look",
}
"""How each verb of a `rules.Command` is written. One examines a thing or a receptacle."""

SYNTAX = "Actions: " + ", ".join(
    form.format(thing="X" if verb == "examine" else "O", place="" if verb == "examine" else "R")
    for verb, form in COMMANDS.items()
)
"""What the agent is told of the commands: O and X stand for a thing, R and X for a receptacle."""

NOTHING = "Nothing happens."

_UNCOUNTED = {"bread", "lettuce", "toiletpaper"}


def say(command: Command, home: Home) -> str:
    """The text of a command."""
    thing = "" if command.thing == NOWHERE else home.things[command.thing].name
    place = "" if command.place == NOWHERE else home.receptacles[command.place].name
    return COMMANDS[command.verb].format(thing=thing, place=place)


class Phrasebook:
    """The commands of one home, each written out once."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._texts: dict[Command, str] = {}
        self._ways: dict[int, dict[str, Command]] = {}

    def __call__(self, command: Command) -> str:
        """The text of a command, as `say` gives it."""
        text = self._texts.get(command)
        if text is None:
            text = self._texts[command] = say(command, self._home)
        return text

    def legal(self, world: World) -> dict[str, Command]:
        """The commands that are legal now, by their text."""
        ways = self._ways.get(world.at)
        if ways is None:
            ways = self._ways[world.at] = {self(command): command for command in world.ways()}
        return ways | {self(command): command for command in world.deeds()}


def sentence(task: Task) -> str:
    """The task in one sentence."""
    if task.kind == "light":
        return f"Task: hold {a(task.thing)} in the light of {a(task.place)}."
    preposition = RECEPTACLES[task.place].preposition
    if task.kind == "two":
        plural = THINGS[task.thing].plural or f"{task.thing}s"
        return f"Task: put two {plural} {preposition} one {task.place}."
    return f"Task: put {a(f'{task.mark} {task.thing}'.strip())} {preposition} {a(task.place)}."


def a(noun: str) -> str:
    """The noun, which may follow marks, with its article."""
    if noun.split()[-1] in _UNCOUNTED:
        return f"some {noun}"
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def named(world: World, thing: int) -> str:
    """A thing with its marks: "clean hot mug 1"."""
    return " ".join((*world.marks[thing], world.home.things[thing].name))


def sight(world: World, place: int, seen: Sight) -> str:
    """One line about a receptacle: what is known of it."""
    name = world.home.receptacles[place].name
    if seen.cover:
        return f"{name}: {seen.cover}"
    content = ", ".join(" ".join((*marks, world.home.things[thing].name)) for thing, marks in seen.content)
    return f"{name}: {'open, ' if seen.is_open else ''}{content or 'empty'}"


def whereabouts(world: World) -> str:
    """One line about the player: place and hand."""
    at = "nowhere" if world.at == NOWHERE else world.home.receptacles[world.at].name
    hand = "nothing" if world.hand == NOWHERE else named(world, world.hand)
    return f"at: {at}; in hand: {hand}"


def reply(command: Command, world: World) -> str:
    """What the game answers to a command that was just obeyed."""
    verb, thing, place = command
    if verb == "inventory":
        return "You carry nothing." if world.hand == NOWHERE else f"You carry {named(world, world.hand)}."
    if verb == "look" or verb == "go":
        return "You are at no receptacle." if world.at == NOWHERE else f"At {_seen_at(world, world.at)}."
    if verb == "examine":
        return f"{named(world, thing)}." if thing != NOWHERE else f"{_seen_at(world, place)}."
    if verb == "use":
        return f"{world.home.things[thing].name} is {'on' if world.marks[thing] else 'off'}."
    return f"Done: {say(command, world.home)}."


class StateInWords:
    """Tells the state of one home: where the player is, what is in hand, and a line for each receptacle."""

    def __init__(self, home: Home) -> None:
        self._sights: list[Sight | None] = [None] * len(home.receptacles)
        self._lines = [""] * len(home.receptacles)
        self._rooms = [
            (room.kind, [place for place, other in enumerate(home.receptacles) if other.room == index])
            for index, room in enumerate(home.rooms)
        ]

    def __call__(self, world: World) -> str:
        """The present state. Only lines about what changed since the last call are written anew."""
        for place, seen in enumerate(world.sights):
            if seen is not self._sights[place]:
                self._sights[place] = seen
                self._lines[place] = sight(world, place, seen)
        rooms = [
            line for room, places in self._rooms for line in (room, *map(self._lines.__getitem__, places))
        ]
        return "\n".join([whereabouts(world), *rooms])


def _seen_at(world: World, place: int) -> str:
    return sight(world, place, world.sights[place])
