"""Scenes of widgets: buttons, boxes with or without a tick, fields, each with a label and a number of its own."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from vlmq_model_tiny import wording
from vlmq_model_tiny.draw import RGB, SIDE, Canvas, Mask, any_colour, contrasting, glyphs, luminance, shade
from vlmq_model_tiny.icons import icon, stamp
from vlmq_model_tiny.lexicon import LABELS
from vlmq_model_tiny.scene import Family, Pair, ask

KINDS = ("button", "box", "field")
_SHORT = tuple(label for label in LABELS if len(label) <= 4)
_ROWS = ("top", "middle", "bottom")


@dataclass(frozen=True)
class Widget:
    """A widget: its kind, its label, its number, whether it is ticked, what is written in it."""

    kind: str
    label: str
    bid: int
    ticked: bool = False
    value: str = ""


@dataclass(frozen=True)
class Form:
    """Widgets from top to bottom; `numbered` where their numbers are shown."""

    widgets: tuple[Widget, ...]
    numbered: bool


def draw_form(rng: Random) -> tuple[Form, NDArray[np.uint8]]:
    """Two or three widgets below each other."""
    numbered = rng.random() < 0.6
    short = rng.sample(_SHORT, 6)
    free = [label for label in rng.sample(LABELS, 9) if label not in short]
    bids = rng.sample(range(1, 100), 3)
    widgets: list[Widget] = []
    for bid in bids[: rng.choice((2, 3, 3))]:
        kind = rng.choice(KINDS)
        narrow = kind == "field" or (kind == "box" and numbered)
        label = short.pop() if narrow else free.pop()
        value = short.pop() if kind == "field" and rng.random() < 0.75 else ""
        widgets.append(Widget(kind, label, bid, kind == "box" and rng.random() < 0.5, value))
    form = Form(tuple(widgets), numbered)
    canvas = _page(rng)
    for row, widget in enumerate(form.widgets):
        _draw_widget(canvas, widget, 21 * row + rng.randrange(0, 3), numbered)
    return form, canvas.finish()


def ask_where(rng: Random, form: Form) -> Pair | None:
    """In which row a widget stands, or of which kind it is."""
    which = rng.randrange(len(form.widgets))
    widget = form.widgets[which]
    if rng.random() < 0.35:
        return ask(rng, wording.WIDGET_KIND, label=widget.label), widget.kind
    return ask(rng, wording.WIDGET_WHERE, label=widget.label), _ROWS[which]


def ask_number(rng: Random, form: Form) -> Pair | None:
    """The number of a widget, or which widget has a number."""
    if not form.numbered:
        return None
    widget = rng.choice(form.widgets)
    if rng.random() < 0.4:
        return ask(rng, wording.WIDGET_LABEL, bid=str(widget.bid)), widget.label
    return ask(rng, wording.WIDGET_BID, label=widget.label), str(widget.bid)


def ask_tick(rng: Random, form: Form) -> Pair | None:
    """Whether a box is ticked."""
    boxes = [widget for widget in form.widgets if widget.kind == "box"]
    if not boxes:
        return None
    box = rng.choice(boxes)
    return ask(rng, wording.WIDGET_TICK, label=box.label), "yes" if box.ticked else "no"


def ask_field(rng: Random, form: Form) -> Pair | None:
    """What is written in a field."""
    fields = [widget for widget in form.widgets if widget.kind == "field"]
    if not fields:
        return None
    field = rng.choice(fields)
    return ask(rng, wording.WIDGET_FIELD, label=field.label), field.value or wording.NOTHING


def ask_click(rng: Random, form: Form) -> Pair | None:
    """The command that clicks a widget, by its number; in JSON at times."""
    if not form.numbered:
        return None
    widget = rng.choice(form.widgets)
    question, command = ask(rng, wording.WIDGET_CLICK, label=widget.label), f"click('{widget.bid}')"
    if rng.random() < 0.4:
        return f"{question}\n{rng.choice(wording.FRAMES)}", wording.framed(command)
    return question, command


FAMILY = Family(
    draw_form,
    {
        "widget_where": ask_where,
        "widget_number": ask_number,
        "widget_tick": ask_tick,
        "widget_field": ask_field,
        "widget_click": ask_click,
    },
)


def _page(rng: Random) -> Canvas:
    """Light grey or white in most cases, else of any colour."""
    kind = rng.random()
    if kind < 0.8:
        level = rng.randrange(215, 256)
        return Canvas(rng, (level, level, level), plain=rng.random() < 0.6)
    return Canvas(rng, any_colour(rng), plain=True)


def _ink(ground: RGB) -> RGB:
    return (10, 10, 14) if luminance(ground) > 120 else (255, 255, 255)


def _draw_widget(canvas: Canvas, widget: Widget, y: int, numbered: bool) -> None:
    """A widget 18 pixels tall; its number in a bright tag at the right."""
    rng = canvas.rng
    right = SIDE - 1
    if numbered:
        tag = glyphs(str(widget.bid), 11)
        right -= tag.shape[1] + 4
        colour = shade(rng, rng.choice(("yellow", "yellow", "pink", "white")))
        canvas.box(right + 1, y + 3, SIDE - 1, y + 16, colour)
        canvas.blend(tag, right + 3, y + 5, _ink(colour))
    if widget.kind == "button":
        _draw_button(canvas, widget, y, right)
    elif widget.kind == "box":
        _draw_box(canvas, widget, y, right)
    else:
        _draw_field(canvas, widget, y, right)


def _draw_button(canvas: Canvas, widget: Widget, y: int, right: int) -> None:
    rng = canvas.rng
    face = (
        shade(rng, rng.choice(("white", "blue", "green", "red"))) if rng.random() < 0.4 else (222, 222, 226)
    )
    mask = _fitted(widget.label, 13, right - 6)
    end = min(right, mask.shape[1] + rng.randrange(6, 12))
    canvas.box(1, y + 2, end, y + 18, face)
    canvas.frame(1, y + 2, end - 1, y + 17, (90, 90, 96))
    canvas.blend(mask, 1 + (end - 1 - mask.shape[1]) // 2, y + 10 - mask.shape[0] // 2, _ink(face))


def _draw_box(canvas: Canvas, widget: Widget, y: int, right: int) -> None:
    canvas.box(2, y + 4, 13, y + 15, (252, 252, 252))
    canvas.frame(2, y + 4, 12, y + 14, (70, 70, 76))
    if widget.ticked:
        if canvas.rng.random() < 0.7:
            stamp(canvas, icon("clean", 9, 9, 1), 3, y + 5)
        else:
            canvas.box(4, y + 6, 11, y + 13, (40, 90, 200))
    mask = _fitted(widget.label, 13, right - 16)
    canvas.blend(mask, 16, y + 10 - mask.shape[0] // 2, contrasting(canvas.rng, canvas.ground, 110.0))


def _draw_field(canvas: Canvas, widget: Widget, y: int, right: int) -> None:
    """The label, then a white box with the value in it."""
    room = (right - 4) // 2
    mask = _fitted(widget.label, 12, room)
    canvas.blend(mask, 1, y + 10 - mask.shape[0] // 2, contrasting(canvas.rng, canvas.ground, 110.0))
    left = mask.shape[1] + 3
    canvas.box(left, y + 3, right, y + 17, (254, 254, 254))
    canvas.frame(left, y + 3, right - 1, y + 16, (120, 120, 126))
    if widget.value:
        value = _fitted(widget.value, 12, right - left - 4)
        canvas.blend(value, left + 2, y + 10 - value.shape[0] // 2, (20, 20, 120))


def _fitted(text: str, size: int, room: int) -> Mask:
    """The text in this font size, or the largest that fits."""
    mask = glyphs(text, size)
    while mask.shape[1] > room and size > 7:
        size -= 1
        mask = glyphs(text, size)
    return mask
