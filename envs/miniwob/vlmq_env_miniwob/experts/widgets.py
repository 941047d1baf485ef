"""Rules of things with a way of their own: sliders, calendars, lists of suggestions, areas of text."""

from __future__ import annotations

import re

from vlmq_env_miniwob.actions import click, write
from vlmq_env_miniwob.experts.seen import (
    Expert,
    Seen,
    click_on,
    drag,
    fill_all,
    first,
    only_field,
    ordinal,
    quoted,
    scroll,
    submit,
)
from vlmq_env_miniwob.experts.words import MONTHS


def _picked_date(seen: Seen) -> str | None:
    wanted = first(r"(\d\d/\d\d/\d{4})", seen.utterance)
    field = seen.of("textbox")[0]
    return submit(seen) if seen.value(field) == wanted else pick_date(seen, field, wanted)


def pick_date(seen: Seen, field: str, wanted: str) -> str | None:
    """Opens the calendar of a field, turns to the month of a date (mm/dd/yyyy), and takes the day."""
    header = next((each.text for each in seen.texts if each.text in MONTHS), None)
    opened = bool(seen.past) and seen.past[-1] == click(field)
    if header is None or opened:
        return write("noop") if opened else click(field)  # it unfolds for a while
    month, day, year = map(int, wanted.split("/"))
    shown = int(first(r"(?m)^(\d{4})$", seen.shown)), MONTHS.index(header) + 1
    if shown == (year, month):
        return click_on(seen.named(str(day), "link"))
    return click_on(next(iter(seen.like("Prev" if shown > (year, month) else "Next")), None))


def _completed(seen: Seen) -> str | None:
    start, *ends = quoted(seen)
    end = "".join(ends)
    field = seen.of("textbox")[0]
    held = seen.elements[field].text
    if held.startswith(start) and held.endswith(end) and (end or held != start):
        return submit(seen) or write("press", field, "Enter")
    if not held.startswith(start):
        return write("fill", field, start)
    offers = seen.of("option")
    fitting = [bid for bid in offers if seen.elements[bid].name.endswith(end)]
    if fitting:
        return click(fitting[0])
    # The list goes on below the page: up from its top leads to its end.
    return write("press", field, "ArrowUp") if offers else write("noop")


def _copied(seen: Seen) -> str | None:
    areas = [bid for bid in seen.of("textbox") if seen.multiline(bid)]
    target = next((bid for bid in seen.of("textbox") if not seen.multiline(bid)), None)
    source = areas[max(ordinal(seen.utterance), 0)]
    if target is None:
        return None
    text = seen.elements[source].text
    if seen.elements[target].text == text:
        return submit(seen)
    copy = write("press", source, "Control+c")
    if seen.past and seen.past[-1] == copy:
        return write("press", target, "Control+v")
    return copy if seen.focused == source and seen.selected == text else write("press", source, "Control+a")


def _last_word(seen: Seen) -> str | None:
    area = next(bid for bid in seen.of("textbox") if seen.multiline(bid))
    field = next(bid for bid in seen.of("textbox") if bid != area)
    if any(each.below > 2 for each in seen.scrolled):
        return scroll(400)
    return fill_all(seen, {field: seen.elements[area].text.split()[-1].strip(".,")})


def _scrolled_area(seen: Seen) -> str | None:
    for area in seen.scrolled:
        if "bottom" in seen.utterance and area.below > 2:
            return scroll(400)
        if "top" in seen.utterance and area.above > 2:
            return scroll(-400)
    return submit(seen)


def _agreement(seen: Seen) -> str | None:
    if "Scroll" not in seen.utterance:
        return click_on(seen.named("Cancel", "button"))
    name, button = quoted(seen)
    fields = [bid for bid in seen.of("textbox") if not seen.multiline(bid)]
    if not fields:
        return scroll(400)
    if seen.value(fields[0]) != name:
        return write("fill", fields[0], name)
    return click_on(seen.named(button, "button"))


def _resized(seen: Seen) -> str | None:
    if any(action.startswith("mouse_drag") for action in seen.past):
        return submit(seen)
    corner = next(iter(seen.like("resizable-se")), None)
    if corner is None:
        return None
    x, y = seen.elements[corner].centre
    step = 15 if "larger" in seen.utterance else -15
    return drag((x, y), (x + step, y) if "width" in seen.utterance else (x, y + step))


def _highlighted(seen: Seen) -> str | None:
    paragraphs = sorted(
        (each for each in seen.texts if each.text != "Submit"), key=lambda each: each.centre[1]
    )
    wanted = paragraphs[max(ordinal(seen.utterance), 0)]
    if seen.selected.split() == wanted.text.split():
        return submit(seen)
    start, end = wanted.boxes[0], wanted.boxes[-1]
    return drag((start[0], start[1] + start[3] / 2), (end[0] + end[2] + 1, end[1] + end[3] / 2))


def _spinner(seen: Seen) -> str | None:
    return only_field(seen, first(r"Select (-?\d+)", seen.utterance))


def _sliders(seen: Seen) -> str | None:
    wanted = [int(number) for number in re.findall(r"-?\d+", seen.utterance)]
    return _slide_all(seen, wanted) or submit(seen)


def _slider_and_box(seen: Seen) -> str | None:
    moved = _slide_all(seen, [int(first(r"Select (-?\d+)", seen.utterance))])
    box = seen.of("checkbox")[ordinal(seen.utterance)]
    return moved or (submit(seen) if seen.checked(box) else click(box))


def _slide_all(seen: Seen, wanted: list[int]) -> str | None:
    """Moves the first slider that shows another number than wanted; None where all are set.

    The ends of the scale are not written anywhere: the first slider is sent to both and what it shows there is kept
    in mind, for the others, too.
    """
    handles = sorted(seen.of("slider"), key=lambda bid: seen.elements[bid].centre[1])
    now = _numbers(seen.shown)
    for place, (handle, goal) in enumerate(zip(handles, wanted, strict=False)):
        if now[place] == goal:
            continue
        ends = []
        for key in ("Home", "End"):
            to_end = write("press", handles[0], key)
            told = seen.after(to_end)
            if told is None:
                return to_end
            ends.append(_numbers(told)[0])
        return _slide(seen, handle, (goal - ends[0]) / (ends[1] - ends[0]), goal - now[place])
    return None


def _slide(seen: Seen, handle: str, part: float, missing: int) -> str | None:
    """Drags a handle to a part of its scale, or nudges it where it is near or was dragged there before."""
    centre = seen.elements[handle].centre
    left, top, width, height = next(
        element.box for element in seen.elements.values() if element.name.startswith("ui-slider ")
        and element.box[0] - 9 <= centre[0] <= element.box[0] + element.box[2] + 9
        and element.box[1] - 9 <= centre[1] <= element.box[1] + element.box[3] + 9
    )  # fmt: skip
    goal = (left + part * width, centre[1]) if width > height else (centre[0], top + (1 - part) * height)
    ending = drag(centre, goal).split(",", 2)[2]
    if abs(missing) <= 1 or any(
        action.startswith("mouse_drag") and action.endswith(ending) for action in seen.past
    ):
        return write("press", handle, "ArrowRight" if missing > 0 else "ArrowLeft")
    return drag(centre, goal)


def _numbers(text: str) -> list[int]:
    return [int(line) for line in text.splitlines() if re.fullmatch(r"-?\d+", line)]


RULES: dict[str, Expert] = {
    "choose-date": _picked_date,
    "choose-date-easy": _picked_date,
    "choose-date-medium": _picked_date,
    "choose-date-nodelay": _picked_date,
    "copy-paste": _copied,
    "copy-paste-2": _copied,
    "form-sequence": _slider_and_box,
    "highlight-text": _highlighted,
    "highlight-text-2": _highlighted,
    "resize-textarea": _resized,
    "scroll-text": _last_word,
    "scroll-text-2": _scrolled_area,
    "sign-agreement": _agreement,
    "use-autocomplete": _completed,
    "use-autocomplete-nodelay": _completed,
    "use-slider": _sliders,
    "use-slider-2": _sliders,
    "use-spinner": _spinner,
}
"""The rule of each of these tasks."""
