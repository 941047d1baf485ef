"""Two experts, for every state, so that they also go on from what others began or spoilt.

The shortest way is the shortest of some plans made from the full state, hidden things included: a proof that a task can
be solved, but nobody to imitate, for it goes straight to things that nobody has seen yet, and who copies it learns to
reach for what is not there. The searching one plans with what is in view alone, and looks about until that is
enough; what it does is told by what it sees.

A plan brings given things to a given place in a given order, and puts what is in the way on a given spot. The
expert makes the plans of all sensible choices, plays each in a copy of the world and takes the shortest.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

from vlmq_env_household.catalogue import LAMP, LIT, ROOMY, TREATMENTS
from vlmq_env_household.rules import NOWHERE, Command, World


def next_command(world: World) -> Command:
    """The first command of the shortest plan. The task must not be solved yet."""
    return shortest_plan(world)[0]


def shortest_plan(world: World) -> list[Command]:
    """Commands that solve the task from here."""
    return min(_plans(world, set(range(len(world.home.things)))), key=len)


def searching_command(world: World, turns_left: int) -> Command:
    """A command towards what is in view, or else to look where nobody has looked. The task must not be solved yet.

    Where the search would leave fewer turns than the shortest way takes, that way is gone, so that it always arrives.

    Args:
        world: the state.
        turns_left: until the episode is truncated, this one included.
    """
    in_view = {thing for sight in world.sights for thing, _ in sight.content} | {world.hand}
    plans = list(_plans(world, in_view))
    command = min(plans, key=len)[0] if plans else _look_about(world)
    after = world.copy()
    after.apply(command)
    late = not after.solved() and len(shortest_plan(after)) >= turns_left
    return next_command(world) if late else command


def _look_about(world: World) -> Command:
    """Open what is here, or else go to the first place that is not in view."""
    if world.at != NOWHERE and world.is_closed(world.at):
        return Command("open", place=world.at)
    return Command("go", place=next(place for place, sight in enumerate(world.sights) if sight.cover))


def _plans(world: World, known: set[int]) -> Iterator[list[Command]]:
    """Ways to solve the task with the known things, or where two are wanted, to bring the one that is known."""
    light = world.home.task.kind == "light"
    for plan in _light_plans(world, known) if light else _place_plans(world, known):
        yield plan.commands


class _Plan:
    """Commands, and the world as they leave it."""

    def __init__(self, world: World, spot: int) -> None:
        self.world = world.copy()
        self.commands: list[Command] = []
        self._spot = spot

    def do(self, verb: str, thing: int = NOWHERE, place: int = NOWHERE) -> None:
        command = Command(verb, thing, place)
        self.world.apply(command)
        self.commands.append(command)

    def go(self, place: int) -> None:
        if self.world.at != place:
            self.do("go", place=place)

    def put(self, place: int) -> None:
        self._reach(place)
        self.do("move", self.world.hand, place)

    def fetch(self, thing: int) -> None:
        """Take the thing, and put what else is in hand on the spot before."""
        if self.world.hand == thing:
            return
        if self.world.hand != NOWHERE:
            self.put(self._spot)
        place = self.world.places[thing]
        self._reach(place)
        self.do("take", thing, place)

    def treat(self, thing: int) -> None:
        """Give the thing in hand the mark that the task asks for."""
        world = self.world
        if world.serves(thing):
            return
        verb = world.home.task.kind
        able = [
            place
            for place, receptacle in enumerate(world.home.receptacles)
            if receptacle.kind == TREATMENTS[verb].appliance
        ]
        place = world.at if world.at in able else able[0]
        self.go(place)
        self.do(verb, thing, place)

    def make_way(self, place: int, coming: tuple[int, ...]) -> None:
        """Clear the place until all that is to come fits in."""
        contents = self.world.contents
        arrivals = sum(self.world.places[thing] != place for thing in coming)
        while arrivals > ROOMY - len(contents[place]):
            things = self.world.home.things
            self.fetch(next(t for t in contents[place] if t not in coming and things[t].kind != LAMP))
            self.put(self._spot)

    def _reach(self, place: int) -> None:
        self.go(place)
        if self.world.is_closed(place):
            self.do("open", place=place)


def _place_plans(world: World, known: set[int]) -> Iterator[_Plan]:
    task = world.home.task
    wanted = [thing for thing in _wanted(world) if thing in known]
    ends = {
        end: [t for t in wanted if t in world.contents[end] and world.serves(t)]
        for end in _ends(world, wanted)
    }
    if wanted in ends.values():
        return  # as far as is known, all is where it belongs
    for end, done in ends.items():
        rest = [thing for thing in wanted if thing not in done]
        for coming in permutations(rest, min(len(rest), task.amount - len(done))):
            for spot in _spots(world, end, coming):
                plan = _Plan(world, spot)
                plan.make_way(end, coming)
                for thing in coming:
                    plan.fetch(thing)
                    plan.treat(thing)
                    plan.put(end)
                yield plan


def _light_plans(world: World, known: set[int]) -> Iterator[_Plan]:
    for lamp in (index for index in known if world.home.things[index].kind == LAMP):
        for thing in (wanted for wanted in _wanted(world) if wanted in known):
            for spot in _spots(world, NOWHERE, (thing,)):
                plan = _Plan(world, spot)
                plan.fetch(thing)
                plan.go(world.places[lamp])
                if LIT not in world.marks[lamp]:
                    plan.do("use", lamp)
                yield plan


def _wanted(world: World) -> list[int]:
    return [index for index, thing in enumerate(world.home.things) if thing.kind == world.home.task.thing]


def _ends(world: World, wanted: list[int]) -> list[int]:
    """The places where the task may end, one of those that are alike."""
    unlike: dict[object, int] = {}
    for place, receptacle in enumerate(world.home.receptacles):
        if receptacle.kind == world.home.task.place:
            inside = [thing for thing in world.contents[place] if thing in wanted]
            full = len(world.contents[place]) - len(inside)
            unlike.setdefault((place == world.at, world.is_closed(place), full, tuple(inside)), place)
    return list(unlike.values())


def _spots(world: World, end: int, coming: tuple[int, ...]) -> list[int]:
    """Where to put what is in the way: here, where things are fetched, or in the open; at the end if all fits in."""
    arrivals = sum(world.places[thing] != end for thing in coming)
    left = ROOMY if end == NOWHERE else ROOMY - len(world.contents[end]) - arrivals
    free = [
        place for place in range(len(world.opened)) if world.has_room(place) and (place != end or left > 0)
    ]
    somewhere = min(free, key=world.is_closed)
    if world.hand == NOWHERE and left >= 0:
        return [somewhere]  # nothing is in the way
    near = [world.at, *(world.places[thing] for thing in coming)]
    return list(dict.fromkeys([place for place in near if place in free] + [somewhere]))
