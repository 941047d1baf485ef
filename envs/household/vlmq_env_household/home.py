"""A home before anybody moved: its rooms, receptacles and things, and the task that is set in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from vlmq_env_household.catalogue import TREATMENTS


class Receptacle(NamedTuple):
    """One receptacle.

    Attributes:
        kind: a key of `catalogue.RECEPTACLES`.
        name: what commands call it, such as "cabinet 2".
        room: its room, as an index into `Home.rooms`.
        cell: where it stands on the floor plan: column and row.
    """

    kind: str
    name: str
    room: int
    cell: tuple[int, int]

    @property
    def number(self) -> str:
        """The number in its name."""
        return self.name.rpartition(" ")[2]


class Thing(NamedTuple):
    """One thing.

    Attributes:
        kind: a key of `catalogue.THINGS`.
        name: what commands call it, such as "mug 1".
        place: where it lies at first, as an index into `Home.receptacles`.
    """

    kind: str
    name: str
    place: int

    @property
    def number(self) -> str:
        """The number in its name."""
        return self.name.rpartition(" ")[2]


class Room(NamedTuple):
    """One room.

    Attributes:
        kind: a key of `catalogue.ROOMS`.
        block: its cells on the floor plan: left, top, right, bottom; the last two are not in it.
    """

    kind: str
    block: tuple[int, int, int, int]


class Task(NamedTuple):
    """What is asked.

    Attributes:
        kind: "place", "light", "clean", "heat", "cool" or "two".
        thing: the kind of thing it is about.
        place: the kind of receptacle that it must end in; for "light" the lamp.
    """

    kind: str
    thing: str
    place: str

    @property
    def mark(self) -> str:
        """The mark that the thing must bear in the end, or ""."""
        return TREATMENTS[self.kind].mark if self.kind in TREATMENTS else ""

    @property
    def amount(self) -> int:
        """How many things must end together in one receptacle."""
        return 2 if self.kind == "two" else 1


TASKS = ("place", "light", "clean", "heat", "cool", "two")
"""Every kind of task."""


@dataclass(frozen=True)
class Home:
    """A home and its task.

    Attributes:
        side: cells along each side of the floor plan; the last cell, at the bottom right, holds no receptacle.
    """

    side: int
    rooms: tuple[Room, ...]
    receptacles: tuple[Receptacle, ...]
    things: tuple[Thing, ...]
    task: Task
