"""What of a mission is done, and what is still to be done, read off minigrid's verifier."""

from __future__ import annotations

from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.envs.babyai.core.verifier import AfterInstr, Instr, SeqInstr


def instructions(level: RoomGridLevel) -> Instr:
    """The mission of the present episode."""
    mission = level.instrs  # type: ignore[attr-defined]  # each level sets it, the common class does not declare it
    assert isinstance(mission, Instr)
    return mission


def pending(mission: Instr) -> list[Instr]:
    """The simple instructions that are still to be carried out, in an order in which they count."""
    if not isinstance(mission, SeqInstr):
        return [mission]
    parts = list(zip((mission.instr_a, mission.instr_b), done(mission), strict=True))
    if isinstance(mission, AfterInstr):
        parts.reverse()
    return [simple for part, over in parts if not over for simple in pending(part)]


def done(mission: SeqInstr) -> tuple[bool, bool]:
    """Which of its two parts are done."""
    return getattr(mission, "a_done", False) == "success", getattr(mission, "b_done", False) == "success"


def marks(mission: Instr) -> tuple[bool, ...]:
    """What is done of the mission and of its parts, as a value that is equal where the progress is."""
    if not isinstance(mission, SeqInstr):
        return ()
    return (*done(mission), *marks(mission.instr_a), *marks(mission.instr_b))
