"""Scenes of single icons and of inventory panels: what is it, what is in hand, which marks does it have."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from vlmq_model_tiny import wording
from vlmq_model_tiny.draw import SIDE, Canvas, contrasting, glyphs, luminance, shade
from vlmq_model_tiny.icons import VARIANTS, icon, stamp
from vlmq_model_tiny.lexicon import MARKS, PLACES, THINGS
from vlmq_model_tiny.plan_scenes import Thing, any_thing, draw_number
from vlmq_model_tiny.scene import Exchange, Family, Pair, ask

_KINDS = (*THINGS, *PLACES)
_SIZES = (10, 12, 14, 18, 22, 28, 36)
"""Few, for an icon is painted anew for each."""


@dataclass(frozen=True)
class Panel:
    """Slots from left to right, then down; None where one is empty. `hand` is the one in hand."""

    slots: tuple[Thing | None, ...]
    hand: int


def icons(rng: Random) -> list[Exchange]:
    """The name of a thing or a piece of furniture, or of one of two."""
    canvas = _ground(rng)
    variant = rng.randrange(VARIANTS)
    if rng.random() < 0.5:
        kind = rng.choice(_KINDS)
        _anywhere(canvas, kind, variant, (0, 0, SIDE, SIDE), rng.choice(_SIZES))
        return [Exchange(canvas.finish(), ask(rng, wording.ICON), kind)]
    pair = rng.sample(_KINDS, 2)
    stacked = rng.random() < 0.5
    for half, kind in enumerate(pair):
        box = (0, 32 * half, SIDE, 32) if stacked else (32 * half, 0, 32, SIDE)
        _anywhere(canvas, kind, variant, box, rng.choice(_SIZES[:5]))
    which = rng.randrange(2)
    names = ("top", "bottom") if stacked else ("left", "right")
    return [Exchange(canvas.finish(), ask(rng, wording.ICON_AT, place=names[which]), pair[which])]


def draw_panel(rng: Random) -> tuple[Panel, NDArray[np.uint8]]:
    """One slot that fills the picture, or two by two with a bright one for the hand."""
    canvas = _ground(rng)
    variant = rng.randrange(VARIANTS)
    count = rng.choice((1, 1, 4))
    things: list[Thing | None] = []
    for _ in range(count):
        thing = any_thing(rng)
        doubled = any(other is not None and other.kind == thing.kind for other in things)
        things.append(None if doubled or rng.random() < (0.2 if count == 1 else 0.3) else thing)
    panel = Panel(tuple(things), rng.randrange(count))
    side = SIDE if count == 1 else 32
    bright, dim = shade(rng, rng.choice(("yellow", "white", "orange")), 20), shade(rng, "white", 20)
    dim = (dim[0] // 3, dim[1] // 3, dim[2] // 3)
    for slot, content in enumerate(panel.slots):
        x, y = side * (slot % 2), side * (slot // 2)
        ground = bright if slot == panel.hand else dim
        canvas.box(x + 1, y + 1, x + side - 1, y + side - 1, ground)
        ink = (20, 20, 20) if luminance(ground) > 110 else (250, 250, 250)
        size = rng.choice((28, 36)) if count == 1 else rng.choice((14, 18))
        if content is None:
            if slot == panel.hand:
                stamp(canvas, icon("hand", size, size, variant), x + 3, y + 3)
            continue
        stamp(canvas, icon(content.kind, size, size, variant, rng.random() < 0.5), x + 3, y + 3)
        font = 22 if count == 1 else 12
        draw_number(canvas, content.number, x + side - font * 3 // 4, y + side - 2 - font * 3 // 4, font, ink)
        badge = 14 if count == 1 else 8
        for index, mark in enumerate(content.marks):
            stamp(
                canvas, icon(mark, badge, badge, variant), x + 3 + (badge + 1) * index, y + side - badge - 2
            )
    return panel, canvas.finish()


def ask_hand(rng: Random, panel: Panel) -> Pair:
    """What is in hand, or in another slot."""
    if len(panel.slots) > 1 and rng.random() < 0.4:
        slot = rng.randrange(len(panel.slots))
        return ask(rng, wording.PANEL_SLOT, slot=str(slot + 1)), _name(panel.slots[slot])
    return ask(rng, wording.PANEL_HAND), _name(panel.slots[panel.hand])


def ask_badge(rng: Random, panel: Panel) -> Pair | None:
    """Which marks a thing has, or which thing has a mark."""
    things = [thing for thing in panel.slots if thing is not None]
    if not things:
        return None
    mark = rng.choice(MARKS)
    marked = [thing for thing in things if mark in thing.marks]
    if len(marked) == 1 and rng.random() < 0.6:
        return ask(rng, wording.PANEL_WITH, mark=mark), marked[0].name
    thing = rng.choice([thing for thing in things if thing.marks] or things)
    if rng.random() < 0.3:
        thing = rng.choice(things)
    return ask(rng, wording.PANEL_BADGE, thing=thing.kind), " ".join(thing.marks) or wording.PLAIN


FAMILY = Family(draw_panel, {"panel_hand": ask_hand, "panel_badge": ask_badge})


def _name(thing: Thing | None) -> str:
    return wording.NOTHING if thing is None else thing.name


def _ground(rng: Random) -> Canvas:
    """Mostly light, as floors and papers are."""
    if rng.random() < 0.7:
        return Canvas(rng, (rng.randrange(170, 250), rng.randrange(170, 250), rng.randrange(170, 250)))
    return Canvas(rng)


def _anywhere(canvas: Canvas, kind: str, variant: int, box: tuple[int, int, int, int], size: int) -> None:
    """An icon of about this size anywhere in a box (left, top, width, height), a number beside it at times."""
    rng = canvas.rng
    left, top, width, height = box
    tall = max(8, size - rng.choice((0, 0, 2)))
    x, y = left + rng.randrange(0, width - size + 1), top + rng.randrange(0, height - tall + 1)
    stamp(canvas, icon(kind, size, tall, variant, rng.random() < 0.5), x, y)
    if rng.random() < 0.3:
        digit = glyphs(str(rng.randrange(1, 10)), 12)
        if x + size + 1 + digit.shape[1] <= left + width:
            canvas.blend(digit, x + size + 1, min(y, SIDE - digit.shape[0]), contrasting(rng, canvas.ground))
