"""The task, the syntax and the state in words, and the labels by which the picture names things."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from string import ascii_uppercase, digits

from vlmq_env_textworld.sight import Exit, Item, Place, Sight

NOTHING = "Nothing happens."

BEGIN = "You begin."

SIGNS = ascii_uppercase + digits
"""What a label is made of."""

_ONE_DIGIT = re.compile(r" \d$")
_IDLE = re.compile(r"(look|inventory|help|examine .*)", re.DOTALL)


def is_idle(command: str) -> bool:
    """Whether a command only tells of what is seen anyway."""
    return _IDLE.fullmatch(command) is not None


def labels(names: Iterable[str]) -> dict[str, str]:
    """A label of its own for each name: one letter or digit, two where those are not enough.

    A name gets its first letter if that is free, else its next ones, else any; where labels have two signs, a
    name that ends in a number of one digit keeps it, so that "mug 2" is M2.
    """
    ordered = sorted(set(names), key=lambda name: (not _ONE_DIGIT.search(name), name))
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in ordered:
        own = [sign for sign in name.upper() if sign in SIGNS]
        if len(ordered) <= len(SIGNS):
            wanted: Iterable[str] = (*own, *SIGNS)
        else:
            ends = (name[-1] if _ONE_DIGIT.search(name) else "0", *digits, *ascii_uppercase)
            wanted = (first + second for second in ends for first in (*own, *ascii_uppercase))
        label = next((sign for sign in wanted if sign not in taken), "?")
        taken.add(label)
        found[name] = label
    return found


def rules(goal: str, templates: Iterable[str], recipe: Sequence[Sequence[str]] = ()) -> str:
    """The task, and the commands with T for the name of a thing."""
    lines = [f"Task: {goal}"]
    if recipe:
        steps = [[word for word in step if word not in ("raw", "uncut")] for step in recipe]
        lines.append("Recipe: " + ", ".join(" ".join(step) for step in steps))
    forms = sorted({re.sub(r"[{\[][^}\]]*[}\]]+", "T", form) for form in templates if not is_idle(form)})
    lines.append("Actions: " + ", ".join(forms))
    return "\n".join(lines)


def legend(found: dict[str, str]) -> str:
    """Which label stands for which name."""
    return "Things: " + ", ".join(f"{label} {name}" for name, label in sorted(found.items()))


def describe(sight: Sight) -> str:
    """All that is known, a line for each place, the present one first."""
    lines = []
    place = sight.place
    if place is None:
        lines.append("At: nowhere")
    else:
        lines.append(f"At: {_place(place)}")
    lines.append(f"Hold: {_items(sight.held)}")
    others = sight.places if place is None else sight.places[1:]
    lines += [f"Known: {_place(other)}" for other in others]
    return "\n".join(lines)


def fitting(text: str, capacity: int) -> str:
    """The text, without the last lines where it has more bytes than there is room for."""
    if len(text.encode()) <= capacity:
        return text
    lines = text.split("\n")
    while lines and len("\n".join([*lines, "(more)"]).encode()) > capacity:
        lines.pop()
    return "\n".join([*lines, "(more)"])


def _place(place: Place) -> str:
    name = place.name
    if not place.seen:
        return f"{name} (not seen)"
    if place.item is not None:
        return _item(place.item._replace(content=place.items))
    ways = [_exit(direction, way) for direction, way in place.exits.items()]
    return f"{name}; ways: {', '.join(ways) or 'none'}; things: {_items(place.items)}"


def _exit(direction: str, way: Exit) -> str:
    by = "" if way.door is None else f" by {_item(way.door)}"
    return f"{direction} to {way.to or '?'}{by}"


def _items(items: tuple[Item, ...]) -> str:
    return ", ".join(_item(item) for item in items) or "none"


def _item(item: Item) -> str:
    words = [word for word in (item.state, *item.marks) if word]
    content = [", ".join(_item(inner) for inner in item.content)] if item.content else []
    inner = ": ".join([*([", ".join(words)] if words else []), *content])
    return f"{item.name} ({inner})" if inner else item.name
