"""The rules: what can be done in a home, what it changes, and what has been seen of it.

Receptacles and things are indices into those of the `Home`. Everything that a player may know of a receptacle
is its `Sight`; whoever draws or tells the state works from sights alone, so nothing hidden can leak.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

from vlmq_env_household.catalogue import LAMP, LIT, MARKS, RECEPTACLES, ROOMY, THINGS, TREATMENTS
from vlmq_env_household.home import Home

NOWHERE = -1
"""Where the player stands at first, what an empty hand holds, and the place of a thing in hand."""


class Command(NamedTuple):
    """One action: a verb, and the thing and the receptacle that it is about, each an index or `NOWHERE`."""

    verb: str
    thing: int = NOWHERE
    place: int = NOWHERE


class Sight(NamedTuple):
    """What is known of one receptacle.

    Attributes:
        cover: "closed", "unseen" (open to view, but nobody went there yet) or "" (its content is in view).
        content: the things in view in the order in which they were put there, each with its marks.
        is_open: whether it was opened; false where there is nothing to open.
    """

    cover: str
    content: tuple[tuple[int, tuple[str, ...]], ...]
    is_open: bool


class World:
    """A home in play.

    Attributes:
        home: what never changes.
        at: the receptacle in front of the player, or `NOWHERE`.
        hand: the thing in hand, or `NOWHERE`.
        places: for each thing the receptacle that it is in, or `NOWHERE` for the one in hand.
        marks: for each thing what it is, in the order of `catalogue.MARKS`.
        contents: for each receptacle the things in it, in the order in which they were put there.
        opened: for each receptacle whether it is open; false where there is nothing to open.
        visited: for each receptacle whether the player went there.
        sights: for each receptacle what is known of it.
    """

    def __init__(self, home: Home) -> None:
        count = len(home.receptacles)
        self.home = home
        self.at = NOWHERE
        self.hand = NOWHERE
        self.places = [thing.place for thing in home.things]
        self.marks: list[tuple[str, ...]] = [()] * len(home.things)
        self.contents: list[tuple[int, ...]] = [
            tuple(index for index, thing in enumerate(home.things) if thing.place == place)
            for place in range(count)
        ]
        self.opened = [False] * count
        self.visited = [False] * count
        self.sights = [self._sight(place) for place in range(count)]
        task = home.task
        self._wanted = [index for index, thing in enumerate(home.things) if thing.kind == task.thing]
        self._ends = [place for place, other in enumerate(home.receptacles) if other.kind == task.place]

    def copy(self) -> World:
        """An independent world in the same state."""
        twin = copy(self)
        for name in ("places", "marks", "contents", "opened", "visited", "sights"):
            setattr(twin, name, getattr(self, name).copy())
        return twin

    @property
    def key(self) -> tuple[object, ...]:
        """The whole state as a hashable value: what has been seen belongs to it."""
        return (
            self.at,
            self.hand,
            tuple(self.contents),
            tuple(self.marks),
            tuple(self.opened),
            tuple(self.visited),
        )

    def is_closed(self, place: int) -> bool:
        """Whether the receptacle can be opened and is not open."""
        return RECEPTACLES[self.home.receptacles[place].kind].openable and not self.opened[place]

    def has_room(self, place: int) -> bool:
        """Whether one more thing fits in."""
        return len(self.contents[place]) < ROOMY

    def legal(self) -> list[Command]:
        """Everything that can be done now, in no particular order."""
        return self.ways() + self.deeds()

    def ways(self) -> list[Command]:
        """What can be done whatever the state, but for the place where the player is: go elsewhere, look about."""
        places = [place for place in range(len(self.opened)) if place != self.at]
        return [Command("inventory"), Command("look"), *(Command("go", NOWHERE, place) for place in places)]

    def deeds(self) -> list[Command]:
        """What the present state allows, here and with what is in hand."""
        commands: list[Command] = []
        at, hand = self.at, self.hand
        if hand != NOWHERE:
            commands.append(Command("examine", thing=hand))
        if at == NOWHERE:
            return commands
        commands.append(Command("examine", place=at))
        kind = self.home.receptacles[at].kind
        if RECEPTACLES[kind].openable:
            commands.append(Command("close" if self.opened[at] else "open", place=at))
        if not self.sights[at].cover:
            for thing in self.contents[at]:
                commands.append(Command("examine", thing=thing))
                if self.home.things[thing].kind == LAMP:
                    commands.append(Command("use", thing=thing))
                elif hand == NOWHERE:
                    commands.append(Command("take", thing, at))
            if hand != NOWHERE and self.has_room(at):
                commands.append(Command("move", hand, at))
        if hand != NOWHERE:
            commands += [
                Command(verb, hand, at)
                for verb in THINGS[self.home.things[hand].kind].verbs
                if TREATMENTS[verb].appliance == kind
            ]
        return commands

    def apply(self, command: Command) -> None:
        """Do what is legal; "examine", "inventory" and "look" change nothing."""
        verb, thing, place = command
        if verb == "go":
            self.at = place
            self.visited[place] = True
        elif verb == "open":
            self.opened[place] = True
        elif verb == "close":
            self.opened[place] = False
        elif verb == "take":
            self.contents[place] = tuple(other for other in self.contents[place] if other != thing)
            self.places[thing], self.hand = NOWHERE, thing
        elif verb == "move":
            self.contents[place] = (*self.contents[place], thing)
            self.places[thing], self.hand = place, NOWHERE
        elif verb == "use":
            self._mark(thing, *((LIT, "") if LIT not in self.marks[thing] else ("", LIT)))
        elif verb in TREATMENTS:
            self._mark(thing, TREATMENTS[verb].mark, TREATMENTS[verb].undoes)
        if self.at != NOWHERE:
            self.sights[self.at] = self._sight(self.at)

    def solved(self) -> bool:
        """Whether the task is done."""
        task = self.home.task
        if task.kind == "light":
            return self.hand in self._wanted and self._in_light()
        return any(sum(map(self.serves, self.contents[place])) >= task.amount for place in self._ends)

    def progress(self) -> float:
        """The share of the way that is done, in [0, 1]: 1 exactly where the task is solved.

        The milestones of a thing: it bears the mark (where one is asked for), it is in hand or where it must
        end, it is where it must end with its mark. Of "light": in hand, a lamp that is on, both together.
        """
        task, wanted = self.home.task, self._wanted
        if task.kind == "light":
            lit = any(LIT in marks for marks in self.marks)
            return ((self.hand in wanted) + lit + self.solved()) / 3
        if task.kind == "two":
            together = max(sum(map(self.serves, self.contents[place])) for place in self._ends)
            return min(2 * together + (self.hand in wanted), 4) / 4
        best = 0.0
        for index in wanted:
            place = self.places[index]
            there = place in self._ends
            marked, milestones = self.serves(index), 3 if task.mark else 2
            reached = (marked and bool(task.mark)) + (there or place == NOWHERE) + (there and marked)
            best = max(best, reached / milestones)
        return best

    def serves(self, thing: int) -> bool:
        """Whether the thing is of the kind that the task wants, with the mark that it wants."""
        task = self.home.task
        return self.home.things[thing].kind == task.thing and (
            not task.mark or task.mark in self.marks[thing]
        )

    def _in_light(self) -> bool:
        return self.at != NOWHERE and any(LIT in self.marks[thing] for thing in self.contents[self.at])

    def _mark(self, thing: int, added: str, removed: str) -> None:
        had = self.marks[thing]
        self.marks[thing] = tuple(m for m in MARKS if (m in had and m != removed) or m == added)

    def _sight(self, place: int) -> Sight:
        if self.is_closed(place):
            return Sight("closed", (), False)
        if not self.visited[place]:
            return Sight("unseen", (), self.opened[place])
        content = tuple((thing, self.marks[thing]) for thing in self.contents[place])
        return Sight("", content, self.opened[place])
