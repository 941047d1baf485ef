"""The expert: it solves every task from anywhere within the limit, and (on small homes) no way is shorter."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vlmq_env_household.catalogue import ROOMY
from vlmq_env_household.expert import next_command, searching_command, shortest_plan
from vlmq_env_household.generator import LEVELS, generate
from vlmq_env_household.home import TASKS, Home, Task
from vlmq_env_household.rules import Command, World
from vlmq_env_household.splits import SPLITS

IDLE = {"examine", "inventory", "look"}


def wander(world: World, rng: np.random.Generator, commands: int) -> World:
    """Random legal play that never solves the task."""
    for _ in range(commands):
        legal = world.legal()
        after = world.copy()
        after.apply(legal[int(rng.integers(len(legal)))])
        if not after.solved():
            world = after
    return world


def turns_to_solve(world: World) -> int:
    """Ask the expert anew at every turn, and obey."""
    for turn in range(50):
        if world.solved():
            return turn
        command = next_command(world)
        assert command in world.legal()
        world.apply(command)
    raise AssertionError("not solved in 50 turns")


def fewest_turns(world: World) -> int:
    """The length of a shortest way, by breadth-first search over everything that can be done."""

    def key(world: World) -> object:  # what was seen, and the order of things in a place, change no way
        content = tuple(map(frozenset, world.contents))
        return world.at, world.hand, content, tuple(world.marks), tuple(world.opened)

    seen, queue = {key(world)}, deque([(world, 0)])
    while queue:
        world, turns = queue.popleft()
        for command in world.legal():
            if command.verb in IDLE:
                continue
            after = world.copy()
            after.apply(command)
            if after.solved():
                return turns + 1
            if key(after) not in seen:
                seen.add(key(after))
                queue.append((after, turns + 1))
    raise AssertionError("cannot be solved")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_it_solves_every_task_at_every_level(task: str, level: int) -> None:
    check(task, level, range(20))


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_it_solves_every_task_at_every_level_over_many_seeds(task: str, level: int) -> None:
    check(task, level, range(20, 220))


def check(task: str, level: int, seeds: range) -> None:
    for seed in seeds:
        home = generate(np.random.default_rng(seed), task, level, SPLITS[seed % 2])
        world = World(home)
        expected = len(shortest_plan(world))
        assert turns_to_solve(world) == expected <= 12


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(TASKS),
    st.integers(0, len(LEVELS) - 1),
    st.integers(0, 10_000),
    st.integers(0, 200),
)
def test_it_goes_on_from_what_others_left(task: str, level: int, seed: int, commands: int) -> None:
    rng = np.random.default_rng(seed)
    world = wander(World(generate(rng, task, level, "train")), rng, commands)
    assert turns_to_solve(world) <= 24


# -- the one that searches --------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("level", range(len(LEVELS)))
@pytest.mark.parametrize("limit", [15, 50])
def test_the_searching_one_arrives_within_the_limit(task: str, level: int, limit: int) -> None:
    for seed in range(10):
        world = World(generate(np.random.default_rng(seed), task, level, SPLITS[seed % 2]))
        for turn in range(limit):
            if world.solved():
                break
            world.apply(searching_command(world, limit - turn))
        assert world.solved()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TASKS), st.integers(0, len(LEVELS) - 1), st.integers(0, 10_000), st.integers(0, 60))
def test_what_nobody_has_seen_changes_nothing_that_it_does(
    task: str, level: int, seed: int, commands: int
) -> None:
    """Hidden things change places with one another: where it goes then stays the same."""
    rng = np.random.default_rng(seed)
    world = wander(World(generate(rng, task, level, "train")), rng, commands)
    ends = [place for place, r in enumerate(world.home.receptacles) if r.kind == world.home.task.place]
    hidden = [
        thing
        for place, sight in enumerate(world.sights)
        if sight.cover and place not in ends  # which ends have room it knows
        for thing in world.contents[place]
    ]
    other = world.copy()
    for thing, twin in zip(hidden, rng.permutation(hidden).tolist(), strict=True):
        other.places[thing] = world.places[twin]
    other.contents = [
        inside
        if place not in {world.places[t] for t in hidden}
        else tuple(t for t in hidden if other.places[t] == place)
        for place, inside in enumerate(world.contents)
    ]
    assert other.sights == world.sights
    if not other.solved():
        assert searching_command(other, 1000) == searching_command(world, 1000)


def test_it_looks_into_what_is_closed_and_goes_on_where_it_finds_nothing(home: Callable[..., Home]) -> None:
    world = World(home(Task("place", "mug", "shelf"), ["shelf", "drawer", "desk"], [("pen", 1), ("mug", 2)]))
    done = []
    while not world.solved():
        done.append(searching_command(world, 50))
        world.apply(done[-1])
    go, open_ = (lambda place: Command("go", place=place)), Command("open", place=1)
    assert done == [go(0), go(1), open_, go(2), Command("take", 1, 2), go(0), Command("move", 1, 0)]
    late = World(world.home)
    assert searching_command(late, len(shortest_plan(late))) == go(2)


# -- the shortest way -------------------------------------------------------------------------------------


def test_no_way_is_shorter_in_a_small_home() -> None:
    for task in TASKS:
        for seed in range(12):
            rng = np.random.default_rng(seed)
            world = wander(World(generate(rng, task, 0, "train")), rng, int(rng.integers(100)))
            assert len(shortest_plan(world)) == fewest_turns(world)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_no_way_is_shorter_in_many_small_homes(task: str) -> None:
    for seed in range(12, 200):
        rng = np.random.default_rng(seed)
        world = wander(World(generate(rng, task, 0, "train")), rng, int(rng.integers(150)))
        assert len(shortest_plan(world)) == fewest_turns(world)


def test_it_clears_the_way_where_the_end_is_full(
    home: Callable[..., Home], play: Callable[..., World]
) -> None:
    things = [("mug", 1), *[("cup", 0)] * ROOMY]
    world = World(home(Task("place", "mug", "shelf"), ["shelf", "countertop"], things))
    # go to the shelf, take a cup, go back, put it down, take the mug, go to the shelf, put it down
    assert len(shortest_plan(world)) == fewest_turns(world) == 7
    assert turns_to_solve(world) == 7
    things = [("mug", 1), ("mug", 2), *[("cup", 0)] * ROOMY]
    world = World(home(Task("two", "mug", "shelf"), ["shelf", "countertop", "fridge"], things))
    plan = shortest_plan(world)
    assert turns_to_solve(world) == len(plan)


def test_it_empties_the_hand_first(home: Callable[..., Home], play: Callable[..., World]) -> None:
    world = World(home(Task("place", "mug", "shelf"), ["shelf", "cabinet"], [("mug", 1), ("cup", 0)]))
    play(world, ("go", -1, 0), ("take", 1, 0))
    assert len(shortest_plan(world)) == fewest_turns(world) == turns_to_solve(world)


def test_it_may_put_down_at_the_end_what_is_in_the_way(
    home: Callable[..., Home], play: Callable[..., World]
) -> None:
    kinds = ["shelf", "microwave"]
    world = World(home(Task("heat", "mug", "shelf"), kinds, [("mug", 0), ("cup", 0)]))
    play(world, ("go", -1, 0), ("take", 1, 0))
    # move the cup, take the mug, go, heat, go back, move
    assert len(shortest_plan(world)) == fewest_turns(world) == turns_to_solve(world) == 6
