"""Demonstrators: one short rule a task, from what the page shows to the next action.

A rule is given what a person in front of the page has: the instruction, the text that can be read, what is drawn, the
elements with their names and states, and what was done so far. It looks anew at every turn, so it goes on from
wherever the page stands.
"""

from __future__ import annotations

from vlmq_env_miniwob.experts import basics, drags, figures, forms, mail, menus, widgets
from vlmq_env_miniwob.experts.seen import Expert, Seen

EXPERTS: dict[str, Expert] = {
    **basics.RULES,
    **forms.RULES,
    **widgets.RULES,
    **menus.RULES,
    **mail.RULES,
    **figures.RULES,
    **drags.RULES,
}
"""The rule of each task that has one."""

__all__ = ["EXPERTS", "Expert", "Seen"]
