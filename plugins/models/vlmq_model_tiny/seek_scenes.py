"""Scenes of what is where, told in words or drawn as a plan; that a thing is not there is an answer, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from vlmq_model_tiny import wording
from vlmq_model_tiny.copy_scenes import beside
from vlmq_model_tiny.lexicon import PLACES, ROOMS, number, numbered, place, thing
from vlmq_model_tiny.plan_scenes import HAND, Plan, draw_plan
from vlmq_model_tiny.scene import Exchange, Family, Pair, ask

# Not with the other questions, from which the vocabulary was made.
_THERE = ("Is there a {thing}?", "Do you see a {thing}?", "Can a {thing} be seen?")
_AT = ("Is the {thing} at {place}?", "Does {place} hold the {thing}?", "{place}: is the {thing} there?")
_HERE = ("Is the {thing} here?", "Is the {thing} where you are?", "Does the {thing} lie here?")
_FRAMED = ("Is the {thing} in the framed tile?", "Does the frame hold the {thing}?")
_WHERE = ("Where is the {thing}? It may be nowhere.", "Find the {thing}, or say nowhere.")
_WHICH = ("Which {thing} is there, or none?", "The {thing} with its number, or none?")
_LISTED = ("Here: {things}.", "There is: {things}", "Words: {things}.")
_SAY_AFTER = (
    "Yes or no after each: {things}.",
    "Say each with yes or no: {things}.",
    "{things}: each with yes or no.",
)
_THOSE = (
    "Which of these are there: {things}?",
    "{things}: name those that are there.",
    "Of {things}, which do you see?",
)
_IN_HAND = ("Do you hold the {thing}?", "Is the {thing} in hand?")
_TAKE = (
    "Take the {thing} if you see it, else say no.",
    "If there is a {thing}, take it; if not, say no.",
    "Get the {thing}, or say no.",
)
_TAKE_HERE = (
    "Take the {thing} if it is here, else say no.",
    "If the {thing} is where you are, take it; if not, say no.",
    "Get the {thing} if you stand at it, or say no.",
)
_MOVE = (
    "Put what you hold here if this is a {place}, else say no.",
    "If you stand at a {place}, put it down; if not, say no.",
)
_GO = ("Go to the {place} if there is one, else say no.", "If there is a {place}, go there; if not, say no.")
_ALL = ("Which places are there?", "Name all places.", "List the places.")
_COVERED = ("Which places are {cover}?", "Name what is {cover}.", "{cover}: which places?")
_TOLD_AT = (
    "at: {place}; in hand: {thing}",
    "You are at {place}. In hand: {thing}.",
    "in hand: {thing}; at: {place}",
)
_NO, _YES, _NOWHERE, _NONE = "no", "yes", "nowhere", "none"
_COVERS = ("closed", "unseen", "empty")
_QUESTIONS = 5
_RARELY_EMPTY = 0.9
"""How often a question about what is here is not asked where nothing is."""
_MOST_ASKED = 8
"""Words asked for at once."""
_PLAIN = 0.5
"""How often `matching` has one form, at least."""
_STRANGE = 0.05
"""How many of the nouns are made up."""
_ORDER_FIRST = 0.6
"""How often the first question stands before what is told, as a task does."""


@dataclass(frozen=True)
class _Told:
    """Places with what is known of each: things, or a cover; where one stands, what one holds."""

    places: dict[str, tuple[str, ...] | str]
    at: str | None
    held: str | None

    @property
    def things(self) -> dict[str, str]:
        """Where each thing in sight lies, by its name."""
        return {
            name: where
            for where, content in self.places.items()
            if not isinstance(content, str)
            for name in content
        }

    @property
    def everything(self) -> dict[str, str]:
        """With what is in hand."""
        return self.things | ({self.held: HAND} if self.held else {})

    def things_at(self, place: str | None) -> dict[str, str]:
        """Those of one place."""
        return {name: where for name, where in self.things.items() if where == place}


def seeking(rng: Random) -> list[Exchange]:
    """What is told of places and things, and questions about it, of which half are answered by no, nowhere or none."""
    told = _deal(rng)
    pairs: dict[str, str] = {}
    while len(pairs) < _QUESTIONS:
        question, answer = rng.choice(_ASKERS)(rng, told)
        pairs[question] = answer
    (question, answer), *others = pairs.items()
    text = _tell(rng, told)
    if rng.random() < _ORDER_FIRST:
        question = f"{'Task: ' if rng.random() < 0.5 else ''}{question}\n{text}"
    else:
        question = f"{text}\n{question}"
    return [Exchange(beside(rng), question, answer), *(Exchange(None, *pair) for pair in others)]


def matching(rng: Random, variation: float = 1.0) -> list[Exchange]:
    """Which words stand in a list: each is said again with yes or no after it, or only those that do.

    At variation 0 all have one form, the list first: with many forms from the start a model stays at chance.
    """
    listed = _nouns(rng, rng.randrange(2, 9), set())
    asked = rng.sample(listed, rng.randrange(1, len(listed) + 1))
    asked += _nouns(rng, max(1, len(asked) + rng.randrange(-2, 3)), set(listed))
    asked = rng.sample(asked, min(len(asked), _MOST_ASKED))
    if rng.random() < 1.0 - (1.0 - _PLAIN) * variation:
        told, question = (
            form.format(things=", ".join(w)) for form, w in ((_LISTED[0], listed), (_SAY_AFTER[0], asked))
        )
        return [Exchange(None, f"{told}\n{question}", _answered(asked, listed))]
    words = [numbered(rng, noun) for noun in listed] if rng.random() < 0.3 else listed
    told = ask(rng, _LISTED, things=rng.choice((", ", ", ", "\n")).join(words))
    question, answer = _each(rng, asked, listed)
    return [Exchange(None, f"{told}\n{question}" if rng.random() < 0.6 else f"{question}\n{told}", answer)]


def _each(rng: Random, asked: list[str], there: list[str]) -> Pair:
    """Which of the nouns are there."""
    things = ", ".join(asked)
    if rng.random() < 0.7:
        return ask(rng, _SAY_AFTER, things=things), _answered(asked, there)
    return ask(rng, _THOSE, things=things), ", ".join(noun for noun in asked if noun in there) or _NONE


def _answered(asked: list[str], there: list[str]) -> str:
    return ", ".join(f"{noun} {_YES if noun in there else _NO}" for noun in asked)


def _nouns(rng: Random, count: int, but: set[str]) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        noun = thing(rng, _STRANGE) if rng.random() < 0.7 else rng.choice(PLACES)
        if noun not in but:
            found[noun] = None
    return list(found)


def _deal(rng: Random) -> _Told:
    places: dict[str, tuple[str, ...] | str] = {}
    count, taken = rng.randrange(2, 6), set[str]()
    held = numbered(rng, thing(rng, _STRANGE)) if rng.random() < 0.5 else None
    if held:
        taken.add(_noun(held))
    while len(places) < count:
        kind = _noun(next(reversed(places))) if places and rng.random() < 0.15 else place(rng, _STRANGE)
        content: tuple[str, ...] | str = rng.choice(_COVERS)
        if rng.random() < 0.6:
            nouns = {
                noun: None
                for noun in (thing(rng, _STRANGE) for _ in range(rng.choice((1, 1, 2, 3))))
                if noun not in taken
            }
            taken |= set(nouns)
            content = tuple(numbered(rng, noun) for noun in nouns) or "empty"
        places.setdefault(f"{kind} {number(rng)}", content)
    full = [name for name, content in places.items() if not isinstance(content, str)]
    return _Told(places, rng.choice(full if full and rng.random() < 0.7 else [*places, None]), held)


def _tell(rng: Random, told: _Told) -> str:
    lines = [ask(rng, _TOLD_AT, place=told.at or _NOWHERE, thing=told.held or wording.NOTHING)]
    if rng.random() < 0.5:
        lines.append(rng.choice(ROOMS))
    form = rng.choice(wording.TOLD_PLACE)
    lines += [
        form.format(place=name, content=content if isinstance(content, str) else ", ".join(content))
        for name, content in told.places.items()
    ]
    if rng.random() < 0.2:
        lines.append(lines.pop(0))
    return "\n".join(lines)


def _want(rng: Random, told: _Told, near: dict[str, str]) -> tuple[str | None, str]:
    """A near thing by its full name, and its noun; or None, and the noun of one that is elsewhere or nowhere."""
    if near and rng.random() < 0.5:
        found = rng.choice(list(near))
        return found, _noun(found)
    nouns = [_noun(name) for name in told.everything if name not in near]
    noun = rng.choice(nouns) if nouns and rng.random() < 0.5 else thing(rng, _STRANGE)
    return (None, noun) if noun not in map(_noun, near) else _want(rng, told, near)


def _noun(name: str) -> str:
    return name.rsplit(" ", 1)[0]


def _ask_there(rng: Random, told: _Told) -> Pair:
    found, noun = _want(rng, told, told.everything)
    return ask(rng, _THERE, thing=noun), _YES if found else _NO


def _ask_at(rng: Random, told: _Told) -> Pair:
    where = rng.choice(list(told.places))
    found, noun = _want(rng, told, told.things_at(where))
    return ask(rng, _AT, thing=noun, place=where), _YES if found else _NO


def _ask_here(rng: Random, told: _Told) -> Pair:
    found, noun = _want(rng, told, told.things_at(told.at))
    return ask(rng, _HERE, thing=noun), _YES if found else _NO


def _ask_where(rng: Random, told: _Told) -> Pair:
    found, noun = _want(rng, told, told.everything)
    return ask(rng, _WHERE, thing=noun), told.everything[found] if found else _NOWHERE


def _ask_which(rng: Random, told: _Told) -> Pair:
    found, noun = _want(rng, told, told.everything)
    return ask(rng, _WHICH, thing=noun), found or _NONE


def _ask_hand(rng: Random, told: _Told) -> Pair:
    found, noun = _want(rng, told, {told.held: HAND} if told.held else {})
    return ask(rng, _IN_HAND, thing=noun), _YES if found else _NO


def _ask_each(rng: Random, told: _Told) -> Pair:
    """Several things at once, each there or not: much to learn from one state."""
    there = [_noun(name) for name in told.everything]
    nouns = dict.fromkeys(rng.sample(there, min(len(there), rng.randrange(1, 4))))
    while len(nouns) < 3 or (len(nouns) < _MOST_ASKED and rng.random() < 0.5):
        nouns[thing(rng, _STRANGE)] = None
    return _each(rng, rng.sample(list(nouns), len(nouns)), there)


def _ask_take(rng: Random, told: _Told) -> Pair:
    here = rng.random() < 0.6
    near = told.things_at(told.at) if here else told.things
    found, noun = _want(rng, told, near)
    answer = f"take {found} from {near[found]}" if found else _NO
    return ask(rng, _TAKE_HERE if here else _TAKE, thing=noun), answer


def _ask_move(rng: Random, told: _Told) -> Pair:
    kind = (
        _noun(told.at)
        if told.at and rng.random() < 0.5
        else rng.choice([*map(_noun, told.places), place(rng, _STRANGE)])
    )
    right = told.held is not None and told.at is not None and _noun(told.at) == kind
    return ask(rng, _MOVE, place=kind), f"move {told.held} to {told.at}" if right else _NO


def _ask_go(rng: Random, told: _Told) -> Pair:
    kinds = [_noun(name) for name in told.places]
    single = [name for name in told.places if kinds.count(_noun(name)) == 1]
    if single and rng.random() < 0.6:
        found = rng.choice(single)
        return ask(rng, _GO, place=_noun(found)), f"go to {found}"
    kind = place(rng, _STRANGE)
    return (ask(rng, _GO, place=kind), _NO) if kind not in kinds else _ask_go(rng, told)


def _ask_covered(rng: Random, told: _Told) -> Pair:
    if rng.random() < 0.3:
        return ask(rng, _ALL), ", ".join(told.places)
    cover = rng.choice(_COVERS)
    found = [name for name, content in told.places.items() if content == cover]
    return ask(rng, _COVERED, cover=cover), ", ".join(found) or _NONE


_ASKERS: tuple[Callable[[Random, _Told], Pair], ...] = (
    *(_ask_there, _ask_at, _ask_where, _ask_which, _ask_hand, _ask_move, _ask_go, _ask_covered),
    *(_ask_here,) * 2,
    *(_ask_take,) * 3,
    *(_ask_each,) * 4,
)


def ask_plan_there(rng: Random, plan: Plan) -> Pair:
    """Whether a thing is to be seen in a plan, in a tile or in the hand."""
    found, noun = _choose(rng, plan, _in_sight(plan))
    return ask(rng, _THERE, thing=noun), _YES if found else _NO


def ask_plan_framed(rng: Random, plan: Plan) -> Pair | None:
    """Whether a thing is in the framed tile."""
    near = _framed(plan)
    if not near and rng.random() < _RARELY_EMPTY:
        return None
    found, noun = _choose(rng, plan, near)
    return ask(rng, _FRAMED, thing=noun), _YES if found else _NO


def ask_plan_where(rng: Random, plan: Plan) -> Pair:
    """Where in a plan a thing is, or nowhere."""
    near = _in_sight(plan)
    found, noun = _choose(rng, plan, near)
    return ask(rng, _WHERE, thing=noun), near[found] if found else _NOWHERE


def ask_plan_take(rng: Random, plan: Plan) -> Pair | None:
    """Take a thing if the framed tile holds it."""
    near = _framed(plan)
    if not near and rng.random() < _RARELY_EMPTY:
        return None
    found, noun = _choose(rng, plan, near)
    return ask(rng, _TAKE_HERE, thing=noun), f"take {found} from {near[found]}" if found else _NO


def ask_plan_move(rng: Random, plan: Plan) -> Pair | None:
    """Put down what is in hand if the framed tile is of a kind."""
    if plan.held is None and rng.random() < _RARELY_EMPTY:
        return None
    framed = plan.tiles[plan.frame] if plan.frame < len(plan.tiles) else None
    kind = framed.kind if framed and rng.random() < 0.5 else rng.choice([tile.kind for tile in plan.tiles])
    if framed is None or framed.kind != kind or framed.cover == "closed" or plan.held is None:
        return ask(rng, _MOVE, place=kind), _NO
    return ask(rng, _MOVE, place=kind), f"move {plan.held.name} to {framed.name}"


def ask_plan_covered(rng: Random, plan: Plan) -> Pair:
    """Which tiles are closed, never seen, or empty."""
    covers = {
        tile.name: "empty" if tile.cover == "open" and not tile.things else tile.cover for tile in plan.tiles
    }
    cover = rng.choice([*(cover for cover in covers.values() if cover != "open"), *_COVERS])
    found = [name for name, own in covers.items() if own == cover]
    return ask(rng, _COVERED, cover=cover), ", ".join(found) or _NONE


FAMILY = Family(
    draw_plan,
    {
        "plan_there": ask_plan_there,
        "plan_framed": ask_plan_framed,
        "plan_where": ask_plan_where,
        "plan_take": ask_plan_take,
        "plan_move": ask_plan_move,
        "plan_covered": ask_plan_covered,
    },
)


def _in_sight(plan: Plan) -> dict[str, str]:
    """Things in tiles and in hand, and where they are."""
    tiles = {thing.name: tile.name for tile in plan.tiles for thing in tile.things}
    return tiles | {thing.name: HAND for thing in plan.hand}


def _framed(plan: Plan) -> dict[str, str]:
    """Those of the framed tile."""
    framed = plan.tiles[plan.frame : plan.frame + 1]
    return {thing.name: tile.name for tile in framed for thing in tile.things}


def _choose(rng: Random, plan: Plan, near: dict[str, str]) -> tuple[str | None, str]:
    """A thing that is near and its noun, or None and the noun of one that is not; no noun means two things."""
    kinds = [_noun(name) for name in _in_sight(plan)]
    single = [name for name in near if kinds.count(_noun(name)) == 1]
    if single and rng.random() < 0.5:
        found = rng.choice(single)
        return found, _noun(found)
    others = [kind for kind in kinds if kind not in map(_noun, near)]
    noun = rng.choice(others) if others and rng.random() < 0.5 else thing(rng, 0.0)
    return (None, noun) if noun not in map(_noun, near) else _choose(rng, plan, near)
