"""The homes: sensible, of their level, of their split, and the same for the same seed."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from vlmq_env_household.catalogue import LAMP, RECEPTACLES, ROOMS, ROOMY, THINGS, TREATMENTS
from vlmq_env_household.generator import LEVELS, generate
from vlmq_env_household.home import TASKS, Home
from vlmq_env_household.rules import World
from vlmq_env_household.splits import SPLITS, pairs, split_of_pair, split_of_room


def homes(level: int, split: str = "train", count: int = 12) -> list[Home]:
    return [
        generate(np.random.default_rng(seed), task, level, split) for task in TASKS for seed in range(count)
    ]


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_a_home_is_of_its_level_and_sensible(level: int) -> None:
    plan = LEVELS[level]
    for home in homes(level):
        assert len(home.receptacles) == sum(plan.receptacles)
        assert len(home.things) == plan.things
        cells = [receptacle.cell for receptacle in home.receptacles]
        assert len(set(cells)) == len(cells)
        assert (plan.side - 1, plan.side - 1) not in cells
        for receptacle in home.receptacles:
            left, top, right, bottom = home.rooms[receptacle.room].block
            assert left <= receptacle.cell[0] < right
            assert top <= receptacle.cell[1] < bottom
            assert receptacle.kind in ROOMS[home.rooms[receptacle.room].kind]
        for index, room in enumerate(home.rooms):
            stock = Counter(receptacle.kind for receptacle in home.receptacles if receptacle.room == index)
            assert stock <= Counter(ROOMS[room.kind])
        for thing in home.things:
            place = home.receptacles[thing.place]
            assert place.kind in THINGS[thing.kind].homes
            assert home.rooms[place.room].kind in THINGS[thing.kind].rooms
        for named in (home.receptacles, home.things):
            assert len({item.name for item in named}) == len(named)
            count = Counter(item.kind for item in named)
            assert all(1 <= int(item.number) <= count[item.kind] for item in named)


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_a_task_can_be_solved_and_is_not_solved_yet(level: int) -> None:
    for home in homes(level):
        world, task = World(home), home.task
        assert not world.solved()
        wanted = [thing for thing in home.things if thing.kind == task.thing]
        assert len(wanted) >= task.amount
        assert not any(home.receptacles[thing.place].kind == task.place for thing in wanted)
        kinds = {receptacle.kind for receptacle in home.receptacles}
        if task.kind == "light":
            assert THINGS[task.thing].lookable
            assert any(thing.kind == LAMP for thing in home.things)
            continue
        ends = [place for place, other in enumerate(home.receptacles) if other.kind == task.place]
        assert all(ROOMY - len(world.contents[place]) >= task.amount for place in ends)
        assert ends
        if task.kind in TREATMENTS:
            assert task.kind in THINGS[task.thing].verbs
            assert TREATMENTS[task.kind].appliance in kinds - {task.place}


def test_the_largest_level_has_more_than_twenty_receptacles_in_four_rooms() -> None:
    assert sum(LEVELS[-1].receptacles) > 20
    assert len(LEVELS[-1].blocks) == 4
    assert sum(LEVELS[0].receptacles) == 3


def test_numbers_do_not_follow_the_plan() -> None:
    orders = Counter(
        tuple(receptacle.number for receptacle in home.receptacles if receptacle.kind == "drawer")
        for home in homes(2, count=60)
    )
    assert len([order for order in orders if len(order) == 2]) == 2


@pytest.mark.parametrize("level", range(len(LEVELS)))
@pytest.mark.parametrize("split", SPLITS)
def test_goals_and_rooms_are_of_their_split(level: int, split: str) -> None:
    for home in homes(level, split):
        assert split_of_pair(home.task.thing, home.task.place) == split
        for index, room in enumerate(home.rooms):
            kinds = [receptacle.kind for receptacle in home.receptacles if receptacle.room == index]
            assert split_of_room(room.kind, kinds) == split


def test_the_splits_share_no_goal_and_every_task_has_both() -> None:
    train, held_out = (
        {pair for task, room in product(TASKS, ROOMS) for pair in pairs(task, room, split)}
        for split in SPLITS
    )
    assert not train & held_out
    assert 0.1 < len(held_out) / len(train | held_out) < 0.3
    for task in TASKS:
        for split in SPLITS:
            assert sum(len(pairs(task, room, split)) for room in ROOMS) >= 5


def test_the_rule_of_the_splits_never_changes() -> None:
    # CRC-32 of "mug in cabinet" is 112561766, which leaves 1 of 5; of "apple in countertop" 1080161495, 0 of 5
    assert split_of_pair("mug", "cabinet") == "train"
    assert split_of_pair("apple", "countertop") == "held_out"
    assert split_of_room("kitchen", ["fridge", "shelf", "drawer"]) == "held_out"  # 2761982575


def test_every_kind_of_thing_and_receptacle_occurs() -> None:
    seen = [home for level in (2, 4) for home in homes(level, count=20)]
    assert {thing.kind for home in seen for thing in home.things} == set(THINGS)
    assert {receptacle.kind for home in seen for receptacle in home.receptacles} == set(RECEPTACLES)
    assert {home.rooms[0].kind for home in seen} == set(ROOMS)


def test_the_same_seed_is_the_same_home_and_other_seeds_are_others() -> None:
    for level in range(len(LEVELS)):
        first, again = homes(level, count=5), homes(level, count=5)
        assert first == again
        assert len(set(first)) == len(first)


def test_the_catalogue_is_consistent() -> None:
    assert {home for kind in THINGS.values() for home in kind.homes} <= set(RECEPTACLES)
    assert {room for kind in THINGS.values() for room in kind.rooms} <= set(ROOMS)
    assert {receptacle for stock in ROOMS.values() for receptacle in stock} == set(RECEPTACLES)
    assert {verb for kind in THINGS.values() for verb in kind.verbs} <= set(TREATMENTS)
    assert not any(RECEPTACLES[home].openable for home in THINGS[LAMP].homes)
    for stock, level in product(ROOMS.values(), LEVELS):
        assert sum(stock.values()) >= max(level.receptacles)
