"""Rules of the inbox: find an email, and delete it, mark it, answer it or pass it on, however that is worded."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vlmq_env_miniwob.actions import click, write
from vlmq_env_miniwob.experts.seen import Expert, Seen, click_on, quoted, scroll

AWAY = re.compile(
    r"delet|\brid\b|trash|remove|throw away|recycling|don't want|out of my inbox|jend", re.IGNORECASE
)
MARKED = re.compile(r"important|importance|\bstar\b|\bflag\b|\bmark\b", re.IGNORECASE)
NAME = r"[A-Z][a-z]+(?:-[A-Z][a-z]+)?"
SENDER = re.compile(
    rf"(?:\bfrom|\bby|\bof|got from|that|email|message|information) (?:DEST's )?({NAME})(?= sent| wrote|\b)"
    rf"|({NAME})'s (?:latest |last |recent )?(?:[Ee]-?mail|message)|({NAME}) (?:sent|wrote)"
)


@dataclass(frozen=True)
class Wish:
    """What the instruction asks for: "trash", "star", "reply" or "forward" an email by somebody."""

    act: str
    sender: str
    text: str
    """The answer, or to whom the email is forwarded."""


def _wish(seen: Seen) -> Wish | None:
    message = quoted(seen)
    words = re.sub(r'".*"', "", seen.utterance)
    lines = {each.text for texts in (*seen.earlier, seen.texts) for each in texts} | set(
        seen.text.splitlines()
    )
    names = re.findall(NAME, words)
    # An s without its apostrophe, as in "Teresinas email".
    names = [
        whole if name not in lines and (whole := name.removesuffix("s")) in lines else name for name in names
    ]
    known = [name for name in dict.fromkeys(names) if name in lines]
    sender = known[0] if len(known) == 1 else _sender(words, known)
    if sender is None:
        return None
    if message:
        return Wish("reply", sender, "".join(message).strip())
    if AWAY.search(words):
        return Wish("trash", sender, "")
    if MARKED.search(words):
        return Wish("star", sender, "")
    others = [name for name in names if name != sender]
    return Wish("forward", sender, others[-1] if others else "")


def _sender(words: str, known: list[str]) -> str | None:
    """Which of several senders is meant: the one that the email is said to be from."""
    told = [name for found in SENDER.findall(words) for name in found if name in known]
    return next(iter(told or known), None)


def _inbox(seen: Seen) -> str | None:
    wish = _wish(seen)
    if wish is None:
        return None
    if seen.written("subject:") is not None:
        return _written(seen, wish)
    if seen.written("to me") is not None or seen.named("Reply") is not None:
        return _opened(seen, wish)
    row = next((bid for bid in seen.elements if _is_by(seen, bid, wish.sender)), None)
    if row is None:
        return scroll(100)
    if wish.act in ("reply", "forward"):
        return click(row)
    _, top, _, height = seen.elements[row].box
    icons = (bid for bid in seen.all_named(wish.act) if top < seen.elements[bid].centre[1] < top + height)
    return click_on(next(icons, None)) or scroll(40)


def _is_by(seen: Seen, bid: str, sender: str) -> bool:
    return seen.elements[bid].text.split("\n")[0].strip() == sender


def _opened(seen: Seen, wish: Wish) -> str | None:
    """An email fills the page: on with it, or back where it is not the one."""
    if f"{wish.sender}\nto me" not in seen.text or wish.act in ("trash", "star"):
        return _corner(seen, left=True)
    return click_on(seen.named(wish.act.capitalize())) or scroll(100)


def _written(seen: Seen, wish: Wish) -> str | None:
    """An answer or an email to pass on is open."""
    field = next((bid for bid in seen.of("textbox") if seen.multiline(bid) == (wish.act == "reply")), None)
    forwards = any(not seen.multiline(bid) for bid in seen.of("textbox"))
    if field is None or forwards != (wish.act == "forward"):
        return _corner(seen, left=True)
    if seen.elements[field].text != wish.text:
        return write("fill", field, wish.text)
    return _corner(seen, left=False) or write("noop")


def _corner(seen: Seen, *, left: bool) -> str | None:
    """The sign at an end of the bar on top: back on the left, send on the right."""
    signs = [bid for bid in seen.of("generic") if seen.elements[bid].centre[1] < 72]
    sign = (min if left else max)(signs, key=lambda bid: seen.elements[bid].centre[0], default=None)
    return click_on(sign)


RULES: dict[str, Expert] = {
    f"email-inbox{variant}": _inbox
    for variant in (
        "", "-delete", "-forward", "-forward-nl", "-important", "-nl-turk", "-noscroll", "-reply", "-star-reply",
    )
}  # fmt: skip
"""The rule of each of these tasks.

email-inbox-forward-nl-turk has none: some of its pages hold by mistake that the reader's name is the writer's, and the
other way round, and fail whoever does as told.
"""
