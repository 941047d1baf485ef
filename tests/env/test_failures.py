"""Reasons that differ in numbers alone are one, and the commonest is the one that is told."""

from __future__ import annotations

from vlmq.env import failures


def test_reasons_are_grouped_and_the_commonest_comes_first() -> None:
    lost = [
        (0, "no door (a.py:3)"),
        (1, "port 4711 is taken"),
        (4, "port 4712 is taken"),
        (5, "at 0x7f2a: gone"),
    ]
    assert failures.grouped(lost) == [
        ("port 4711 is taken", [1, 4]),
        ("no door (a.py:3)", [0]),
        ("at 0x7f2a: gone", [5]),
    ]
    assert failures.kind("at 0x7f2a: gone") == failures.kind("at 0xBEEF: gone")


def test_what_cannot_be_played_is_said_in_one_sentence() -> None:
    assert str(failures.unplayable("a/B-v0", [(0, "no door."), (1, "no key"), (2, "no key")])) == (
        "no episode of 'a/B-v0' could be played to the end: no key (2 of 3 times); `vlmq check a/B-v0` tells more."
    )
    assert str(failures.unplayable("a/B-v0", [(0, "no door.")], done=1)) == (
        "only 1 of 2 episodes of 'a/B-v0' could be played to the end: no door; `vlmq check a/B-v0` tells more."
    )
