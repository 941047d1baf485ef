"""Draws a home and a task that can be solved in it, from a generator of random numbers."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, TypeVar

import numpy as np

from vlmq_env_household.catalogue import LAMP, ROOMS, ROOMY, THINGS, TREATMENTS
from vlmq_env_household.home import Home, Receptacle, Room, Task, Thing
from vlmq_env_household.splits import homes_in, pairs, split_of_room

T = TypeVar("T")

Block = tuple[int, int, int, int]
"""Cells of the floor plan: left, top, right, bottom; the last two are not in it."""


class Level(NamedTuple):
    """How large a home is.

    Attributes:
        side: cells along each side of the floor plan.
        blocks: the cells of each room.
        receptacles: how many stand in each room.
        things: how many there are in all.
    """

    side: int
    blocks: tuple[Block, ...]
    receptacles: tuple[int, ...]
    things: int


LEVELS = (
    Level(2, ((0, 0, 2, 2),), (3,), 3),
    Level(3, ((0, 0, 3, 3),), (6,), 5),
    Level(4, ((0, 0, 4, 4),), (10,), 9),
    Level(5, ((0, 0, 5, 3), (0, 3, 5, 5)), (9, 7), 14),
    Level(6, ((0, 0, 3, 3), (3, 0, 6, 3), (0, 3, 3, 6), (3, 3, 6, 6)), (7, 7, 7, 6), 22),
)

_MOST_OF_A_KIND = 3
"""Things of one kind in a home, at most; of lamps there is one at most."""


def generate(rng: np.random.Generator, kind: str, level: int, split: str) -> Home:
    """A home of this level with a task of this kind; goal and rooms belong to the split."""
    plan = LEVELS[level]
    main = _pick(rng, [room for room in ROOMS if pairs(kind, room, split)])
    others = _shuffled(rng, [room for room in ROOMS if room != main])
    rooms = _shuffled(rng, [main, *others[: len(plan.blocks) - 1]])
    blocks = _shuffled(rng, list(zip(plan.blocks, plan.receptacles, strict=True)))
    task, receptacles = None, []
    for index, (room, (block, count)) in enumerate(zip(rooms, blocks, strict=True)):
        while True:
            required: list[str] = []
            if room == main:
                task = Task(kind, *_pick(rng, pairs(kind, room, split)))
                required = _required(rng, task, room)
            furniture = _furniture(rng, room, count, required)
            if split_of_room(room, furniture) == split:
                break
        cells = _cells(rng, block, count, plan.side)
        receptacles += [(name, index, cell) for name, cell in zip(furniture, cells, strict=True)]
    assert task is not None
    numbers = _numbers(rng, [name for name, _, _ in receptacles])
    named = tuple(
        Receptacle(name, f"{name} {number}", index, cell)
        for (name, index, cell), number in zip(receptacles, numbers, strict=True)
    )
    placed = _things(rng, task, named, rooms, plan.things)
    numbers = _numbers(rng, [thing for thing, _ in placed])
    things = tuple(
        Thing(thing, f"{thing} {number}", place)
        for (thing, place), number in zip(placed, numbers, strict=True)
    )
    where = tuple(Room(room, block) for room, (block, _) in zip(rooms, blocks, strict=True))
    return Home(plan.side, where, named, things, task)


def _required(rng: np.random.Generator, task: Task, room: str) -> list[str]:
    """The receptacles without which the task could not be solved."""
    end = _pick(rng, homes_in(LAMP, room)) if task.place == LAMP else task.place
    start = _pick(rng, [home for home in homes_in(task.thing, room) if home != task.place])
    appliance = [TREATMENTS[task.kind].appliance] if task.kind in TREATMENTS else []
    return list(dict.fromkeys([end, start, *appliance]))


def _furniture(rng: np.random.Generator, room: str, count: int, required: list[str]) -> list[str]:
    """The kinds of the receptacles of a room, in the order of the floor plan."""
    stock = Counter(ROOMS[room])
    stock.subtract(required)
    spare = _shuffled(rng, sorted(stock.elements()))
    return _shuffled(rng, required + spare[: count - len(required)])


def _cells(rng: np.random.Generator, block: Block, count: int, side: int) -> list[tuple[int, int]]:
    """Cells for the receptacles of a room, row by row; the last cell of the plan stays free."""
    left, top, right, bottom = block
    cells = [(x, y) for y in range(top, bottom) for x in range(left, right) if (x + 1, y + 1) != (side, side)]
    chosen = rng.permutation(len(cells))[:count]
    return [cells[index] for index in sorted(chosen.tolist())]


def _things(
    rng: np.random.Generator, task: Task, receptacles: tuple[Receptacle, ...], rooms: list[str], count: int
) -> list[tuple[str, int]]:
    """Kind and place of every thing: first those that the task needs, then others at random."""
    load = [0] * len(receptacles)
    placed: list[tuple[str, int]] = []

    def put(kind: str) -> None:
        homes, allowed = THINGS[kind].homes, THINGS[kind].rooms
        free = [
            place
            for place, receptacle in enumerate(receptacles)
            if receptacle.kind in homes
            and rooms[receptacle.room] in allowed
            # where the task ends there is room for all that it moves there, and nothing is there already
            and load[place] < ROOMY - (task.amount if receptacle.kind == task.place else 1)
            and not (kind == task.thing and receptacle.kind == task.place)
        ]
        if free:
            place = _pick(rng, free)
            load[place] += 1
            placed.append((kind, place))

    needed = [task.thing] * task.amount + [LAMP] * (task.kind == "light")
    for kind in needed:
        put(kind)
    assert len(placed) == len(needed), "a home lacks what its task needs"
    kinds = [kind for kind, (_, allowed, *_) in THINGS.items() if any(room in allowed for room in rooms)]
    while len(placed) < count:
        kind = _pick(rng, kinds)
        if sum(kind == other for other, _ in placed) < (1 if kind == LAMP else _MOST_OF_A_KIND):
            put(kind)
    return _shuffled(rng, placed)


def _numbers(rng: np.random.Generator, kinds: list[str]) -> list[int]:
    """A number for each of its kind, from 1, at random: the place on the plan does not tell it."""
    numbers, last = [0] * len(kinds), Counter[str]()
    for index in rng.permutation(len(kinds)).tolist():
        last[kinds[index]] += 1
        numbers[index] = last[kinds[index]]
    return numbers


def _pick(rng: np.random.Generator, options: list[T] | tuple[T, ...]) -> T:
    return options[int(rng.integers(len(options)))]


def _shuffled(rng: np.random.Generator, items: list[T]) -> list[T]:
    return [items[index] for index in rng.permutation(len(items)).tolist()]
