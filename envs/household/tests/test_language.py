"""The words: every command once and exactly, and nothing told that was not seen."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vlmq_env_household import language
from vlmq_env_household.catalogue import RECEPTACLES, THINGS
from vlmq_env_household.env import LINE_BYTES, RULES_BYTES
from vlmq_env_household.generator import LEVELS, generate
from vlmq_env_household.home import TASKS, Home, Task
from vlmq_env_household.rules import Command, World
from vlmq_env_household.splits import SPLITS, pairs


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(TASKS), st.integers(0, len(LEVELS) - 1), st.integers(0, 10_000))
def test_every_command_has_its_own_text_and_means_itself(task: str, level: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    home = generate(rng, task, level, "train")
    world, book = World(home), language.Phrasebook(home)
    for _ in range(25):
        legal, texts = world.legal(), book.legal(world)
        assert len(texts) == len(legal)
        assert {text: command for command in legal for text in [language.say(command, home)]} == texts
        world.apply(legal[int(rng.integers(len(legal)))])


def test_cabinet_1_is_not_found_inside_cabinet_10(home: Callable[..., Home]) -> None:
    small = home(Task("place", "mug", "cabinet"), ["cabinet"] * 12, [("mug", 9)])
    world, book = World(small), language.Phrasebook(small)
    texts = book.legal(world)
    assert texts["go to cabinet 1"] == Command("go", -1, 0)
    assert texts["go to cabinet 10"] == Command("go", -1, 9)
    world.apply(Command("go", -1, 9))
    world.apply(Command("open", -1, 9))
    texts = book.legal(world)
    assert "take mug 1 from cabinet 10" in texts
    assert not {"take mug 1 from cabinet 1", "go to cabinet 10", "close cabinet 1", "go to cabinet"} & set(
        texts
    )
    assert world.contents[0] == ()


def test_the_syntax_names_every_command_once() -> None:
    assert language.SYNTAX == (
        "Actions: go to R, open R, close R, take O from R, move O to R, use O, clean O with R, heat O with R,"
        " cool O with R, examine X, inventory, look"
    )


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Task("place", "apple", "fridge"), "Task: put an apple in a fridge."),
        (Task("light", "book", "desklamp"), "Task: hold a book in the light of a desklamp."),
        (Task("clean", "mug", "armchair"), "Task: put a clean mug on an armchair."),
        (Task("heat", "bread", "cabinet"), "Task: put some hot bread in a cabinet."),
        (Task("cool", "pan", "countertop"), "Task: put a cool pan on a countertop."),
        (Task("two", "knife", "drawer"), "Task: put two knives in one drawer."),
        (Task("two", "pen", "safe"), "Task: put two pens in one safe."),
    ],
)
def test_the_task_in_one_sentence(task: Task, said: str) -> None:
    assert language.sentence(task) == said


def test_every_task_has_a_sentence_of_its_own() -> None:
    tasks = {
        Task(kind, *pair)
        for kind, split, room in product(TASKS, SPLITS, ("kitchen", "bedroom", "bathroom", "livingroom"))
        for pair in pairs(kind, room, split)
    }
    sentences = {language.sentence(task) for task in tasks}
    assert len(sentences) == len(tasks) > 400
    longest = max(map(len, sentences))
    assert longest + 1 + len(language.SYNTAX) < RULES_BYTES


def test_the_longest_line_fits_its_share_of_the_text() -> None:
    marks = {"clean": "clean ", "heat": "hot ", "cool": "cool "}
    things = []
    for name, kind in THINGS.items():
        clean = marks["clean"] if "clean" in kind.verbs else ""
        other = max((marks[verb] for verb in kind.verbs if verb != "clean"), key=len, default="")
        things.append(clean + other + name + " 1")
    things.append("lit desklamp 1")
    longest = max(map(len, things))
    for place, kind in RECEPTACLES.items():
        head = f"{place} 10: " + "open, " * kind.openable
        assert len(head) + 3 * (longest + 2) <= LINE_BYTES


def test_the_words_follow_the_game(home: Callable[..., Home], play: Callable[..., World]) -> None:
    kinds = ["fridge", "shelf"]
    small = home(Task("cool", "mug", "shelf"), kinds, [("mug", 1), ("cup", 0)])
    world, words = World(small), language.StateInWords(small)
    assert words(world) == "at: nowhere; in hand: nothing\nkitchen\nfridge 1: closed\nshelf 1: unseen"
    play(world, ("go", -1, 1))
    assert words(world).splitlines()[-1] == "shelf 1: mug 1"
    play(world, ("take", 0, 1), ("go", -1, 0), ("open", -1, 0), ("cool", 0, 0))
    assert words(world) == (
        "at: fridge 1; in hand: cool mug 1\nkitchen\nfridge 1: open, cup 1\nshelf 1: empty"
    )
    play(world, ("move", 0, 0))
    assert language.reply(Command("move", 0, 0), world) == "Done: move mug 1 to fridge 1."
    assert words(world).splitlines()[2] == "fridge 1: open, cup 1, cool mug 1"
    play(world, ("close", -1, 0))
    assert words(world).splitlines()[2] == "fridge 1: closed"
    assert language.reply(Command("examine", -1, 0), world) == "fridge 1: closed."
    assert language.reply(Command("inventory"), world) == "You carry nothing."


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(TASKS), st.integers(0, len(LEVELS) - 1), st.integers(0, 10_000))
def test_the_words_name_no_thing_out_of_sight(task: str, level: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    home = generate(rng, task, level, "train")
    world, words = World(home), language.StateInWords(home)
    for _ in range(40):
        legal = world.legal()
        command = legal[int(rng.integers(len(legal)))]
        world.apply(command)
        told = f"{language.reply(command, world)}\n{words(world)}"
        shown = {thing for sight in world.sights for thing, _ in sight.content} | {world.hand}
        for index, thing in enumerate(home.things):
            assert bool(re.search(rf"\b{thing.name}\b", told)) == (index in shown)
