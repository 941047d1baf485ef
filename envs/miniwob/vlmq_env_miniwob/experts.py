"""Demonstrators: one short rule per task, from what the page shows to the next action."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from vlmq_env_miniwob.actions import click

Shown = Mapping[str, tuple[str, str]]
"""The elements on the page: bid -> (role, name)."""

Expert = Callable[[str, Shown], str | None]
"""From the instruction and the elements to the text of the next action; None where the rule knows none."""


def _click_the_only_button(utterance: str, shown: Shown) -> str | None:
    buttons = [bid for bid, (role, _) in shown.items() if role == "button"]
    return click(buttons[0]) if len(buttons) == 1 else None


def _click_the_named_button(utterance: str, shown: Shown) -> str | None:
    asked = re.fullmatch(r"Click button (\S+)\.", utterance)
    if asked is None:
        return None
    buttons = [bid for bid, element in shown.items() if element == ("button", asked[1])]
    return click(buttons[0]) if buttons else None


EXPERTS: dict[str, Expert] = {
    "click-test": _click_the_only_button,
    "click-test-2": _click_the_named_button,
}
"""The rule of each task that has one."""
