"""The expert: it solves every task from anywhere within the limit, and (on small homes) no way is shorter."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vlmq_env_household.catalogue import ROOMY
from vlmq_env_household.expert import next_command, shortest_plan
from vlmq_env_household.generator import LEVELS, generate
from vlmq_env_household.home import TASKS, Home, Task
from vlmq_env_household.rules import World
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
