"""What the agent knows of a game: all that the picture may draw and the words may tell."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

DIRECTIONS = {"north": (0, -1), "east": (1, 0), "south": (0, 1), "west": (-1, 0)}
"""Steps on the map, right and down."""

Cell = tuple[int, int]


class Item(NamedTuple):
    """A thing that is in view or was.

    Attributes:
        name: as commands have it.
        kind: "thing", "food", "key", "container", "supporter" or "door".
        state: "open", "closed", "locked", or "" for what has no lid.
        marks: what was done to it, such as "fried".
        content: what is seen in or on it.
    """

    name: str
    kind: str = "thing"
    state: str = ""
    marks: tuple[str, ...] = ()
    content: tuple[Item, ...] = ()


class Exit(NamedTuple):
    """A way out of a place: where it leads, if that is known, and the door in it, if there is one."""

    to: str | None = None
    door: Item | None = None


class Place(NamedTuple):
    """A room, or a piece of furniture that one goes to.

    Attributes:
        name: what it is called.
        cell: where the map has it, right and down; None where another place is drawn in its stead.
        exits: ways out of it, by direction.
        items: what was seen there last.
        item: the piece of furniture itself, where that is what the place is.
        seen: whether anyone was there.
    """

    name: str
    cell: Cell | None
    exits: Mapping[str, Exit] = {}
    items: tuple[Item, ...] = ()
    item: Item | None = None
    seen: bool = True


class Sight(NamedTuple):
    """All that is known at one moment.

    Attributes:
        here: name of the place where the agent stands, or None where it is at none.
        places: those that are known, the present one first.
        fog: cells of the map where a way leads and nobody was.
        held: what the agent carries.
    """

    here: str | None
    places: tuple[Place, ...]
    fog: tuple[Cell, ...]
    held: tuple[Item, ...]

    @property
    def place(self) -> Place | None:
        """Where the agent stands."""
        return self.places[0] if self.here is not None else None


def flat(items: Iterable[Item], depth: int = 0) -> list[tuple[Item, int]]:
    """Each item with how deep it lies in others; what is in something follows it."""
    found = []
    for item in items:
        found.append((item, depth))
        found += flat(item.content, depth + 1)
    return found


def lay_out(here: str, ways: Mapping[str, Mapping[str, str]], seen: Collection[str]) -> dict[str, Cell]:
    """Cells of the places that were seen, the present one at (0, 0), found along the ways between them.

    Ways need not fit a grid: where two places claim a cell, the one that is fewer steps away has it, and the other
    is left out.
    """
    cells: dict[str, Cell] = {here: (0, 0)}
    taken = {(0, 0)}
    frontier = [here]
    reached = {here}
    for place in frontier:
        for direction, (right, down) in DIRECTIONS.items():
            near = ways.get(place, {}).get(direction)
            if near is None or near not in seen or near in reached:
                continue
            reached.add(near)
            cell = (cells[place][0] + right, cells[place][1] + down)
            if cell not in taken:
                taken.add(cell)
                cells[near] = cell
                frontier.append(near)
    return cells


def fog_around(cells: Mapping[str, Cell], ways: Mapping[str, Mapping[str, str]]) -> tuple[Cell, ...]:
    """Cells that a way leads to from a place on the map, and that no place has."""
    fog = set()
    for place, (x, y) in cells.items():
        for direction, to in ways.get(place, {}).items():
            right, down = DIRECTIONS[direction]
            if to not in cells:
                fog.add((x + right, y + down))
    return tuple(sorted(fog - set(cells.values())))
