"""Makes TextWorld's games: a pure function of challenge, settings, split and number.

TextWorld writes a game as JSON and as a program for the Z-machine; only the first is made here, for the engine that
plays it is TextWorld's own in Python. While some challenges are made they play their own walkthrough on a compiled
program; here they play it on that engine: in a tenth of the time, and without a compiler.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import textworld
from textworld import GameMaker
from textworld.challenges.tw_coin_collector import coin_collector
from textworld.challenges.tw_cooking import cooking
from textworld.challenges.tw_simple import simple
from textworld.challenges.tw_treasure_hunter import treasure_hunter
from textworld.generator import GenerationWarning, QuestGenerationError
from textworld.generator import make_game as make_house
from textworld.generator.game import Game, GameOptions, GameProgression
from textworld.generator.inform7 import Inform7Game
from textworld.logic import Action

from vlmq_env_textworld.levels import SPLITS, Settings
from vlmq_env_textworld.story import Story

STAMP = f"textworld-{textworld.__version__}-1"
"""Names what is kept: another version of TextWorld, or of this module's rules, makes other games."""

_ONE_AT_A_TIME = threading.Lock()

_MOST_ATTEMPTS = 200

_FEWEST_TURNS = 2
"""Games that one command wins are not dealt."""


def deal(challenge: str, settings: Settings, split: str, number: int, max_turns: int) -> Game:
    """The game of this number: the first of its stream that belongs to the split and that the expert solves."""
    for attempt in range(_MOST_ATTEMPTS):
        name = f"{challenge} {sorted(settings.items())} {split} {number} {attempt}"
        seed = int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") >> 1
        try:
            game = make(challenge, settings, split, seed)
        except QuestGenerationError:  # no quest of this length in this world
            continue
        if split_of(game) == split and _solved(game, max_turns):
            return game
    raise RuntimeError(
        f"TextWorld gave no {challenge} game for {dict(settings)} in {_MOST_ATTEMPTS} attempts"
    )


def make(challenge: str, settings: Settings, split: str, seed: int) -> Game:
    """One game of TextWorld's, whatever it is like; the seed governs map, things, quest and names."""
    options = GameOptions()
    options.seeds = seed
    options.grammar.only_last_action = True
    held_out = split == SPLITS[1]
    wanted: dict[str, Any] = dict(settings)
    with _without_a_compiler():
        match challenge:
            case "House":
                for name, value in wanted.items():
                    setattr(options, name, value)
                return make_house(options)
            case "CoinCollector":
                return coin_collector.make(wanted, options)
            case "TreasureHunter":
                return treasure_hunter.make(wanted, options)
            case "Cooking":
                foods = {"drop": False, "recipe_seed": 0, "split": "test" if held_out else "train"}
                return cooking.make({**wanted, **foods}, options)
            case "Simple":
                return simple.make({"rewards": "sparse", "goal": "brief", "test": held_out}, options)
    raise ValueError(f"unknown challenge {challenge!r}")


def split_of(game: Game) -> str:
    """The split of a game's world: rooms, ways, doors, things, where they are, and what wins; names aside.

    Half of all worlds are held out. A world of training is never one of those, whatever its things are called.
    """
    facts = sorted(str(fact) for fact in game.world.facts)
    wins = sorted(
        str(fact)
        for quest in game.quests
        for event in quest.win_events
        for fact in event.condition.preconditions
    )
    digest = blake2b("\n".join([*facts, "wins", *wins]).encode(), digest_size=1).digest()
    return SPLITS[digest[0] % 2]


def _solved(game: Game, max_turns: int) -> bool:
    """Whether the engine's own policy wins from the start, in half of the turns at most."""
    story = Story(game)
    for turn in range(max_turns // 2 + 1):
        if story.won or story.lost:
            return story.won and turn >= _FEWEST_TURNS
        plan = story.plan()
        if not plan or plan[0] not in story.commands:
            return False
        story.act(plan[0])
    return False


@contextmanager
def _without_a_compiler() -> Iterator[None]:
    """Inside, the makers of challenges play their walkthroughs by `_set_walkthrough`."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore", GenerationWarning)  # of names that come near to running out
        original = GameMaker.set_walkthrough
        GameMaker.set_walkthrough = _set_walkthrough
        try:
            yield
        finally:
            GameMaker.set_walkthrough = original


def _set_walkthrough(maker: GameMaker, commands: Sequence[str]) -> None:
    """Note in each winning event the actions that lead to it, as TextWorld's own method does.

    A command that the engine would refuse is passed over; some walkthroughs open a door that is open already.
    """
    game = maker.build()
    progress, speaker = GameProgression(game, track_quests=False), Inform7Game(game)
    waiting = [event for quest in maker.quests for event in quest.win_events]
    actions: list[Action] = []
    played: list[str] = []
    for command in commands:
        legal = dict(
            zip(
                speaker.gen_commands_from_actions(progress.valid_actions), progress.valid_actions, strict=True
            )
        )
        if command not in legal:
            continue
        progress.update(legal[command])
        actions.append(legal[command])
        played.append(command)
        for event in [event for event in waiting if event.is_triggering(progress.state)]:
            event.actions, event.commands = tuple(actions), tuple(played)
            waiting.remove(event)


def load(data: Mapping[str, Any]) -> Game:
    """A game from what `Game.serialize` gave."""
    return Game.deserialize(data)
