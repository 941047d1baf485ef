"""What was typed: verbs, words and options, read strictly; whatever is wrong is said in one sentence."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Verb = Callable[[list[str]], int]

FLAG, VALUE = "", "VALUE"
"""What an option takes: nothing, or the next word. A suffix such as ".png" means: the next word if it ends so."""


class Wrong(Exception):
    """What was typed is wrong; its text is the one sentence that says how."""


def choose(verbs: Mapping[str, Verb], args: list[str], before: str, more: str) -> int:
    """Run the verb that `args` begins with, or name the nearest one."""
    if args[0] in verbs:
        return verbs[args[0]](args[1:])
    near = difflib.get_close_matches(args[0], verbs, n=1, cutoff=0.5)
    hint = f"did you mean `{before} {near[0]}`?" if near else f"it knows {', '.join(verbs)};"
    raise Wrong(f"`{before}` has no verb '{args[0]}'; {hint} {more}.")


def asks_for_help(args: Sequence[str]) -> bool:
    """Whether somebody wants to know what a verb does, rather than do it."""
    return any(arg in ("-h", "--help") for arg in args)


@dataclass
class Given:
    """The words after a verb, and the values of each option, in their order; a flag has the value ""."""

    words: list[str] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the option was given."""
        return name in self.options

    def text(self, name: str, default: str) -> str:
        """The option's last value."""
        return self.options.get(name, [default])[-1]

    def number(self, name: str, default: int, least: int = 0) -> int:
        """The option as a whole number of at least `least`.

        Raises:
            Wrong: it is none.
        """
        text = self.text(name, str(default))
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            at_least = f" of at least {least}" if least else ""
            raise Wrong(f"{name} is '{text}'; give a whole number{at_least}.")
        return int(text)

    def settings(self, name: str = "--set") -> dict[str, Any]:
        """Every `name=value` of the option: a value is a Python literal, or true, false, null, or plain text.

        Raises:
            Wrong: one of them has no name.
        """
        found: dict[str, Any] = {}
        for word in self.options.get(name, []):
            key, equals, value = word.partition("=")
            if not (equals and key.isidentifier()):
                raise Wrong(f"{name} is '{word}'; give name=value, such as {name} size=96.")
            found[key] = _literal(value)
        return found


def read(args: Sequence[str], verb: str, takes: str, options: Mapping[str, str]) -> Given:
    """Tell words from options.

    Args:
        args: what follows the verb.
        verb: as people type it, such as "vlmq report".
        takes: what it takes, as a sentence goes on after "`vlmq report` takes".
        options: what each option takes: FLAG, VALUE or a suffix.

    Raises:
        Wrong: an option is unknown or lacks its value.
    """

    def wrong(reason: str) -> Wrong:
        return Wrong(f"`{verb}` takes {takes}; {reason}; see `{verb} --help`.")

    given, rest = Given(), list(args)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name not in options:
            # a lone "-", or "-1", may well be meant: an action, a number
            if word.startswith("--") or (word.startswith("-") and word[1:2].isalpha()):
                near = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
                raise wrong(f"it has no option '{name}'" + (f", did you mean {near[0]}?" if near else ""))
            given.words.append(word)
            continue
        wants = options[name]
        if wants == VALUE and not equals:
            if not rest:
                raise wrong(f"{name} needs a value")
            value = rest.pop(0)
        elif wants == FLAG and equals:
            raise wrong(f"{name} takes no value")
        elif wants not in (FLAG, VALUE):
            if not equals and rest and rest[0].endswith(wants):
                value = rest.pop(0)
            elif equals and not value.endswith(wants):
                raise wrong(f"{name} is '{value}', which must end in {wants}")
        given.options.setdefault(name, []).append(value)
    return given


def one_word(given: Given, verb: str, what: str, more: str) -> str:
    """The one word that a verb takes.

    Raises:
        Wrong: there is none, or there are several.
    """
    if len(given.words) != 1:
        got = f", and got {' and '.join(map(repr, given.words))}" if given.words else ""
        raise Wrong(f"`{verb}` takes {what}{got}; {more}.")
    return given.words[0]


def print_table(header: tuple[str, str], rows: Sequence[tuple[str, str]]) -> None:
    """Two columns under their names."""
    width = max(len(row[0]) for row in [header, *rows])
    for first, second in [header, *rows]:
        print(f"{first.ljust(width)}  {second}".rstrip())


def _literal(text: str) -> Any:
    plain = {"true": True, "false": False, "null": None}
    if text.lower() in plain:
        return plain[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
