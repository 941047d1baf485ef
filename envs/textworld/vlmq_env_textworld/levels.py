"""The levels of each challenge: what TextWorld is asked for, how far the map reaches, how many turns there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SPLITS = ("train", "held_out")

Settings = Mapping[str, int | bool]


@dataclass(frozen=True)
class Level:
    """One level of a challenge.

    Attributes:
        settings: what the game is made with, in TextWorld's own words; in part decided by the split.
        reach: rooms that the map shows on each side of the agent's.
        max_turns: turns before an episode is truncated.
    """

    settings: Settings
    reach: int
    max_turns: int


def _house(rooms: int, things: int, quest: int, reach: int, turns: int) -> Level:
    return Level({"nb_rooms": rooms, "nb_objects": things, "quest_length": quest}, reach, turns)


def _cooking(recipe: int, rooms: int, work: bool, reach: int, turns: int) -> Level:
    work_settings = {"open": work, "cook": work, "cut": work}
    return Level({"recipe": recipe, "take": recipe, "go": rooms, **work_settings}, reach, turns)


LEVELS: dict[str, tuple[Level, ...]] = {
    "House": (
        _house(2, 4, 2, reach=1, turns=20),
        _house(4, 10, 4, reach=2, turns=50),
        _house(6, 15, 6, reach=2, turns=100),
        _house(9, 22, 8, reach=3, turns=150),
    ),
    "CoinCollector": (
        Level({"level": 202}, reach=1, max_turns=10),
        Level({"level": 203}, reach=2, max_turns=20),
        Level({"level": 205}, reach=2, max_turns=50),
        Level({"level": 210}, reach=3, max_turns=100),
    ),
    "TreasureHunter": (
        Level({"level": 3}, reach=1, max_turns=20),
        Level({"level": 8}, reach=2, max_turns=30),
        Level({"level": 13}, reach=2, max_turns=50),
        Level({"level": 22}, reach=3, max_turns=100),
    ),
    "Cooking": (
        _cooking(1, 1, False, reach=2, turns=20),
        _cooking(1, 1, True, reach=2, turns=30),
        _cooking(2, 6, True, reach=3, turns=60),
        _cooking(3, 9, True, reach=3, turns=100),
    ),
    "Simple": (Level({}, reach=2, max_turns=50),),
}
"""By challenge, from level 1. "level" in the settings is TextWorld's own number of the challenge's level."""
