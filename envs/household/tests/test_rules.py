"""The rules: what random legal play can never break, and each rule by an example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vlmq_env_household.catalogue import LAMP, LIT, RECEPTACLES, ROOMY, THINGS, TREATMENTS
from vlmq_env_household.generator import LEVELS, generate
from vlmq_env_household.home import TASKS, Home, Task
from vlmq_env_household.rules import NOWHERE, Command, World

IDLE = {"examine", "inventory", "look"}

starts = st.tuples(
    st.sampled_from(TASKS), st.integers(0, len(LEVELS) - 1), st.integers(0, 10_000), st.integers(0, 10_000)
)


def solved_by_definition(world: World) -> bool:
    """The goal, said once more and from the places of the things alone."""
    task, home = world.home.task, world.home
    if task.kind == "light":
        lit = [world.places[i] for i, marks in enumerate(world.marks) if LIT in marks]
        return world.hand >= 0 and home.things[world.hand].kind == task.thing and world.at in lit
    mark = {"clean": "clean", "heat": "hot", "cool": "cool"}.get(task.kind)
    ends = Counter(
        world.places[i]
        for i, thing in enumerate(home.things)
        if thing.kind == task.thing
        and world.places[i] != NOWHERE
        and home.receptacles[world.places[i]].kind == task.place
        and (mark is None or mark in world.marks[i])
    )
    return max(ends.values(), default=0) >= (2 if task.kind == "two" else 1)


def check_invariants(world: World) -> None:
    held = [index for index, place in enumerate(world.places) if place == NOWHERE]
    assert held == ([] if world.hand == NOWHERE else [world.hand])
    inside = sorted(thing for content in world.contents for thing in content)
    assert inside == [index for index in range(len(world.places)) if index != world.hand]
    for place, content in enumerate(world.contents):
        assert all(world.places[thing] == place for thing in content)
        assert len(content) <= ROOMY
        kind = world.home.receptacles[place].kind
        assert RECEPTACLES[kind].openable or not world.opened[place]
        in_view = world.visited[place] and (world.opened[place] or not RECEPTACLES[kind].openable)
        seen = world.sights[place]
        assert [thing for thing, _ in seen.content] == (list(content) if in_view else [])
        assert (seen.cover == "") == in_view
    for index, marks in enumerate(world.marks):
        assert not {"hot", "cool"} <= set(marks)
        assert (LIT in marks) <= (world.home.things[index].kind == LAMP)
    assert 0 <= world.progress() <= 1
    assert (world.progress() == 1) == world.solved() == solved_by_definition(world)


@settings(max_examples=60, deadline=None)
@given(starts)
def test_random_legal_play_keeps_the_world_whole(start: tuple[str, int, int, int]) -> None:
    task, level, seed, choices = start
    world = World(generate(np.random.default_rng(seed), task, level, "train"))
    rng = np.random.default_rng(choices)
    check_invariants(world)
    for _ in range(60):
        legal = world.legal()
        assert len(set(legal)) == len(legal)
        for command in legal:
            named = {command.thing} - {NOWHERE, world.hand}
            assert named <= (set(world.contents[world.at]) if world.at != NOWHERE else set())
            assert not named or world.sights[world.at].cover == ""
        command = legal[int(rng.integers(len(legal)))]
        before = world.key
        again = command.verb in TREATMENTS and TREATMENTS[command.verb].mark in world.marks[command.thing]
        world.apply(command)
        assert (world.key == before) == (command.verb in IDLE or again)
        check_invariants(world)


@settings(max_examples=30, deadline=None)
@given(starts)
def test_a_copy_is_independent(start: tuple[str, int, int, int]) -> None:
    task, level, seed, choices = start
    world = World(generate(np.random.default_rng(seed), task, level, "train"))
    rng = np.random.default_rng(choices)
    before, twin = world.key, world.copy()
    sights = list(world.sights)
    for _ in range(30):
        legal = twin.legal()
        twin.apply(legal[int(rng.integers(len(legal)))])
    assert world.key == before
    assert world.sights == sights


Homes = Callable[..., Home]
Play = Callable[..., World]


def test_a_closed_receptacle_must_be_opened_and_hides_its_content_again(home: Homes, play: Play) -> None:
    world = World(home(Task("place", "mug", "shelf"), ["cabinet", "shelf"], [("mug", 0)]))
    play(world, ("go", -1, 0))
    assert Command("take", 0, 0) not in world.legal()
    assert world.sights[0].cover == "closed"
    play(world, ("open", -1, 0))
    assert Command("open", -1, 0) not in world.legal()
    assert world.sights[0].content == ((0, ()),)
    play(world, ("close", -1, 0))
    assert world.sights[0].cover == "closed"
    assert Command("take", 0, 0) not in world.legal()


def test_one_thing_in_hand_at_most(home: Homes, play: Play) -> None:
    world = World(home(Task("place", "mug", "cabinet"), ["shelf", "cabinet"], [("mug", 0), ("cup", 0)]))
    play(world, ("go", -1, 0), ("take", 0, 0))
    assert Command("take", 1, 0) not in world.legal()
    play(world, ("move", 0, 0), ("take", 1, 0))


def test_a_full_receptacle_takes_no_more(home: Homes, play: Play) -> None:
    world = World(
        home(Task("place", "mug", "shelf"), ["shelf", "countertop"], [("mug", 1)] + [("cup", 0)] * ROOMY)
    )
    play(world, ("go", -1, 1), ("take", 0, 1), ("go", -1, 0))
    assert Command("move", 0, 0) not in world.legal()
    play(world, ("go", -1, 1), ("move", 0, 1), ("go", -1, 0), ("take", 1, 0), ("go", -1, 1), ("move", 1, 1))
    play(world, ("take", 0, 1), ("go", -1, 0), ("move", 0, 0))
    assert world.solved()


def test_hot_and_cool_undo_each_other_and_clean_stays(home: Homes, play: Play) -> None:
    kinds = ["sinkbasin", "microwave", "fridge"]
    world = World(home(Task("place", "mug", "fridge"), kinds, [("mug", 0)]))
    play(world, ("go", -1, 0), ("take", 0, 0), ("clean", 0, 0), ("go", -1, 1), ("heat", 0, 1))
    assert world.marks[0] == ("clean", "hot")
    play(world, ("go", -1, 2), ("cool", 0, 2))
    assert world.marks[0] == ("clean", "cool")
    play(world, ("go", -1, 1), ("heat", 0, 1))
    assert world.marks[0] == ("clean", "hot")


@pytest.mark.parametrize(("verb", "place"), [("clean", 0), ("heat", 1), ("cool", 2)])
def test_an_appliance_treats_only_what_is_in_hand_and_can_be_treated(
    home: Homes, play: Play, verb: str, place: int
) -> None:
    kinds = ["sinkbasin", "microwave", "fridge", "shelf"]
    world = World(home(Task("place", "mug", "shelf"), kinds, [("mug", 3), ("statue", 3)]))
    assert verb not in THINGS["statue"].verbs
    play(world, ("go", -1, 3), ("take", 1, 3), ("go", -1, place))
    assert not any(command.verb == verb for command in world.legal())
    play(world, ("go", -1, 3), ("move", 1, 3), ("take", 0, 3))
    assert not any(command.verb == verb for command in world.legal())
    play(world, ("go", -1, place), (verb, 0, place))


def test_treating_before_or_after_does_not_matter_but_the_mark_does(home: Homes, play: Play) -> None:
    world = World(home(Task("heat", "mug", "shelf"), ["shelf", "microwave"], [("mug", 1)]))
    play(world, ("go", -1, 1), ("open", -1, 1), ("take", 0, 1), ("go", -1, 0), ("move", 0, 0))
    assert not world.solved()
    play(world, ("take", 0, 0), ("go", -1, 1), ("heat", 0, 1), ("go", -1, 0), ("move", 0, 0))
    assert world.solved()


def test_a_thing_is_looked_at_in_hand_where_a_lamp_is_on(home: Homes, play: Play) -> None:
    world = World(home(Task("light", "book", LAMP), ["desk", "shelf"], [(LAMP, 0), ("book", 1), ("pen", 0)]))
    play(world, ("go", -1, 0))
    assert Command("take", 0, 0) not in world.legal()
    play(world, ("use", 0, -1), ("go", -1, 1), ("take", 1, 1))
    assert not world.solved()
    play(world, ("go", -1, 0))
    assert world.solved()
    play(world, ("use", 0, -1))
    assert not world.solved()
    play(world, ("move", 1, 0), ("take", 2, 0), ("use", 0, -1))
    assert not world.solved()


def test_two_things_must_lie_together(home: Homes, play: Play) -> None:
    kinds = ["shelf", "shelf", "countertop"]
    world = World(home(Task("two", "mug", "shelf"), kinds, [("mug", 2), ("mug", 2)]))
    play(world, ("go", -1, 2), ("take", 0, 2), ("go", -1, 0), ("move", 0, 0))
    play(world, ("go", -1, 2), ("take", 1, 2), ("go", -1, 1), ("move", 1, 1))
    assert not world.solved()
    play(world, ("take", 1, 1), ("go", -1, 0), ("move", 1, 0))
    assert world.solved()
