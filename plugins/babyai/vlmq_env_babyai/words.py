"""The level in words: what is seen and where, the nearest walls, what is carried."""

from __future__ import annotations

from collections.abc import Iterator

from minigrid.core.world_object import Door, WorldObj
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel

THING_BYTES = 48
"""Longest entry for one thing: "locked yellow door 12 ahead 12 right; "."""

MOST_THINGS = 64
"""More than any level holds."""

_DOOR_STATES = {(False, False): "closed ", (True, False): "open ", (False, True): "locked "}

Place = tuple[int, int]
"""Cells ahead of the agent, and to its right; negative ones are behind, and to its left."""


def describe(level: RoomGridLevel, view: str) -> str:
    """What the picture of this view shows: every thing; of the walls only the nearest in each direction."""
    cells = dict(_agent_view(level) if view == "agent" else _full_view(level))
    things = sorted(
        (abs(ahead) + abs(right), -ahead, right, f"{name(thing)} {_where(ahead, right)}")
        for (ahead, right), thing in cells.items()
        if thing is not None and thing.type != "wall" and (ahead, right) != (0, 0)
    )
    seen = "; ".join(entry[-1] for entry in things) or "nothing"
    return f"You see: {seen}.\nWalls: {_walls(cells)}."


def carried(level: RoomGridLevel) -> str:
    """What the agent holds, as a sentence."""
    return f"You carry: {name(level.carrying) if level.carrying else 'nothing'}."


def name(thing: WorldObj) -> str:
    """Colour and kind, and of a door its state."""
    state = _DOOR_STATES[thing.is_open, thing.is_locked] if isinstance(thing, Door) else ""
    return f"{state}{thing.color} {thing.type}"


def _agent_view(level: RoomGridLevel) -> Iterator[tuple[Place, WorldObj | None]]:
    """The cells that the agent sees."""
    grid, seen = level.gen_obs_grid()
    # it stands in the middle of the lowest row
    row, column = grid.height - 1, grid.width // 2
    for x in range(grid.width):
        for y in range(grid.height):
            if seen[x, y]:
                yield (row - y, x - column), grid.get(x, y)


def _full_view(level: RoomGridLevel) -> Iterator[tuple[Place, WorldObj | None]]:
    """All cells."""
    (x0, y0), ahead, right = level.agent_pos, level.dir_vec, level.right_vec
    for x in range(level.width):
        for y in range(level.height):
            dx, dy = int(x - x0), int(y - y0)
            place = int(dx * ahead[0] + dy * ahead[1]), int(dx * right[0] + dy * right[1])
            yield place, level.grid.get(x, y)


def _walls(cells: dict[Place, WorldObj | None]) -> str:
    found = []
    for word, (ahead, right) in {
        "ahead": (1, 0),
        "left": (0, -1),
        "right": (0, 1),
        "behind": (-1, 0),
    }.items():
        distance = 1
        while (place := (ahead * distance, right * distance)) in cells:
            thing = cells[place]
            if thing is not None and thing.type == "wall":
                found.append(f"{distance} {word}")
                break
            distance += 1
    return ", ".join(found) or "none in sight"


def _where(ahead: int, right: int) -> str:
    along = f"{abs(ahead)} {'ahead' if ahead > 0 else 'behind'}" if ahead else ""
    aside = f"{abs(right)} {'right' if right > 0 else 'left'}" if right else ""
    return " ".join(part for part in (along, aside) if part)
