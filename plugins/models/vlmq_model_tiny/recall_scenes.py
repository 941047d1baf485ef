"""Scenes of lists told in words, of which much is asked: many entries in one answer, or one question after the other.

An answer of one entry teaches looking up once; these teach it several times for one list that is read.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from vlmq_model_tiny import wording
from vlmq_model_tiny.copy_scenes import beside
from vlmq_model_tiny.lexicon import (
    GRID_COLOURS,
    GRID_KINDS,
    LABELS,
    MARKS,
    PLACES,
    RANKS,
    ROOMS,
    SUITS,
    THINGS,
    made_up,
    number,
    place,
    thing,
)
from vlmq_model_tiny.page_scenes import (
    clicked,
    coded_elements,
    drawn_elements,
    filled,
    listing,
    page,
    text_to_write,
)
from vlmq_model_tiny.scene import Exchange, Pair, ask

# Not with the other questions, from which the vocabulary was made.
_REPEAT = ("Repeat all of it: {listed}", "Copy the whole line: {listed}", "Say them all: {listed}")
_BACKWARDS = ("Say them from last to first: {listed}", "Backwards: {listed}")
_NUMBERS = ("Which numbers have {wanted}?", "Say the numbers of {wanted}.", "{wanted}: which numbers?")
_NAMES = ("Which names have {wanted}?", "Say the names of {wanted}.", "{wanted}: which names?")
_WHERE = ("Where are {wanted}?", "Where do {wanted} lie?", "{wanted}: say where each of them is.")
_WHICH = ("Say in full: {wanted}.", "Name {wanted} with their numbers.", "With numbers: {wanted}")
_CLICK = (
    'Task: Click "{name}".',
    "Task: Press {name}.",
    'Task: Click on the "{name}" {role}.',
    'Task: Find "{name}" and click it.',
)
_FILL = ('Task: Write "{text}" in {name}.', 'Task: Type "{text}" into the field {name}.')
_NUMBERED = "Say after each its number: {names}"
_SPELL = (
    wording.COPY,
    ("Repeat: {text}", "{text}\nRepeat it."),
    ('Write "{text}" after {other}.', '{other}: write "{text}".', "{other}\nSay: {text}\n{other}"),
)
_SENSELESS = (*THINGS, *PLACES, *LABELS, *GRID_COLOURS, *GRID_KINDS, *ROOMS, *SUITS, *RANKS, *MARKS)
_QUESTIONS = 5
_PLAIN = 0.3
_AFTER = "after"


def reciting(rng: Random) -> list[Exchange]:
    """A list repeated whole, or several of its entries looked up, in one answer."""
    return [Exchange(beside(rng), *rng.choice(_KINDS)(rng))]


def spelling(rng: Random) -> list[Exchange]:
    """Text without sense, repeated token by token: only its order tells what comes next."""
    kind = rng.random()
    if kind < 0.4:
        parts = [text_to_write(rng) for _ in range(rng.randrange(1, 5))]
    elif kind < 0.7:
        parts = [rng.choice(_SENSELESS) for _ in range(rng.randrange(3, 13))]
    elif kind < 0.9:
        parts = [made_up(rng, rng.choice((1, 2, 3))) for _ in range(rng.randrange(1, 5))]
    else:
        parts = [str(rng.randrange(10 ** rng.randrange(1, 4))) for _ in range(rng.randrange(2, 9))]
    text = rng.choice((" ", " ", ", ")).join(parts)
    return [Exchange(beside(rng), ask(rng, rng.choice(_SPELL), text=text, other=_distraction(rng)), text)]


def _distraction(rng: Random) -> str:
    return " ".join(rng.choice(_SENSELESS) for _ in range(rng.randrange(1, 6)))


def browsing(rng: Random) -> list[Exchange]:
    """A page told in words, and one task on it after the other."""
    elements = drawn_elements(rng, 2)
    tasks: dict[str, str] = {}
    for element in rng.sample(elements, min(_QUESTIONS, len(elements) - 1)):
        if element.role == "textbox":
            text = text_to_write(rng)
            tasks[ask(rng, _FILL, text=text, name=element.name)] = filled(element, text)
        else:
            tasks[ask(rng, _CLICK, name=element.name, role=element.role)] = clicked(element)
    (first, answer), *others = tasks.items()
    exchanges = [Exchange(beside(rng), page(rng, first.removeprefix("Task: "), elements), answer)]
    return exchanges + [Exchange(None, *pair) for pair in others]


def locating(rng: Random, variation: float = 1.0) -> list[Exchange]:
    """A page whose names are codes, which only their letters tell apart, and one click on it after the other.

    At variation 0 the names are asked for and said again, each with its number; some of that is left at 1. Numbers
    stand after the names: what follows is found far sooner than what comes before.
    """
    elements = coded_elements(rng)
    asked = rng.sample(elements, max(1, len(elements) - 1))
    if rng.random() < 1.0 - (1.0 - _PLAIN) * variation:
        names = ", ".join(element.name for element in asked)
        answer = ", ".join(f"{element.name} {element.bid}" for element in asked)
        return [Exchange(None, f"{listing(rng, elements, _AFTER)}\n{_NUMBERED.format(names=names)}", answer)]
    tasks = [ask(rng, _CLICK, name=element.name, role=element.role) for element in asked]
    first, *others = zip(tasks, map(clicked, asked), strict=True)
    opening = page(rng, first[0].removeprefix("Task: "), elements, _AFTER)
    return [Exchange(beside(rng), opening, first[1]), *(Exchange(None, *pair) for pair in others)]


def _words(rng: Random, count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        kind = rng.random()
        word = made_up(rng) if kind < 0.4 else rng.choice(THINGS if kind < 0.7 else LABELS)
        found[word if rng.random() < 0.7 else f"{word} {number(rng)}"] = None
    return list(found)


def _repeat(rng: Random) -> Pair:
    listed = _words(rng, rng.randrange(2, 6))
    if rng.random() < 0.2:
        return ask(rng, _BACKWARDS, listed=", ".join(listed)), ", ".join(reversed(listed))
    return ask(rng, _REPEAT, listed=", ".join(listed)), ", ".join(listed)


def _elements(rng: Random) -> Pair:
    """Numbers of the named, or names of the numbered."""
    elements = drawn_elements(rng, 1)
    wanted = rng.sample(elements, rng.randrange(1, min(5, len(elements)) + 1))
    told = listing(rng, elements)
    if rng.random() < 0.25:
        wanted = wanted[:2]
        bids = ", ".join(str(element.bid) for element in wanted)
        return f"{told}\n{ask(rng, _NAMES, wanted=bids)}", ", ".join(element.name for element in wanted)
    names = ", ".join(element.name for element in wanted)
    return f"{told}\n{ask(rng, _NUMBERS, wanted=names)}", ", ".join(str(element.bid) for element in wanted)


def _places(rng: Random) -> Pair:
    """Where things are, or their full names; each thing is there once."""
    things: dict[str, tuple[str, str]] = {}
    lines = []
    for where in dict.fromkeys(f"{place(rng)} {number(rng)}" for _ in range(rng.randrange(2, 5))):
        inside = [thing(rng) for _ in range(rng.randrange(0, 4))]
        inside = [f"{noun} {number(rng)}" for noun in dict.fromkeys(inside) if noun not in things]
        things |= {full.split()[0]: (full, where) for full in inside}
        lines.append(ask(rng, wording.TOLD_PLACE, place=where, content=", ".join(inside) or "empty"))
    if not things:
        return _places(rng)
    wanted = rng.sample(list(things), rng.randrange(1, min(4, len(things)) + 1))
    forms, part = (_WHERE, 1) if rng.random() < 0.5 else (_WHICH, 0)
    answer = ", ".join(things[noun][part] for noun in wanted)
    return "\n".join([*lines, ask(rng, forms, wanted=", ".join(wanted))]), answer


_KINDS: tuple[Callable[[Random], Pair], ...] = (_repeat, _elements, _elements, _places)
