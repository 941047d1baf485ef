"""The picture: a floor plan with a tile for each receptacle, and in its last cell the player's hand.

A tile shows the receptacle and its number, the player if they stand there, and below what is known of the
content: a door (closed), a question mark (nobody went there yet), or the things in it with their numbers
and marks. All of that comes from `rules.Sight`, so the picture cannot show what was not seen.

Only tiles that changed since the last frame are drawn, and a tile that was drawn before is taken from a memo.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmq_env_household import sprites
from vlmq_env_household.catalogue import ROOMY
from vlmq_env_household.home import Home
from vlmq_env_household.look import Colour, Look
from vlmq_env_household.rules import NOWHERE, Sight, World

DOTS = 32
"""Side of a tile in dots, the unit of every length below. At the default size of a picture a dot is a pixel."""

_AGENT = (25, 2)
_SHELF = 14
"""Where a tile's content begins, from above."""

_SLOT = 10
"""Width of a thing and of its place in a tile."""

_SIGNS = {"clean": (5, -1), "hot": (5, 11), "cool": (5, 11), "lit": (5, 11)}
"""Where a mark is drawn beside a thing; a thing is hot or cool, never both."""


class Picture:
    """The pictures of one episode."""

    def __init__(self, home: Home, look: Look, size: int) -> None:
        self._home, self._look, self._size = home, look, size
        self._cell = size // home.side
        self._margin = (size - self._cell * home.side) // 2
        seed, reach = look.grain
        rng = np.random.default_rng(seed)
        self._grain = rng.integers(-reach, reach + 1, (size, size, 3), dtype=np.int8)
        self._sprites: dict[tuple[str, int, int], Image.Image] = {}
        self._tiles: dict[object, NDArray[np.uint8]] = {}
        self._shown: list[object] = [None] * (len(home.receptacles) + 1)
        self._bare = self._plan()
        self._frame = self._grained(self._bare, 0, 0)

    def draw(self, world: World) -> NDArray[np.uint8]:
        """The picture of the present state, as a new array of shape (size, size, 3)."""
        for place, seen in enumerate(world.sights):
            state = (place, seen, place == world.at)
            if self._shown[place] != state:
                self._shown[place] = state
                self._show(self._home.receptacles[place].cell, state)
        marks = () if world.hand == NOWHERE else world.marks[world.hand]
        hand = (world.hand, marks, world.at == NOWHERE)
        if self._shown[-1] != hand:
            self._shown[-1] = hand
            self._show((self._home.side - 1, self._home.side - 1), hand)
        return self._frame.copy()

    def _show(self, cell: tuple[int, int], state: tuple[int, Sight | tuple[str, ...], bool]) -> None:
        """Put the tile of this state into the frame."""
        left, top = (self._margin + self._cell * index for index in cell)
        tile = self._tiles.get(state)
        if tile is None:
            first, second, here = state
            canvas = _Tile(self, self._bare.crop((left, top, left + self._cell, top + self._cell)))
            if isinstance(second, Sight):
                self._draw_receptacle(canvas, first, second)
            else:
                self._draw_hand(canvas, first, second)
            if here:
                canvas.frame(self._agent_ink())
                canvas.stamp("agent", *_AGENT)
            tile = self._tiles[state] = self._grained(canvas.image, left, top)
        self._frame[top : top + self._cell, left : left + self._cell] = tile

    def _draw_receptacle(self, tile: _Tile, place: int, seen: Sight) -> None:
        colours, receptacle = self._look.colours, self._home.receptacles[place]
        tile.fill(colours["card"], 1, 1, DOTS - 1, _SHELF)
        tile.stamp(receptacle.kind, 1, 1)
        tile.number(receptacle.number, 16, 1, 8, 12)
        box = (1, _SHELF, DOTS - 1, DOTS - 1)
        if seen.cover == "closed":
            tile.fill(colours["door"], *box)
            tile.fill(colours["wall"], 15, _SHELF, 17, DOTS - 1)
            tile.fill(colours["knob"], 11, 20, 14, 25)
            tile.fill(colours["knob"], 18, 20, 21, 25)
        elif seen.cover == "unseen":
            tile.fill(colours["fog"], *box)
            tile.stamp("unseen", 13, 18)
        else:
            tile.fill(colours["paper"], *box)
            if seen.is_open:
                tile.fill(colours["door"], 1, _SHELF - 1, DOTS - 1, _SHELF)
            for slot, (thing, marks) in enumerate(seen.content):
                x = 1 + slot * _SLOT
                tile.stamp(self._home.things[thing].kind, x, _SHELF)
                tile.number(self._home.things[thing].number, x, _SHELF + 11, 4, 6)
                for mark in marks:
                    across, down = _SIGNS[mark]
                    tile.stamp(mark, x + across, _SHELF + down)

    def _draw_hand(self, tile: _Tile, held: int, marks: tuple[str, ...]) -> None:
        tile.fill(self._look.colours["hand"], 1, 1, DOTS - 1, DOTS - 1)
        if held == NOWHERE:
            tile.stamp("hand", 3, 3, 2)
            return
        tile.stamp(self._home.things[held].kind, 3, 2, 2)
        tile.number(self._home.things[held].number, 22, 18, 8, 12)
        for index, mark in enumerate(marks):
            tile.stamp(mark, 3 + 8 * index, 24)

    def _plan(self) -> Image.Image:
        """Floors and walls, without noise."""
        look, home = self._look, self._home
        image = Image.new("RGB", (self._size, self._size), look.colours["wall"])
        dot = max(1, round(self._cell / DOTS))
        for room in home.rooms:
            left, top, right, bottom = (self._margin + self._cell * edge for edge in room.block)
            floor = look.floors[room.kind]
            image.paste(floor, (left, top, right, bottom))
            line = tuple(channel - 24 for channel in floor)
            across, down = (round(stripe * self._cell / DOTS) for stripe in look.stripes)
            for x in range(left + across, right, across) if across else ():
                image.paste(line, (x, top, x + dot, bottom))
            for y in range(top + down, bottom, down) if down else ():
                image.paste(line, (left, y, right, y + dot))
            for box in ((left, top, right, top + dot), (left, top, left + dot, bottom)):
                image.paste(look.colours["wall"], box)
        return image

    def _grained(self, image: Image.Image, left: int, top: int) -> NDArray[np.uint8]:
        grain = self._grain[top : top + image.height, left : left + image.width]
        noisy: NDArray[np.int16] = np.asarray(image, np.int16) + grain
        return noisy.clip(0, 255).astype(np.uint8)

    def _agent_ink(self) -> Colour:
        red, green, blue, _ = self._look.inks[1 + list(sprites.INKS).index("m")].tolist()
        return red, green, blue

    def sprite(self, name: str, width: int, height: int) -> Image.Image:
        """A sprite in the inks of the episode, in pixels."""
        key = (name, width, height)
        if key not in self._sprites:
            flip = name in self._look.mirrored
            self._sprites[key] = sprites.sprite(name, self._look.inks, width, height, flip)
        return self._sprites[key]


class _Tile:
    """One tile under construction. Positions and lengths are in dots."""

    def __init__(self, picture: Picture, image: Image.Image) -> None:
        self.image = image
        self._picture = picture
        self._scale = image.width / DOTS

    def fill(self, colour: Colour, left: float, top: float, right: float, bottom: float) -> None:
        scale = self._scale
        box = (round(left * scale), round(top * scale), round(right * scale), round(bottom * scale))
        self.image.paste(colour, box)

    def frame(self, colour: Colour) -> None:
        """A frame of one dot around the tile."""
        for box in ((0, 0, DOTS, 1), (0, 0, 1, DOTS), (0, DOTS - 1, DOTS, DOTS), (DOTS - 1, 0, DOTS, DOTS)):
            self.fill(colour, *box)

    def stamp(self, name: str, x: float, y: float, times: int = 1) -> None:
        """A sprite, with its upper left corner here, so many times its size."""
        height, width = sprites.shapes()[name].shape
        self._paste(name, x, y, width * times, height * times)

    def number(self, number: str, x: float, y: float, width: float, height: float) -> None:
        """A number in a box, its digits side by side."""
        each = width / len(number)
        for index, digit in enumerate(number):
            self._paste(digit, x + index * each, y, each, height)

    def _paste(self, name: str, x: float, y: float, width: float, height: float) -> None:
        scale = self._scale
        image = self._picture.sprite(name, max(1, round(width * scale)), max(1, round(height * scale)))
        self.image.paste(image, (round(x * scale), round(y * scale)), image)


assert 1 + ROOMY * _SLOT < DOTS
