"""Scenes of words alone: copy, pick from a list by a rule, say a command in full, and all that in JSON.

Some come with a picture that has nothing to do with the question. Made-up nouns stand among the known ones.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
from numpy.typing import NDArray

from vlmq_model_tiny import wording
from vlmq_model_tiny.draw import Canvas, any_colour, shape_mask
from vlmq_model_tiny.lexicon import (
    GRID_COLOURS,
    GRID_KINDS,
    LABELS,
    MARKS,
    THINGS,
    made_up,
    number,
    numbered,
    place,
    thing,
)
from vlmq_model_tiny.scene import Exchange, Pair, ask, place_anywhere

_RANKS = ("first", "second", "third", "fourth")


def copying(rng: Random) -> list[Exchange]:
    """Repeat a text, or one word of it."""
    return [Exchange(beside(rng), *_copy(rng))]


def picking(rng: Random) -> list[Exchange]:
    """Choose an entry of a list by its place, number, kind, first letter, size or mark."""
    return [Exchange(beside(rng), *_pick(rng))]


def composing(rng: Random) -> list[Exchange]:
    """Say a command in full, out of what is told."""
    return [Exchange(beside(rng), *_compose(rng))]


def framing(rng: Random) -> list[Exchange]:
    """Any of these, the answer in JSON."""
    question, answer = rng.choice((_copy, _pick, _compose, _compose, _compose))(rng)
    return [Exchange(beside(rng), f"{question}\n{rng.choice(wording.FRAMES)}", wording.framed(answer))]


def beside(rng: Random) -> NDArray[np.uint8] | None:
    """A picture that does not matter, or none."""
    if rng.random() < 0.6:
        return None
    canvas = Canvas(rng)
    for _ in range(rng.randrange(0, 3)):
        shape = rng.choice(("circle", "square", "triangle"))
        place_anywhere(canvas, shape_mask(shape, rng.randrange(10, 30)), any_colour(rng))
    return canvas.finish()


def _copy(rng: Random) -> Pair:
    if rng.random() < 0.3:
        listed = [_word(rng) for _ in range(rng.randrange(2, 5))]
        which = rng.randrange(len(listed))
        return ask(rng, wording.COPY_WORD, listed=", ".join(listed), rank=_RANKS[which]), listed[which]
    text = _phrase(rng)
    if rng.random() < 0.4:
        around = {"before": _phrase(rng), "after": _phrase(rng)}
        return ask(rng, wording.COPY_AFTER, text=text, **around), text
    return ask(rng, wording.COPY, text=text), text


def _word(rng: Random) -> str:
    return made_up(rng) if rng.random() < 0.5 else rng.choice((*THINGS, *LABELS))


def _phrase(rng: Random) -> str:
    """One to three words, as missions and labels have them."""
    kind = rng.random()
    if kind < 0.3:
        return f"{rng.choice(GRID_COLOURS)} {rng.choice(GRID_KINDS)}"
    if kind < 0.6:
        return numbered(rng, thing(rng, 0.4))
    return " ".join(_word(rng) for _ in range(rng.randrange(1, 4)))


def _things(rng: Random, count: int) -> list[str]:
    """Different things, each with a number of its own."""
    nouns: dict[str, None] = {}
    while len(nouns) < count:
        nouns[thing(rng)] = None
    numbers = rng.sample(range(1, 10), count)
    return [f"{noun} {own}" for noun, own in zip(nouns, numbers, strict=True)]


def _pick(rng: Random) -> Pair:
    return rng.choice((_pick_rank, _pick_number, _pick_kind, _pick_letter, _pick_largest, _pick_marked))(rng)


def _pick_rank(rng: Random) -> Pair:
    listed = _things(rng, rng.randrange(2, 5))
    which = rng.randrange(len(listed))
    rank = "last" if which == len(listed) - 1 and rng.random() < 0.5 else _RANKS[which]
    return ask(rng, wording.PICK_RANK, listed=", ".join(listed), rank=rank), listed[which]


def _pick_number(rng: Random) -> Pair:
    listed = _things(rng, rng.randrange(2, 5))
    chosen = rng.choice(listed)
    return ask(rng, wording.PICK_NUMBER, listed=", ".join(listed), number=chosen.split()[1]), chosen


def _pick_kind(rng: Random) -> Pair:
    listed = _things(rng, rng.randrange(2, 5))
    chosen = rng.choice(listed)
    return ask(rng, wording.PICK_KIND, listed=", ".join(listed), noun=chosen.split()[0]), chosen


def _pick_letter(rng: Random) -> Pair:
    words: dict[str, str] = {}
    while len(words) < 3:
        word = thing(rng)
        words[word[0]] = word
    listed = list(words.values())
    chosen = rng.choice(listed)
    return ask(rng, wording.PICK_LETTER, listed=", ".join(listed), letter=chosen[0]), chosen


def _pick_largest(rng: Random) -> Pair:
    listed = rng.sample(range(rng.choice((10, 100))), rng.randrange(2, 5))
    return ask(rng, wording.PICK_LARGEST, listed=", ".join(map(str, listed))), str(max(listed))


def _pick_marked(rng: Random) -> Pair:
    names = _things(rng, rng.randrange(2, 5))
    marks = rng.sample((*MARKS, "open", "closed", "empty"), len(names))
    which = rng.randrange(len(names))
    listed = "; ".join(f"{name}: {mark}" for name, mark in zip(names, marks, strict=True))
    return ask(rng, wording.PICK_MARKED, listed=listed, mark=marks[which]), names[which]


def _compose(rng: Random) -> Pair:
    return rng.choice(_COMPOSERS)(rng)


def _take(rng: Random) -> Pair:
    told, places, things = _told(rng)
    where = rng.choice([name for name in places if things[name]])
    chosen = rng.choice(things[where])
    return f"{told}\n{ask(rng, wording.TAKE, thing=chosen.split()[0])}", f"take {chosen} from {where}"


def _move(rng: Random) -> Pair:
    told, places, _ = _told(rng)
    held, where = numbered(rng, made_up(rng) if rng.random() < 0.3 else thing(rng, 0)), rng.choice(places)
    hand = ask(rng, wording.TOLD_HAND, thing=held)
    return f"{told}\n{hand} {ask(rng, wording.MOVE, place=where.split()[0])}", f"move {held} to {where}"


def _treat(rng: Random) -> Pair:
    verb = rng.choice(tuple(wording.USE))
    held, where = numbered(rng, thing(rng)), numbered(rng, place(rng))
    told = [
        ask(rng, wording.TOLD_HAND, thing=held),
        ask(rng, wording.TOLD_PLACE, place=where, content="empty"),
    ]
    rng.shuffle(told)
    told.append(ask(rng, wording.USE[verb], place=where.split()[0]))
    return "\n".join(told), f"{verb} {held} with {where}"


def _visit(rng: Random) -> Pair:
    told, places, _ = _told(rng)
    where = rng.choice(places)
    forms, verb = rng.choice(((wording.GO, "go to"), (wording.OPEN, "open")))
    return f"{told}\n{ask(rng, forms, place=where.split()[0])}", f"{verb} {where}"


def _turn(rng: Random) -> Pair:
    command = rng.choice(tuple(wording.TURNS))
    known = list(wording.TURNS)
    if rng.random() < 0.5:
        rng.shuffle(known)
    actions = f"\nActions: {', '.join(known)}" if rng.random() < 0.6 else ""
    return ask(rng, wording.TURNS[command]) + actions, command


def _click(rng: Random) -> Pair:
    labels = rng.sample(LABELS, rng.randrange(2, 5))
    bids = rng.sample(range(1, 100), len(labels))
    pairs = list(zip(bids, labels, strict=True))
    listed = "\n".join(f"[{bid}] {rng.choice(wording.ROLES)} '{label}'" for bid, label in pairs)
    bid, label = rng.choice(pairs)
    question = f"{ask(rng, wording.WIDGET_CLICK, label=label)}\n{wording.ELEMENTS.format(listed=listed)}"
    return question, f"click('{bid}')"


_COMPOSERS: tuple[Callable[[Random], Pair], ...] = (_take, _take, _move, _treat, _visit, _turn, _click)


def _told(rng: Random) -> tuple[str, list[str], dict[str, list[str]]]:
    """Two or three places told of, their names, and what is in them: in one at least there is something."""
    kinds: dict[str, None] = {}
    while len(kinds) < 2 or (len(kinds) < 3 and rng.random() < 0.4):
        kinds[place(rng)] = None
    names = [f"{kind} {number(rng)}" for kind in kinds]
    things = iter(_things(rng, 5))
    full = rng.randrange(len(names))
    content = {
        name: [next(things)] if index == full or rng.random() < 0.4 else []
        for index, name in enumerate(names)
    }
    if rng.random() < 0.4:
        content[names[full]].append(next(things))
    lines = [
        ask(rng, wording.TOLD_PLACE, place=name, content=", ".join(content[name]) or "empty")
        for name in names
    ]
    return "\n".join(lines), names, content
