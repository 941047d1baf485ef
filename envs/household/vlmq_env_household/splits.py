"""Which goals and rooms belong to training, and which are held out: two rules that depend on names alone.

A pair of a thing and a receptacle ("mug", "cabinet") is held out in all kinds of task alike; looking in the light
pairs its thing with the lamp. A room is known by what stands in it, in the order of the floor plan: row by row,
left to right. A home of one split has only rooms of that split. Both rules hold out about one in five.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from zlib import crc32

from vlmq_env_household.catalogue import LAMP, ROOMS, THINGS, TREATMENTS

SPLITS = ("train", "held_out")

_ONE_IN = 5


def split_of_pair(thing: str, place: str) -> str:
    """The split in which a task may want this kind of thing in this kind of receptacle (or light)."""
    return _split(f"{thing} in {place}")


def split_of_room(kind: str, receptacles: Iterable[str]) -> str:
    """The split that a room belongs to, given the kinds of its receptacles in the order of the plan."""
    return _split(f"{kind}: {', '.join(receptacles)}")


@cache
def pairs(task: str, room: str, split: str) -> tuple[tuple[str, str], ...]:
    """Every (thing, place) that a task of this kind may ask for in this kind of room.

    The thing has a place to be found in the same room that is not the one where it must go.
    """
    found = []
    for thing, kind in THINGS.items():
        near = homes_in(thing, room)
        if task == "light":
            places = [LAMP] if kind.lookable and near and homes_in(LAMP, room) else []
        elif thing == LAMP or len(near) < 2:
            places = []
        elif task in TREATMENTS:
            appliance = TREATMENTS[task].appliance
            able = task in kind.verbs and appliance in ROOMS[room]
            places = [home for home in near if able and home != appliance]
        else:
            places = near
        found += [(thing, place) for place in places if split_of_pair(thing, place) == split]
    return tuple(sorted(found))


def homes_in(thing: str, room: str) -> list[str]:
    """The kinds of receptacles of this kind of room where this kind of thing is found."""
    kind = THINGS[thing]
    return sorted(home for home in set(kind.homes) if home in ROOMS[room] and room in kind.rooms)


def _split(name: str) -> str:
    return "held_out" if crc32(name.encode()) % _ONE_IN == 0 else "train"
