"""Scenes of grids: an arrow among walls, doors, balls, keys and boxes; what is where, and which way it lies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlmq_model_tiny import wording
from vlmq_model_tiny.draw import RGB, SIDE, Canvas, Mask, any_colour, luminance
from vlmq_model_tiny.lexicon import DOOR_STATES, GRID_COLOURS, GRID_KINDS
from vlmq_model_tiny.scene import Family, Pair, ask

Cell = tuple[int, int]
"""Row and column, from the top left."""

HEADINGS: tuple[Cell, ...] = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""Up, right, down, left."""

COLOURS: dict[str, RGB] = {
    "red": (235, 30, 30),
    "green": (20, 225, 40),
    "blue": (40, 60, 240),
    "purple": (130, 50, 200),
    "yellow": (240, 235, 20),
    "grey": (115, 115, 115),
}
_WALL, _NOTHING = "wall", wording.NOTHING
_ENLARGE = 4


@dataclass(frozen=True)
class Grid:
    """What a picture shows.

    Attributes:
        side: cells across and down.
        arrow: the cell of the arrow.
        heading: an index of `HEADINGS`.
        cells: what lies in each visible cell: "nothing", "wall" or a thing's name.
    """

    side: int
    arrow: Cell
    heading: int
    cells: dict[Cell, str]

    def at(self, ahead: int, right: int) -> str | None:
        """What lies so far from the arrow; None where nothing is seen."""
        down, across = HEADINGS[self.heading]
        row, column = self.arrow
        return self.cells.get((row + ahead * down + right * across, column + ahead * across - right * down))

    def seen_from(self, cell: Cell) -> tuple[int, int]:
        """How far ahead of the arrow and to its right a cell lies."""
        down, across = HEADINGS[self.heading]
        row, column = cell[0] - self.arrow[0], cell[1] - self.arrow[1]
        return row * down + column * across, row * across - column * down


def draw_grid(rng: Random) -> tuple[Grid, NDArray[np.uint8]]:
    """A room with an arrow: mostly seen by the arrow itself, which then looks up from the middle of the last row."""
    grid = _deal(rng)
    canvas = Canvas(rng, (0, 0, 0) if rng.random() < 0.7 else any_colour(rng), plain=rng.random() < 0.5)
    cell = SIDE // grid.side
    left = rng.choice((0, (SIDE - cell * grid.side) // 2))
    floor, line, wall = _grounds(rng)
    for (row, column), content in grid.cells.items():
        x, y = left + cell * column, left + cell * row
        canvas.box(x, y, x + cell, y + cell, line)
        canvas.box(x + 1, y + 1, x + cell, y + cell, floor)
        if content == _WALL:
            canvas.box(x, y, x + cell, y + cell, wall)
        elif content != _NOTHING:
            words = content.split()
            kind = content.replace(f"{words[-2]} ", "")
            canvas.blend(mask(kind, cell), x, y, _stray(rng, COLOURS[words[-2]]))
    ink = COLOURS["red"] if rng.random() < 0.7 else (255, 255, 255)
    row, column = grid.arrow
    canvas.blend(mask(f"arrow {grid.heading}", cell), left + cell * column, left + cell * row, ink)
    return grid, canvas.finish()


def ask_cell(rng: Random, grid: Grid) -> Pair | None:
    """What lies in a cell, named by row and column or seen from the arrow."""
    cells = [cell for cell in grid.cells if cell != grid.arrow]
    things = _things(grid)
    cell = rng.choice(things if things and rng.random() < 0.6 else cells)
    if rng.random() < 0.3:
        return ask(rng, wording.GRID_CELL, row=str(cell[0] + 1), column=str(cell[1] + 1)), grid.cells[cell]
    return ask(rng, wording.GRID_STEPS, steps=_steps(*grid.seen_from(cell))), grid.cells[cell]


def ask_where(rng: Random, grid: Grid) -> Pair | None:
    """How far ahead and aside a thing lies."""
    found = _single(rng, grid)
    if found is None:
        return None
    cell, name = found
    return ask(rng, wording.GRID_WHERE, name=name), _steps(*grid.seen_from(cell))


def ask_front(rng: Random, grid: Grid) -> Pair | None:
    """What the arrow would bump into."""
    front = grid.at(1, 0)
    if front is None:
        return None
    if rng.random() < 0.4:
        return ask(rng, wording.GRID_WALL), "yes" if front == _WALL else "no"
    return ask(rng, wording.GRID_FRONT), front


def ask_way(rng: Random, grid: Grid) -> Pair | None:
    """On which side a thing lies, or how to turn towards it."""
    found = _single(rng, grid)
    if found is None:
        return None
    ahead, right = grid.seen_from(found[0])
    side = "left" if right < 0 else "right" if right > 0 else "ahead" if ahead > 0 else "behind"
    if side == "behind" or rng.random() < 0.5:
        return ask(rng, wording.GRID_SIDE, name=found[1]), side
    return ask(rng, wording.GRID_TURN, name=found[1]), "go forward" if side == "ahead" else f"turn {side}"


def ask_seen(rng: Random, grid: Grid) -> Pair | None:
    """Whether a thing is there, or which colour the only one of its kind has."""
    things = _things(grid)
    if not things:
        return None
    colour, kind = grid.cells[rng.choice(things)].split()[-2:]
    kinds = [grid.cells[cell].split()[-1] for cell in things]
    if kinds.count(kind) == 1 and rng.random() < 0.4:
        return ask(rng, wording.GRID_COLOUR, kind=kind), colour
    if rng.random() < 0.5:  # something that is partly right
        colour, kind = (
            (rng.choice(GRID_COLOURS), kind) if rng.random() < 0.5 else (colour, rng.choice(GRID_KINDS))
        )
    there = any(grid.cells[cell].endswith(f"{colour} {kind}") for cell in things)
    return ask(rng, wording.GRID_SEEN, name=f"{colour} {kind}"), "yes" if there else "no"


FAMILY = Family(
    draw_grid,
    {
        "grid_cell": ask_cell,
        "grid_where": ask_where,
        "grid_front": ask_front,
        "grid_way": ask_way,
        "grid_seen": ask_seen,
    },
)


def _deal(rng: Random) -> Grid:
    own_view = rng.random() < 0.65
    side = rng.choice((5, 7, 7, 7, 9)) if own_view else rng.randrange(5, 9)
    heading = 0 if own_view else rng.randrange(4)
    arrow = (side - 1, side // 2) if own_view else (rng.randrange(1, side - 1), rng.randrange(1, side - 1))
    top, left, right, bottom = _room(rng, side, arrow, own_view)
    cells: dict[Cell, str] = {}
    for row in range(max(top, 0), min(bottom, side - 1) + 1):
        for column in range(max(left, 0), min(right, side - 1) + 1):
            border = row in (top, bottom) or column in (left, right)
            cells[row, column] = _WALL if border else _NOTHING
    free = [cell for cell, content in cells.items() if content == _NOTHING and cell != arrow]
    for cell in rng.sample(free, min(len(free), rng.randrange(1, 8))):
        cells[cell] = f"{rng.choice(GRID_COLOURS)} {rng.choice(GRID_KINDS[:3])}"
    down, across = HEADINGS[heading]
    front = (arrow[0] + down, arrow[1] + across)
    if cells.get(front) == _NOTHING and rng.random() < 0.25:
        cells[front] = f"{rng.choice(GRID_COLOURS)} {rng.choice(GRID_KINDS[:3])}"
    walls = [cell for cell, content in cells.items() if content == _WALL]
    for cell in rng.sample(walls, min(len(walls), rng.choice((0, 0, 1, 1, 2)))):
        cells[cell] = f"{rng.choice(DOOR_STATES)} {rng.choice(GRID_COLOURS)} door"
    return Grid(side, arrow, heading, cells)


def _room(rng: Random, side: int, arrow: Cell, own_view: bool) -> tuple[int, int, int, int]:
    """Rows and columns of the walls (top, left, right, bottom); those outside the picture are not seen."""
    if own_view:
        top = side - 2 if rng.random() < 0.25 else _far(rng, arrow[0] - 1, -1)
        return top, _far(rng, arrow[1] - 1, -1), _far(rng, arrow[1] + 1, side), side
    top, left = _far(rng, arrow[0] - 1, 0), _far(rng, arrow[1] - 1, 0)
    return top, left, _far(rng, arrow[1] + 1, side - 1), _far(rng, arrow[0] + 1, side - 1)


def _far(rng: Random, near: int, far: int) -> int:
    """A whole number between the two, nearer to the second in most cases."""
    share = max(rng.random(), rng.random())
    return near + round(share * (far - near))


def _things(grid: Grid) -> list[Cell]:
    return [
        cell
        for cell, content in grid.cells.items()
        if content not in (_WALL, _NOTHING) and cell != grid.arrow
    ]


def _single(rng: Random, grid: Grid) -> tuple[Cell, str] | None:
    """A thing that is the only one of its colour and kind."""
    cells = _things(grid)
    rng.shuffle(cells)
    names = [" ".join(grid.cells[cell].split()[-2:]) for cell in cells]
    return next(
        ((cell, name) for cell, name in zip(cells, names, strict=True) if names.count(name) == 1), None
    )


def _steps(ahead: int, right: int) -> str:
    along = f"{abs(ahead)} {'ahead' if ahead > 0 else 'behind'}" if ahead else ""
    aside = f"{abs(right)} {'right' if right > 0 else 'left'}" if right else ""
    return f"{along} {aside}".strip()


def _grounds(rng: Random) -> tuple[RGB, RGB, RGB]:
    """Colours of the floor, of the lines between its cells, of walls."""
    if rng.random() < 0.7:
        level = rng.randrange(40, 95)
        floor, wall = (level, level, level), (level + 70,) * 3
        line = (level + 18,) * 3 if rng.random() < 0.7 else floor
        return floor, line, wall
    floor = any_colour(rng)
    wall = (95, 70, 50) if luminance(floor) > 128 else (175, 170, 180)
    red, green, blue = (max(0, channel - 20) for channel in floor)
    return floor, (red, green, blue), wall


def _stray(rng: Random, colour: RGB) -> RGB:
    red, green, blue = (min(255, max(0, channel + rng.randint(-15, 15))) for channel in colour)
    return red, green, blue


@lru_cache(maxsize=256)
def mask(kind: str, side: int) -> Mask:
    """Coverage 0-255 of a thing or an arrow in a cell of so many pixels."""
    large = side * _ENLARGE
    picture = Image.new("L", (large, large))
    pen = ImageDraw.Draw(picture)

    def box(left: float, top: float, right: float, bottom: float, fill: int = 255) -> None:
        pen.rectangle([left * large, top * large, right * large - 1, bottom * large - 1], fill)

    if kind.startswith("arrow"):
        pen.polygon(
            [(0.12 * large, 0.9 * large), (0.5 * large, 0.1 * large), (0.88 * large, 0.9 * large)], 255
        )
        picture = picture.rotate(-90 * int(kind[-1]))
    elif kind == "ball":
        pen.ellipse([0.15 * large, 0.15 * large, 0.88 * large, 0.88 * large], 255)
    elif kind == "box":
        box(0.1, 0.15, 0.9, 0.9)
        box(0.24, 0.29, 0.76, 0.76, 0)
        box(0.1, 0.46, 0.9, 0.6)
    elif kind == "key":
        pen.ellipse([0.34 * large, 0.08 * large, 0.78 * large, 0.48 * large], None, 255, round(0.13 * large))
        box(0.5, 0.45, 0.64, 0.95)
        box(0.34, 0.6, 0.5, 0.7)
        box(0.34, 0.8, 0.5, 0.92)
    elif kind == "open door":
        box(0.0, 0.0, 0.25, 1.0)
        box(0.07, 0.12, 0.17, 0.88, 90)
    else:
        box(0.02, 0.02, 1.0, 1.0)
        box(0.14, 0.14, 0.88, 0.88, 130 if kind == "locked door" else 0)
        box(0.62, 0.44, 0.78, 0.62)
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX), np.uint8).copy()
