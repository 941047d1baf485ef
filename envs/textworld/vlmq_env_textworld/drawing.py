"""The picture: a map around the agent, a column of what is here, and below both a strip of what is carried.

Everything is laid out in cells of 16 dots; at the default size a dot is a pixel, and a larger picture repeats each dot
a whole number of times. The map has the agent in its middle cell. A thing is a tile with its label: the
colour tells the kind, the line above whether it is open, closed or locked, the line below what was done to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from vlmq_env_textworld.sight import DIRECTIONS, Exit, Item, Place, Sight, flat

CELL = 16
"""Side of a cell of the map in dots."""

TILE = 8
"""Side of a thing's tile, with a gap of one dot at the right and below."""

COLOURS = {
    "wall": (44, 46, 58),
    "floor": (196, 200, 206),
    "here": (250, 244, 222),
    "fog": (104, 108, 124),
    "query": (232, 232, 240),
    "agent": (230, 0, 170),
    "things": (228, 220, 200),
    "bag": (170, 196, 216),
    "leather": (96, 66, 44),
    "ink": (24, 24, 28),
    "paper": (252, 252, 250),
    "thing": (250, 206, 40),
    "food": (92, 184, 80),
    "key": (240, 140, 40),
    "container": (120, 84, 170),
    "supporter": (152, 108, 66),
    "door": (40, 92, 150),
    "open": (252, 252, 250),
    "closed": (24, 24, 28),
    "locked": (214, 30, 30),
    "fried": (250, 220, 60),
    "roasted": (150, 84, 30),
    "grilled": (90, 90, 90),
    "burned": (20, 20, 20),
    "chopped": (60, 120, 230),
    "sliced": (230, 60, 60),
    "diced": (250, 250, 250),
    "clean": (60, 200, 240),
    "hot": (230, 60, 40),
    "cool": (60, 90, 220),
    "lit": (255, 250, 120),
}
_PALE_INK = ("container", "supporter", "door")
"""Kinds of things whose labels are written in white."""

_GAP = (5, 11)
"""The part of a cell's side that is open where there is a way."""

_SPREAD, _STRONGEST_GRAIN = 10, 6

Canvas = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Look:
    """How an episode looks.

    Attributes:
        colours: by the names in `COLOURS`.
        grain: seed and amplitude of the noise.
    """

    colours: Mapping[str, NDArray[np.uint8]]
    grain: tuple[int, int] = (0, 0)

    @classmethod
    def plain(cls) -> Look:
        """Nothing strays."""
        return cls({name: np.array(colour, np.uint8) for name, colour in COLOURS.items()})

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Look:
        """Every colour a little off, and noise."""
        offsets = rng.integers(-_SPREAD, _SPREAD + 1, size=(len(COLOURS), 3))
        strayed = (np.array(list(COLOURS.values())) + offsets).clip(0, 255).astype(np.uint8)
        grain = (int(rng.integers(2**63)), int(rng.integers(1, _STRONGEST_GRAIN + 1)))
        return cls(dict(zip(COLOURS, strayed, strict=True)), grain)


def smallest(reach: int) -> int:
    """Side in pixels of the smallest picture whose map reaches so many cells to each side of the agent."""
    return CELL * (2 * reach + 2)


class Picture:
    """The pictures of one episode.

    Args:
        reach: cells of the map on each side of the middle.
        size: side of the picture in pixels, at least `smallest(reach)`.
        look: colours and noise.
        labels: by the name of a thing.
    """

    def __init__(self, reach: int, size: int, look: Look, labels: Mapping[str, str]) -> None:
        self._reach, self._size, self._colours, self._labels = reach, size, look.colours, labels
        self._side = 2 * reach + 1
        seed, amplitude = look.grain
        rng = np.random.default_rng(seed)
        self._grain = rng.integers(-amplitude, amplitude + 1, (size, size, 3), dtype=np.int16)

    def draw(self, sight: Sight) -> Canvas:
        """The picture of the present state, as a new array of shape (size, size, 3)."""
        edge, dots = CELL * self._side, CELL * (self._side + 1)
        canvas = np.empty((dots, dots, 3), np.uint8)
        canvas[:] = self._colours["wall"]
        for cell in sight.fog:
            self._fog(self._at(canvas, cell))
        for place in sight.places:
            if place.cell is not None:
                self._place(self._at(canvas, place.cell), place, place is sight.place)
        canvas[:edge, edge:] = self._colours["things"]
        self._tiles(canvas[:edge, edge:], self._here(sight.place))
        canvas[edge:] = self._colours["bag"]
        _stamp(canvas[edge:], "bag", 4, 4, self._colours["leather"])
        self._tiles(canvas[edge:, CELL:], flat(sight.held))
        return self._finished(canvas)

    def _at(self, canvas: Canvas, cell: tuple[int, int]) -> Canvas:
        """The part of the canvas that a cell of the map has; nothing where it is off the map."""
        x, y = (self._reach + step for step in cell)
        if not (0 <= x < self._side and 0 <= y < self._side):
            return canvas[:0, :0]
        return canvas[CELL * y : CELL * (y + 1), CELL * x : CELL * (x + 1)]

    def _fog(self, part: Canvas) -> None:
        if part.size:
            part[1:-1, 1:-1] = self._colours["fog"]
            _stamp(part, "?", 5, 3, self._colours["query"], times=2)

    def _place(self, part: Canvas, place: Place, here: bool) -> None:
        if not part.size:
            return
        colours = self._colours
        part[1:-1, 1:-1] = colours["fog" if not place.seen else "here" if here else "floor"]
        tiles: list[Item | None] = [place.item] if place.item is not None else []
        if tiles and here:
            part[[0, -1], :] = part[:, [0, -1]] = colours["agent"]
        if tiles or not here:
            tiles += [item for item, _ in flat(place.items)]
        if len(tiles) > 4:
            tiles = [*tiles[:3], None]
        for index, item in enumerate(tiles):
            across, down = 1 + 7 * (index % 2), 1 + 7 * (index // 2)
            self._tile(part[down : down + 7, across : across + 7], item)
        for direction, way in place.exits.items():
            self._way(part, direction, way)
        if here and place.item is None:
            _stamp(part, "agent", 4, 3, colours["agent"])

    def _way(self, part: Canvas, direction: str, way: Exit) -> None:
        """Open the wall towards a direction, and hang the door."""
        turned = np.rot90(part, list(DIRECTIONS).index(direction))  # a view, with that side on top
        turned[0, _GAP[0] : _GAP[1]] = self._colours["floor"]
        if way.door is None:
            return
        door, ink = way.door, self._colours["locked" if way.door.state == "locked" else "door"]
        turned[0:3, [_GAP[0] - 1, _GAP[1]]] = ink
        if door.state in ("closed", "locked"):
            turned[0:3, _GAP[0] : _GAP[1]] = ink

    def _here(self, place: Place | None) -> list[tuple[Item, int]]:
        """What the column shows: the doors, or the piece of furniture, then the things."""
        if place is None:
            return []
        doors = [(way.door, 0) for way in place.exits.values() if way.door is not None]
        if place.item is not None:
            return [(place.item._replace(content=place.items), 0), *flat(place.items, 1)]
        return [*doors, *flat(place.items)]

    def _tiles(self, part: Canvas, items: Sequence[tuple[Item, int]]) -> None:
        """Tiles in rows, twice as large where they all fit so; what is in something has a bar at its left."""
        height, width = part.shape[:2]
        large = (height // (2 * TILE)) * (width // (2 * TILE))
        times = 2 if len(items) <= large else 1
        columns, rows = width // (TILE * times), height // (TILE * times)
        shown: list[tuple[Item | None, int]] = list(items[: columns * rows])
        if len(items) > columns * rows:
            shown[-1] = (None, 0)
        for index, (item, depth) in enumerate(shown):
            tile = np.empty((TILE, TILE, 3), np.uint8)
            tile[:] = part[0, 0]
            if depth:
                tile[:, 0] = self._colours["leather"]
            self._tile(tile[:7, 1:], item)
            x, y = TILE * times * (index % columns), TILE * times * (index // columns)
            part[y : y + TILE * times, x : x + TILE * times] = tile.repeat(times, 0).repeat(times, 1)

    def _tile(self, part: Canvas, item: Item | None) -> None:
        """A thing in 7 x 7 dots; None: there is more than can be shown."""
        colours = self._colours
        if item is None:
            _stamp(part, "+", 2, 1, colours["ink"])
            return
        part[:] = colours[item.kind]
        label = self._labels.get(item.name, "?")
        ink = colours["paper" if item.kind in _PALE_INK else "ink"]
        for index, sign in enumerate(label):
            _stamp(part, sign, 2 if len(label) == 1 else 4 * index, 1, ink)
        if item.state:
            part[0] = colours[item.state]
        for index, mark in enumerate(item.marks[:2]):
            part[6, 4 * index : 4 * index + 3] = colours[mark]

    def _finished(self, canvas: Canvas) -> Canvas:
        """The picture at its size: every dot so many pixels, the margin as the wall, and the noise."""
        times = self._size // len(canvas)
        large = canvas.repeat(times, 0).repeat(times, 1)
        margin = self._size - len(large)
        if margin:
            before = margin // 2
            full = np.empty((self._size, self._size, 3), np.uint8)
            full[:] = self._colours["wall"]
            full[before : before + len(large), before : before + len(large)] = large
            large = full
        noisy: NDArray[np.int16] = large + self._grain
        return noisy.clip(0, 255).astype(np.uint8)


def _stamp(part: Canvas, name: str, x: int, y: int, ink: NDArray[np.uint8], times: int = 1) -> None:
    """Draw a glyph with its upper left corner here."""
    shape = glyphs()[name].repeat(times, 0).repeat(times, 1)
    part[y : y + shape.shape[0], x : x + shape.shape[1]][shape] = ink


@lru_cache(maxsize=1)
def glyphs() -> dict[str, NDArray[np.bool_]]:
    """Every letter, digit and sign by name: (height, width), true where there is ink."""
    text = resources.files(__package__).joinpath("glyphs.txt").read_text(encoding="ascii")
    blocks = [block.split("\n") for block in text.removeprefix("= ").split("\n= ")]
    return {name: np.array([[dot == "#" for dot in row] for row in rows if row]) for name, *rows in blocks}
