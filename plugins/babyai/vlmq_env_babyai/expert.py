"""The expert: minigrid's BabyAIBot, with a new plan wherever the old one is left or leads no further.

The bot keeps a stack of goals. Here it is made anew from the present state, and plans what is still to be done with
the memory of what was seen, whenever the agent did something else or the bot gives up: where a box was opened, or
where it believes to be done and is not. Further deviations from the bot:

1. It may start with something in hand: what is in the way of the first thing to do is put down.
2. A box that holds something is opened first. Which one does, the bot is told.
3. A locked door is never opened in search of its own key, and a search that finds no plan ends.
4. Where there is no plan the agent walks about, and plans again after 1, 2, 4, 8 ... turns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from minigrid.core.actions import Actions
from minigrid.core.world_object import WorldObj
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.envs.babyai.core.verifier import GoToInstr, Instr, PickupInstr, PutNextInstr
from minigrid.utils.baby_ai_bot import (
    BabyAIBot,
    DisappearedBoxError,
    DropSubgoal,
    ExploreSubgoal,
    GoNextToSubgoal,
    Subgoal,
)
from numpy.typing import NDArray

from vlmq_env_babyai.mission import instructions, pending

MOST_SEARCHES = 200
"""Searches for a way within one turn, beyond which the bot goes round in circles."""


class Guide:
    """Advises one episode. Tell it each action that was played; ask it whenever you like."""

    def __init__(self, level: RoomGridLevel) -> None:
        self._level = level
        self._bot: _Bot | None = None
        self._seen: NDArray[np.bool_] | None = None
        self._advice: Actions | None = None
        self._last: Actions | None = None
        self._pause = self._rest = 0

    def note(self, action: Actions) -> None:
        """An action was played."""
        if action != self._advice:
            self._bot = None
        self._last, self._advice = action, None
        self._rest = max(0, self._rest - 1)

    def advice(self) -> Actions:
        """The next action, the same however often it is asked for in one turn."""
        if self._advice is None:
            planned = self._planned()
            self._advice = self._stroll() if planned is None else planned
        return self._advice

    def _planned(self) -> Actions | None:
        if self._bot is not None:
            action = self._bot.next_action(self._last)
            if action is not None:
                return action
        if self._rest:
            return None
        bot = _Bot(self._level, self._seen)
        action = bot.next_action(None)
        self._seen = bot.vis_mask
        # a plan that fails takes a thousand times as long as a turn
        self._pause = 0 if action is not None else max(1, 2 * self._pause)
        self._rest = self._pause
        self._bot = bot if action is not None else None
        return action

    def _stroll(self) -> Actions:
        """Straight ahead as far as it goes, then aside: this changes nothing in the level."""
        ahead = self._level.grid.get(*self._level.front_pos)
        return Actions.forward if ahead is None or ahead.can_overlap() else Actions.left


class _Bot(BabyAIBot):
    """A bot that can start from any state."""

    def __init__(self, level: RoomGridLevel, seen: NDArray[np.bool_] | None) -> None:
        super().__init__(level)
        if seen is not None:
            self.vis_mask |= seen
        self._searches_left = MOST_SEARCHES
        self._process_obs()
        for place, obj in enumerate(level.grid.grid):
            if _holds_something(obj):
                # the place, not the box: the bot fails on the position of a thing that was put down, an array
                at = place % level.grid.width, place // level.grid.width
                self.stack += [_Toggle(self), GoNextToSubgoal(self, at)]
        self._empty_hand(pending(instructions(level))[0], level.carrying)

    def next_action(self, played: Actions | None) -> Actions | None:
        """Go on after its advice was played, or begin; None where this plan leads no further."""
        self._searches_left = MOST_SEARCHES
        try:
            action: Actions = self.replan(played)
        # the bot's own checks are assertions, and a place that it does not find is a None that it computes with
        except (AssertionError, AttributeError, TypeError, DisappearedBoxError, _Lost):
            return None
        return None if action == Actions.done else action

    def _empty_hand(self, first: Instr, held: WorldObj | None) -> None:
        """Put down what is held, if it is in the way of the first thing to do."""
        if held is None:
            return
        if isinstance(first, PutNextInstr) and _among(held, first.desc_move.obj_set):
            del self.stack[-2:]  # go there and pick it up: that is done
            return
        needs_hand = isinstance(first, (PickupInstr, PutNextInstr))
        if (
            needs_hand
            or (isinstance(first, GoToInstr) and _among(held, first.desc.obj_set))
            or _holds_something(held)
        ):
            place = self._find_drop_pos()
            if place is not None:
                self.stack += [DropSubgoal(self), GoNextToSubgoal(self, place)]

    def _process_instr(self, instr: Instr) -> None:
        for simple in reversed(pending(instr)):
            super()._process_instr(simple)

    def _breadth_first_search(self, initial_states: Any, accept_fn: Any, ignore_blockers: bool) -> Any:
        self._searches_left -= 1
        if self._searches_left < 0:
            raise _Lost
        accept = accept_fn
        if self.stack and isinstance(self.stack[-1], ExploreSubgoal):
            # looking for a key behind the very door that the key is for has no end
            waiting = [goal.datum for goal in self.stack if getattr(goal, "reason", None) == "Open"]

            def accept(pos: Any, cell: Any) -> Any:
                return accept_fn(pos, cell) and not any(cell is door for door in waiting)

        return super()._breadth_first_search(initial_states, accept, ignore_blockers)


class _Toggle(Subgoal):
    """Open the box in front."""

    def replan_before_action(self) -> Actions:
        return Actions.toggle


class _Lost(Exception):
    """The search for a plan does not end. Ours, caught by `next_action`."""


def _holds_something(obj: Any) -> bool:
    """Whether it is a box that is not empty."""
    return obj is not None and obj.type == "box" and obj.contains is not None


def _among(held: WorldObj, objs: list[WorldObj]) -> bool:
    return any(held is obj for obj in objs)
