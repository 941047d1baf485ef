"""Scenes of pages told in words: a task, the elements by number, and the one action that comes next.

What has been done already can be read off the elements: a field holds its text, a box is ticked. So the same task
asks for another action as the page goes on. Elements stand in any order, and their numbers mean nothing.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from vlmq_model_tiny import wording
from vlmq_model_tiny.copy_scenes import beside
from vlmq_model_tiny.lexicon import LABELS, made_up
from vlmq_model_tiny.scene import Exchange, Pair, ask

# Not with the other questions, from which the vocabulary was made.
_ROLES = ("button", "link", "tab", "textbox", "checkbox", "generic")
_FIELDS = ("username", "password", "name", "date", "mail", "code", "title", "note")
_CLICK = (
    'Click "{name}".',
    "Press {name}.",
    'Click on the element that says "{name}".',
    "Open {name} with a click.",
    'Find "{name}" and click it.',
)
_CLICK_ROLE = (
    "Click the {role} {name}.",
    'Press the {role} called "{name}".',
    'Click on the "{name}" {role}.',
    'Choose the {role} labeled "{name}".',
)
_FILL = (
    'Write "{text}" in the field, then press {button}.',
    'Type "{text}" into the text field and click {button}.',
    'Fill in "{text}" and press "{button}".',
)
_FILL_BOTH = (
    'Write "{text}" in both fields, then press {button}.',
    'Type the password "{text}" into each of the two fields and click {button}.',
)
_FILL_ALL = (
    "Fill in {parts}, then press {button}.",
    "Type {parts} into the fields and click {button}.",
    "Write {parts}; {button} sends it.",
)
_TICK = (
    "Choose {names}, then click {button}.",
    "Tick {names} and press {button}.",
    'Mark {names} and click "{button}".',
)
_SELECT = (
    *_TICK,
    "Select {names} and click {button}.",
    "Select {names} and press {button}.",
    "Choose {names} and click {button}.",
)
_FOCUS = (
    "Put the caret in the {rank} field.",
    "Click into the {rank} text field.",
    "Go to the {rank} textbox.",
)
_ACTIONS = (
    "Actions: click('bid'), fill('bid', 'text')",
    "Actions: click('bid'), fill('bid', 'text'), select_option('bid', 'option'), noop()",
    "Actions: click('bid'), fill('bid', 'text'), press('bid', 'Enter'), mouse_click(x, y), scroll(dx, dy), noop(), "
    "where x and y are pixels from the top left.",
)

_LISTED = {"before": wording.ELEMENTS, "after": "Elements (role 'name' [bid]):\n{listed}"}
_CODE = string.ascii_letters + string.digits
_PLACES = ("first", "second", "third", "1st", "2nd", "3rd")


@dataclass(frozen=True)
class Element:
    """One line of the list: its number, what it is, its name, what it holds or whether it is ticked."""

    bid: int
    role: str
    name: str = ""
    value: str = ""
    ticked: bool = False

    def line(self, order: str) -> str:
        """As it stands in the list, `order` saying where its number is: "before" or "after" what it is."""
        state = f', value "{self.value}"' if self.value else ", checked" if self.ticked else ""
        bid, named = f"[{self.bid}]", f"{self.role} '{self.name}'"
        return (f"{bid} {named}" if order == "before" else f"{named} {bid}") + state


def pages(rng: Random) -> list[Exchange]:
    """The next action on a page: click what is named, fill in what is quoted, tick what is wanted, then send it."""
    question, answer = rng.choice(_KINDS)(rng)
    if rng.random() < 0.25:
        question = f"{question}\n{rng.choice(_ACTIONS)}"
    if rng.random() < 0.1:
        question, answer = f"{question}\n{rng.choice(wording.FRAMES)}", wording.framed(answer)
    return [Exchange(beside(rng), question, answer)]


def codes(rng: Random) -> list[Exchange]:
    """The next action on a page whose names are codes or made up: nothing but their letters tells them apart.

    What the task calls a link the list may call otherwise, as pages do.
    """
    names = _codes(rng, rng.randrange(2, 8))
    bids = _bids(rng, len(names) + 1)
    send = Element(bids[-1], "button", rng.choice(LABELS).capitalize())
    kind = rng.random()
    if kind < 0.4:
        role = rng.choice(_ROLES)
        elements = [Element(bid, role, name) for bid, name in zip(bids, names, strict=False)]
        which = rng.choice(elements)
        told = role if rng.random() < 0.5 else rng.choice(("link", "button", "element"))
        task = ask(rng, _CLICK if rng.random() < 0.4 else _CLICK_ROLE, name=which.name, role=told)
        question, answer = page(rng, task, _shuffled(rng, elements, send)), clicked(which)
    else:
        many = kind < 0.7
        wanted = sorted(rng.sample(range(len(names)), rng.randrange(len(names)) if many else 1))
        done = rng.randrange(len(wanted) + 1)
        question, answer = _choice(
            rng, _SELECT, zip(bids, names, strict=False), send, wanted, done, many=many
        )
    return [Exchange(beside(rng), question, answer)]


def coded_elements(rng: Random) -> list[Element]:
    """Two to eight elements of one kind or several, with codes for names."""
    names = _codes(rng, rng.randrange(2, 9))
    roles = [rng.choice(_ROLES)] * len(names) if rng.random() < 0.5 else [rng.choice(_ROLES) for _ in names]
    return [Element(*each) for each in zip(_bids(rng, len(names)), roles, names, strict=True)]


def _codes(rng: Random, count: int) -> list[str]:
    """Different names without sense, one kind of them on a page."""
    kind = rng.random()
    found: dict[str, None] = {}
    while len(found) < count:
        if kind < 0.6:
            name = "".join(rng.choice(_CODE) for _ in range(rng.randrange(2, 9)))
        else:
            name = made_up(rng, rng.choice((1, 2, 2, 3, 3, 4)))
            name = rng.choice((name, name, name.capitalize())) + rng.choice(("", "", "", ".", ","))
        found[name] = None
    return list(found)


def _shuffled(rng: Random, elements: list[Element], send: Element) -> list[Element]:
    """The elements in any order, with a button that has nothing to do with them at times."""
    shown = [*elements, send] if rng.random() < 0.3 else elements
    return rng.sample(shown, len(shown))


def drawn_elements(rng: Random, least: int) -> list[Element]:
    """Up to six elements more than `least`, mostly few, with different numbers and names."""
    count = least + rng.choice((0, 0, 1, 1, 2, 2, 3, 4, 6))
    roles = [rng.choice(_ROLES) for _ in range(count)]
    return [Element(*each) for each in zip(_bids(rng, count), roles, _names(rng, count), strict=True)]


def page(rng: Random, task: str, elements: list[Element], order: str | None = None) -> str:
    """What an agent would read: the task, and the elements line by line."""
    return f"Task: {task}\n{listing(rng, elements, order)}"


def listing(rng: Random, elements: list[Element], order: str | None = None) -> str:
    """The elements line by line, their numbers before or after what they are; one of the two at random for None."""
    order = order or rng.choice(tuple(_LISTED))
    return _LISTED[order].format(listed="\n".join(element.line(order) for element in elements))


def _bids(rng: Random, count: int) -> list[int]:
    return rng.sample(range(10, 100), count)


def _name(rng: Random) -> str:
    """What stands on a button or a link: one to three words, small or large."""
    words = [
        rng.choice(LABELS) if rng.random() < 0.4 else made_up(rng)
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))
    ]
    text = " ".join(words)
    return rng.choice((text, text, text.capitalize(), text.upper(), f"{text.capitalize()}."))


def _names(rng: Random, count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found[_name(rng)] = None
    return list(found)


def text_to_write(rng: Random) -> str:
    """A code of letters and digits, or a word."""
    if rng.random() < 0.6:
        return "".join(rng.choice(_CODE) for _ in range(rng.randrange(1, 7)))
    word = made_up(rng, rng.choice((1, 2, 2)))
    return rng.choice((word, word.capitalize()))


def _click(rng: Random) -> Pair:
    """One element among others, by its name, and by its role where two bear the same name."""
    elements = drawn_elements(rng, 1)
    which = rng.choice(elements)
    if rng.random() < 0.15:
        role = rng.choice([role for role in _ROLES if role != which.role])
        elements.insert(rng.randrange(len(elements) + 1), Element(_free(rng, elements), role, which.name))
        return page(rng, ask(rng, _CLICK_ROLE, name=which.name, role=which.role), elements), clicked(which)
    forms = _CLICK if rng.random() < 0.6 else _CLICK_ROLE
    return page(rng, ask(rng, forms, name=which.name, role=which.role), elements), clicked(which)


def _free(rng: Random, elements: list[Element]) -> int:
    return rng.choice([bid for bid in range(10, 100) if bid not in {element.bid for element in elements}])


def clicked(element: Element) -> str:
    """The action that clicks on it."""
    return f"click('{element.bid}')"


def filled(element: Element, text: str) -> str:
    """The action that writes a text into it."""
    return f"fill('{element.bid}', '{text}')"


def _fill(rng: Random) -> Pair:
    """One to three fields, some filled in already; the button when all are."""
    count = rng.choice((1, 1, 2, 2, 3))
    texts = [text_to_write(rng) for _ in range(count)]
    if count == 2 and rng.random() < 0.3:
        texts[1] = texts[0]
    fields = rng.sample(_FIELDS, count)
    done = rng.randrange(count + 1)
    button, *others = _names(rng, rng.choice((1, 1, 2)))
    bids = _bids(rng, count + 1 + len(others))
    named = rng.random() < 0.4
    elements = [
        Element(bid, "textbox", field if named else "", text if place < done else "")
        for place, (bid, field, text) in enumerate(zip(bids, fields, texts, strict=False))
    ]
    send = Element(bids[count], "button", button)
    rest = [Element(bids[-1], rng.choice(("button", "link")), name) for name in others]
    if count == 1:
        task = ask(rng, _FILL, text=texts[0], button=button)
    elif texts[0] == texts[1]:
        task = ask(rng, _FILL_BOTH, text=texts[0], button=button)
    else:
        parts = [f'the {field} "{text}"' for field, text in zip(fields, texts, strict=True)]
        task = ask(rng, _FILL_ALL, parts=f"{', '.join(parts[:-1])} and {parts[-1]}", button=button)
    answer = clicked(send) if done == count else filled(elements[done], texts[done])
    return page(rng, task, [*elements, send, *rest]), answer


def _tick(rng: Random) -> Pair:
    """Boxes or options: the next one wanted, in the order of the list, or the button where all are ticked."""
    many = rng.random() < 0.6
    names = _names(rng, rng.randrange(2, 7) + 1)
    button, labels = names[0], names[1:]
    wanted = sorted(rng.sample(range(len(labels)), rng.randrange(1, len(labels) + 1) if many else 1))
    done = rng.randrange(len(wanted) + 1)
    bids = _bids(rng, len(labels) + 1)
    send = Element(bids[-1], "button", button)
    return _choice(rng, _TICK, zip(bids, labels, strict=False), send, wanted, done, many=many)


def _choice(
    rng: Random,
    forms: tuple[str, ...],
    offered: Iterable[tuple[int, str]],
    send: Element,
    wanted: list[int],
    done: int,
    *,
    many: bool,
) -> Pair:
    """What is offered, by number and name, the first `done` of those wanted ticked already, and what comes next."""
    elements = [
        Element(bid, "checkbox" if many else "radio", name, ticked=place in wanted[:done])
        for place, (bid, name) in enumerate(offered)
    ]
    said = [elements[place].name for place in wanted]
    rng.shuffle(said)
    task = ask(rng, forms, names=", ".join(said) or "nothing", button=send.name)
    answer = clicked(send if done == len(wanted) else elements[wanted[done]])
    return page(rng, task, [*elements, send]), answer


def _focus(rng: Random) -> Pair:
    """The first, second or third of some fields."""
    count = rng.randrange(1, 4)
    elements = [Element(bid, "textbox") for bid in _bids(rng, count)]
    which = rng.randrange(count)
    rank = _PLACES[which + rng.choice((0, 3))]
    return page(rng, ask(rng, _FOCUS, rank=rank), elements), clicked(elements[which])


_KINDS: tuple[Callable[[Random], Pair], ...] = (
    _click,
    _click,
    _click,
    _fill,
    _fill,
    _fill,
    _tick,
    _tick,
    _focus,
)
