"""The pictures: each visible state has its own, nothing hidden shows, and episodes differ in their looks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from vlmq_env_household.catalogue import MARKS, RECEPTACLES, THINGS
from vlmq_env_household.drawing import Picture
from vlmq_env_household.env import Household
from vlmq_env_household.generator import LEVELS, generate
from vlmq_env_household.home import TASKS, Home, Task
from vlmq_env_household.language import StateInWords
from vlmq_env_household.look import Look
from vlmq_env_household.rules import Command, World
from vlmq_env_household.sprites import palette, shapes, sprite


def image(env: Household, **reset: Any) -> NDArray[np.uint8]:
    picture: NDArray[np.uint8] = env.reset(**reset)[0]["image"]
    return picture


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_the_picture_changes_exactly_with_what_the_words_tell(level: int) -> None:
    rng = np.random.default_rng(level)
    for task in TASKS:
        home = generate(rng, task, level, "train")
        world, words = World(home), StateInWords(home)
        picture = Picture(home, Look.draw(rng), 32 * home.side)
        pictures: dict[bytes, str] = {}
        for _ in range(120):
            pixels, told = picture.draw(world).tobytes(), words(world)
            assert pictures.setdefault(pixels, told) == told
            legal = world.legal()
            world.apply(legal[int(rng.integers(len(legal)))])
        assert len(set(pictures.values())) == len(pictures) > 10


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_things_out_of_sight_change_neither_picture_nor_words(level: int) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        home = generate(rng, "place", level, "train")
        # the same home, but every thing lies in the next receptacle
        moved = tuple(
            thing._replace(place=(thing.place + 1) % len(home.receptacles)) for thing in home.things
        )
        other = type(home)(home.side, home.rooms, home.receptacles, moved, home.task)
        pictures = [Picture(each, Look.plain(), 192).draw(World(each)) for each in (home, other)]
        np.testing.assert_array_equal(*pictures)
        assert StateInWords(home)(World(home)) == StateInWords(other)(World(other))


def test_drawing_what_changed_is_drawing_everything() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        home = generate(rng, TASKS[seed], seed % len(LEVELS), "train")
        look, size = Look.draw(rng), 40 * home.side + 3
        world, picture = World(home), Picture(home, look, size)
        for _ in range(40):
            legal = world.legal()
            world.apply(legal[int(rng.integers(len(legal)))])
            np.testing.assert_array_equal(picture.draw(world), Picture(home, look, size).draw(world))


def test_a_frame_is_the_callers_own() -> None:
    env = Household()
    first = image(env, seed=0)
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(env.step("nonsense")[0]["image"], kept)


def test_sprites_are_distinct_in_shape_or_colour() -> None:
    inks = palette(None)
    for kinds, size in ((RECEPTACLES, (14, 12)), (THINGS, (10, 10)), (MARKS, (5, 5))):
        pictures = []
        for name in kinds:
            assert shapes()[name].shape == size[::-1]
            rgba = np.asarray(sprite(name, inks, *size), np.float64)
            pictures.append(rgba[..., :3] * (rgba[..., 3:] / 255) + 225 * (1 - rgba[..., 3:] / 255))
        for one, other in combinations(pictures, 2):
            # mirrored, too: a fifth of the pixels differ clearly
            for seen in (other, other[:, ::-1]):
                assert (np.abs(one - seen).max(axis=-1) > 60).mean() > 0.2


def test_every_mark_and_number_shows_at_the_default_size() -> None:
    home = generate(np.random.default_rng(0), "heat", 0, "train")
    shown = set()
    for marks in ((), ("clean",), ("hot",), ("cool",), ("clean", "hot"), ("clean", "cool")):
        for held in (False, True):
            world = World(home)
            place = next(i for i, other in enumerate(home.receptacles) if other.kind == "microwave")
            world.at, world.visited[place], world.opened[place] = place, True, True
            world.marks[0], world.contents = marks, [()] * 3
            world.hand = 0 if held else -1
            world.contents[place] = () if held else (0,)
            world.sights = [world._sight(index) for index in range(3)]
            shown.add(Picture(home, Look.plain(), 64).draw(world).tobytes())
    assert len(shown) == 12


def test_which_of_two_alike_lies_there_shows(home: Callable[..., Home]) -> None:
    pictures = set()
    for things in ([("mug", 0), ("mug", 1)], [("mug", 1), ("mug", 0)]):
        world = World(home(Task("place", "mug", "shelf"), ["countertop", "shelf"], things, side=2))
        for command in (Command("go", -1, 0), Command("take", world.contents[0][0], 0)):
            world.apply(command)
            pictures.add(Picture(world.home, Look.plain(), 64).draw(world).tobytes())
    assert len(pictures) == 4


@pytest.mark.parametrize("kind", ["floors", "colours", "inks", "mirrored"])
def test_every_part_of_a_look_varies(kind: str) -> None:
    looks = [getattr(Look.draw(np.random.default_rng(seed)), kind) for seed in range(8)]
    assert len({str(look) for look in looks}) == 8


def test_the_same_home_looks_different_in_another_look_and_always_readable() -> None:
    home = generate(np.random.default_rng(3), "place", 1, "train")
    pictures = [Picture(home, Look.draw(np.random.default_rng(i)), 96).draw(World(home)) for i in range(20)]
    assert len({picture.tobytes() for picture in pictures}) == 20
    plain = Picture(home, Look.plain(), 96).draw(World(home)).astype(int)
    for picture in pictures:
        assert picture.std() > 30
        assert np.median(np.abs(picture - plain)) < 40


def test_without_variation_a_home_has_one_picture() -> None:
    plain = Household(task="heat", variation=False)
    assert (image(plain, seed=4) == image(Household(task="heat", variation=False), seed=4)).all()
    assert (image(plain, seed=4) != image(Household(task="heat"), seed=4)).any()


@pytest.mark.parametrize("size", [64, 65, 100, 224])
def test_every_size_is_filled(size: int) -> None:
    picture = image(Household(size=size), seed=0)
    assert picture.shape == (size, size, 3)
    for half in (
        picture[: size // 2],
        picture[size // 2 :],
        picture[:, : size // 2],
        picture[:, size // 2 :],
    ):
        assert half.std() > 20
