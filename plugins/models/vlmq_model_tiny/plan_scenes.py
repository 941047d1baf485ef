"""Scenes of floor plans: tiles with an icon and a number, some open, some closed, some never seen; one has a frame."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from vlmq_model_tiny import wording
from vlmq_model_tiny.draw import RGB, SIDE, Canvas, any_colour, contrasting, glyphs, luminance
from vlmq_model_tiny.icons import VARIANTS, icon, stamp
from vlmq_model_tiny.lexicon import MARKS, PLACES, THINGS
from vlmq_model_tiny.scene import Family, Pair, ask

HAND = "hand"
COVERS = ("open", "closed", "unseen")
_SPOTS = {
    4: ("top left", "top right", "bottom left", "bottom right"),
    6: ("top left", "top", "top right", "bottom left", "bottom", "bottom right"),
}
"""What the tiles are called, row by row, by their number; the plan has two rows."""


@dataclass(frozen=True)
class Thing:
    """A kind of thing, its number, its marks."""

    kind: str
    number: int
    marks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As it is called: "mug 1"."""
        return f"{self.kind} {self.number}"


@dataclass(frozen=True)
class Tile:
    """A place and what is known of it; one that is not open shows no things."""

    kind: str
    number: int
    cover: str
    things: tuple[Thing, ...] = ()

    @property
    def name(self) -> str:
        """As it is called: "fridge 1"."""
        return f"{self.kind} {self.number}"


@dataclass(frozen=True)
class Plan:
    """Tiles row by row, then the hand in the last cell: empty where it holds nothing; `frame` counts the cells."""

    tiles: tuple[Tile, ...]
    hand: tuple[Thing, ...]
    frame: int

    @property
    def held(self) -> Thing | None:
        """What is in hand."""
        return self.hand[0] if self.hand else None


@dataclass(frozen=True)
class _Look:
    """What one picture's tiles have in common."""

    card: RGB
    paper: RGB
    door: RGB
    fog: RGB
    frame: RGB
    lock: int
    variant: int
    mirrored: bool
    person: bool


def draw_plan(rng: Random) -> tuple[Plan, NDArray[np.uint8]]:
    """Two rows of two tiles, or of three; the last cell is the hand."""
    cells = 4 if rng.random() < 0.75 else 6
    plan = _deal(rng, cells)
    canvas = Canvas(rng, _shade(rng, light=rng.random() < 0.5), plain=rng.random() < 0.5)
    look = _look(rng)
    width = SIDE * 2 // cells
    for index in range(cells):
        x, y = width * (index % (cells // 2)), 32 * (index // (cells // 2))
        if index < len(plan.tiles):
            _draw_tile(canvas, plan.tiles[index], (x, y, width), look)
        else:
            _draw_hand(canvas, plan.held, (x, y, width), look)
        if index == plan.frame:
            if look.person:
                stamp(canvas, icon("person", 6, 11, look.variant), x + width - 7, y + 2)
            _frame(canvas, x, y, width, look.frame)
    return plan, canvas.finish()


def ask_frame(rng: Random, plan: Plan) -> Pair:
    """Which cell has the frame."""
    framed = plan.tiles[plan.frame].name if plan.frame < len(plan.tiles) else HAND
    return ask(rng, wording.PLAN_FRAME), framed


def ask_name(rng: Random, plan: Plan) -> Pair:
    """What stands where."""
    which = rng.randrange(len(plan.tiles))
    spots = _SPOTS[len(plan.tiles) + 1]
    return ask(rng, wording.PLAN_NAME, place=spots[which]), plan.tiles[which].name


def ask_cover(rng: Random, plan: Plan) -> Pair:
    """Whether a tile is open, closed or was never seen."""
    tile = rng.choice(plan.tiles)
    return ask(rng, wording.PLAN_COVER, name=tile.name), tile.cover


def ask_content(rng: Random, plan: Plan) -> Pair:
    """What lies in a tile."""
    tile = rng.choice([tile for tile in plan.tiles if tile.cover == "open"] or plan.tiles)
    content = ", ".join(thing.name for thing in tile.things) or wording.NOTHING
    return ask(rng, wording.PLAN_CONTENT, name=tile.name), content if tile.cover == "open" else tile.cover


def ask_find(rng: Random, plan: Plan) -> Pair | None:
    """Where a thing is."""
    found = [(thing, tile.name) for tile in plan.tiles for thing in tile.things]
    found += [(thing, HAND) for thing in plan.hand]
    if not found:
        return None
    thing, name = rng.choice(found)
    return ask(rng, wording.PLAN_FIND, thing=_called(thing, [other for other, _ in found])), name


def ask_command(rng: Random, plan: Plan) -> Pair:
    """What is to be done, in words that name the one thing and the one tile; in JSON at times."""
    question, command = rng.choice(_commands(rng, plan))
    if rng.random() < 0.4:
        return f"{question}\n{rng.choice(wording.FRAMES)}", wording.framed(command)
    return question, command


FAMILY = Family(
    draw_plan,
    {
        "plan_frame": ask_frame,
        "plan_name": ask_name,
        "plan_cover": ask_cover,
        "plan_content": ask_content,
        "plan_find": ask_find,
        "plan_command": ask_command,
    },
)


def any_thing(rng: Random) -> Thing:
    """Any thing, with one mark in a third of the cases and two in a few."""
    count = rng.choice((0, 0, 0, 0, 0, 0, 1, 1, 1, 2))
    drawn = rng.sample(MARKS, count)
    marks = tuple(mark for mark in MARKS if mark in drawn)
    if "hot" in marks and "cool" in marks:
        marks = ("hot",)
    return Thing(rng.choice(THINGS), rng.choice((1, 1, 1, 2, 2, 3)), marks)


def draw_number(canvas: Canvas, number: int, x: int, y: int, size: int, ink: RGB) -> None:
    """A number with its top left corner at (x, y)."""
    canvas.blend(glyphs(str(number), size), x, y, ink)


def _deal(rng: Random, cells: int) -> Plan:
    most = 2 if cells == 4 else 1
    tiles: list[Tile] = []
    names: set[str] = {HAND}

    def new_thing() -> Thing:
        thing = any_thing(rng)
        while thing.name in names:
            thing = any_thing(rng)
        names.add(thing.name)
        return thing

    while len(tiles) < cells - 1:
        doubled = bool(tiles) and rng.random() < 0.12
        tile = Tile(
            tiles[-1].kind if doubled else rng.choice(PLACES),
            rng.choice((1, 1, 1, 1, 2, 2, 3, 4)),
            rng.choice(("open", "open", "open", "closed", "unseen")),
        )
        if tile.name in names:
            continue
        names.add(tile.name)
        if tile.cover == "open":
            things = tuple(new_thing() for _ in range(rng.choice((0, 1, 1, most))))
            tile = Tile(tile.kind, tile.number, tile.cover, things)
        tiles.append(tile)
    hand = (new_thing(),) if rng.random() < 0.5 else ()
    return Plan(tuple(tiles), hand, rng.randrange(cells))


def _called(thing: Thing, among: list[Thing]) -> str:
    """Its kind, or with the number where there are two of a kind."""
    return thing.kind if [other.kind for other in among].count(thing.kind) == 1 else thing.name


def _commands(rng: Random, plan: Plan) -> list[Pair]:
    """Orders that this plan can be given, and the commands that say them in full."""
    kinds = [tile.kind for tile in plan.tiles]
    single = [tile for tile in plan.tiles if kinds.count(tile.kind) == 1] or [plan.tiles[0]]
    tile = rng.choice(single)
    place = tile.kind if tile in single and kinds.count(tile.kind) == 1 else tile.name
    found = [
        (ask(rng, wording.GO, place=place), f"go to {tile.name}"),
        (ask(rng, wording.OPEN, place=place), f"open {tile.name}"),
    ]
    lying = [(thing, home) for home in plan.tiles for thing in home.things]
    if lying:
        thing, home = rng.choice(lying)
        called = _called(thing, [other for other, _ in lying] + list(plan.hand))
        taken = ask(rng, wording.TAKE, thing=called), f"take {thing.name} from {home.name}"
        found += [taken] * 3
    if plan.held:
        moved = ask(rng, wording.MOVE, place=place), f"move {plan.held.name} to {tile.name}"
        found += [moved] * 2
    return found


def _look(rng: Random) -> _Look:
    light = rng.random() < 0.75
    card, paper = (_shade(rng, light) for _ in range(2))
    doors = ((134, 92, 54), (120, 120, 130), (80, 60, 50), any_colour(rng))
    fog = any_colour(rng) if rng.random() < 0.4 else (160, 163, 170)
    frame = rng.choice(
        ((230, 0, 170), (230, 0, 170), (230, 30, 30), (250, 220, 20), (20, 220, 60), (30, 120, 255))
    )
    return _Look(
        card,
        paper,
        rng.choice(doors),
        fog,
        frame,
        rng.randrange(3),
        rng.randrange(VARIANTS),
        rng.random() < 0.5,
        rng.random() < 0.5,
    )


def _shade(rng: Random, light: bool) -> RGB:
    """Nearly white, or a muted darker colour: a frame stands out from both."""
    level, spread = (rng.randrange(200, 236), 20) if light else (rng.randrange(40, 150), 30)
    return level + rng.randrange(spread), level + rng.randrange(spread), level + rng.randrange(spread)


def _ink(ground: RGB) -> RGB:
    return (20, 20, 24) if luminance(ground) > 110 else (250, 250, 250)


def _draw_tile(canvas: Canvas, tile: Tile, corner: tuple[int, int, int], look: _Look) -> None:
    """The place and its number above, what is known of it below."""
    x, y, width = corner
    narrow = width < 32
    canvas.box(x + 1, y + 1, x + width - 1, y + 15, look.card)
    side = 11 if narrow else 14
    stamp(canvas, icon(tile.kind, side, 11 if narrow else 12, look.variant, look.mirrored), x + 1, y + 2)
    draw_number(canvas, tile.number, x + side + 3, y + 3, 11 if narrow else 14, _ink(look.card))
    below = (x + 1, y + 15, x + width - 1, y + 31)
    if tile.cover == "closed":
        _draw_door(canvas, below, look)
    elif tile.cover == "unseen":
        canvas.box(*below, look.fog)
        mark = glyphs("?", 14)
        canvas.blend(mark, x + (width - mark.shape[1]) // 2, y + 18, _ink(look.fog))
    else:
        canvas.box(*below, look.paper)
        for slot, thing in enumerate(tile.things):
            _draw_thing(canvas, thing, x + 2 + 15 * slot, y + 15, look)


def _draw_thing(canvas: Canvas, thing: Thing, x: int, y: int, look: _Look) -> None:
    """A thing of 10 by 10 pixels, its number below, its first mark beside that."""
    stamp(canvas, icon(thing.kind, 10, 10, look.variant, look.mirrored), x, y)
    draw_number(canvas, thing.number, x, y + 10, 8, _ink(look.paper))
    for mark in thing.marks[:1]:
        stamp(canvas, icon(mark, 5, 5, look.variant), x + 6, y + 10)


def _draw_door(canvas: Canvas, box: tuple[int, int, int, int], look: _Look) -> None:
    left, top, right, bottom = box
    canvas.box(*box, look.door)
    middle = (left + right) // 2
    if look.lock == 0:
        ink = contrasting(canvas.rng, look.door, 60.0)
        canvas.box(middle - 1, top, middle + 1, bottom, (40, 34, 30))
        canvas.box(middle - 4, top + 6, middle - 2, top + 10, ink)
        canvas.box(middle + 2, top + 6, middle + 4, top + 10, ink)
    elif look.lock == 1:
        stamp(canvas, icon("padlock", 11, 13, look.variant), middle - 6, top + 1)
    else:
        ink = _ink(look.door)
        for step in range(top + 2, bottom - 1, 4):
            canvas.box(left + 1, step, right - 1, step + 1, ink)


def _draw_hand(canvas: Canvas, held: Thing | None, corner: tuple[int, int, int], look: _Look) -> None:
    """The hand, or what it holds in twice the size."""
    x, y, width = corner
    canvas.box(x + 1, y + 1, x + width - 1, y + 31, look.paper)
    if held is None:
        side = min(24, width - 5)
        stamp(canvas, icon("hand", side, side, look.variant, look.mirrored), x + 2, y + 4)
        return
    side = min(20, width - 7)
    stamp(canvas, icon(held.kind, side, side, look.variant, look.mirrored), x + 2, y + 2)
    draw_number(canvas, held.number, x + width - 9, y + 20, 13, _ink(look.paper))
    for index, mark in enumerate(held.marks):
        stamp(canvas, icon(mark, 7, 7, look.variant), x + 2 + 7 * index, y + 23)


def _frame(canvas: Canvas, x: int, y: int, width: int, colour: RGB) -> None:
    """One pixel wide or two."""
    for inset in range(canvas.rng.randrange(1, 3)):
        canvas.frame(x + inset, y + inset, x + width - 1 - inset, y + 31 - inset, colour)
