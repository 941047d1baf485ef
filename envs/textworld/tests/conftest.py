"""Fixtures: a cache that the session shares, a folder in ALFWorld's layout, Python in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from vlmq_env_textworld.machine import missing

DOMAIN = """
(define (domain home)
 (:requirements :adl :typing)
 (:types agent location receptacle object)
 (:predicates
    (atLocation ?a - agent ?l - location) (receptacleAtLocation ?r - receptacle ?l - location)
    (openable ?r - receptacle) (opened ?r - receptacle) (inReceptacle ?o - object ?r - receptacle)
    (holds ?a - agent ?o - object) (holdsAny ?a - agent) (isHot ?o - object) (checked ?a - agent))
 (:action look :parameters (?a - agent ?l - location)
    :precondition (atLocation ?a ?l) :effect (checked ?a))
 (:action GotoLocation :parameters (?a - agent ?from - location ?to - location ?r - receptacle)
    :precondition (and (atLocation ?a ?from) (receptacleAtLocation ?r ?to) (not (= ?from ?to)))
    :effect (and (not (atLocation ?a ?from)) (atLocation ?a ?to)))
 (:action OpenObject :parameters (?a - agent ?l - location ?r - receptacle)
    :precondition (and (openable ?r) (not (opened ?r)) (atLocation ?a ?l) (receptacleAtLocation ?r ?l))
    :effect (opened ?r))
 (:action PickupObject :parameters (?a - agent ?l - location ?o - object ?r - receptacle)
    :precondition (and (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (inReceptacle ?o ?r) (not (holdsAny ?a))
                       (or (not (openable ?r)) (opened ?r)))
    :effect (and (not (inReceptacle ?o ?r)) (holds ?a ?o) (holdsAny ?a)))
 (:action PutObject :parameters (?a - agent ?l - location ?o - object ?r - receptacle)
    :precondition (and (holds ?a ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l)
                       (or (not (openable ?r)) (opened ?r)))
    :effect (and (inReceptacle ?o ?r) (not (holds ?a ?o)) (not (holdsAny ?a)))))
"""

GRAMMAR = '''
grammar :: """
    {
        "intro": [{"rhs": "A home.\\n\\nYour task is to: put a mug in desk."}],
        "look.feedback": [{"rhs": "You look around."}],
        "go.feedback": [{"rhs": "You arrive at {r.name}."}],
        "open.feedback": [{"rhs": "You open the {r.name}."}],
        "take.feedback": [{"rhs": "You pick up the {o.name} from the {r.name}."}],
        "put.feedback": [{"rhs": "You move the {o.name} to the {r.name}."}]
    }
""";
action look { template :: "look"; feedback :: "#look.feedback#"; }
action GotoLocation { template :: "go to {r}"; feedback :: "#go.feedback#"; }
action OpenObject { template :: "open {r}"; feedback :: "#open.feedback#"; }
action PickupObject { template :: "take {o} from {r}"; feedback :: "#take.feedback#"; }
action PutObject { template :: "move {o} to {r}"; feedback :: "#put.feedback#"; }
'''

PLACES = ("desk_bar__plus_01", "drawer_bar__plus_01", "drawer_bar__plus_02", "shelf_bar__minus_01")


def problem(place: str) -> str:
    """A mug lies in this piece of furniture, a pen on the desk; the mug must be on the desk."""
    spots = [f"loc_bar_{index}" for index in range(len(PLACES))]
    facts = [f"(receptacleAtLocation {name} {spot})" for name, spot in zip(PLACES, spots, strict=True)]
    facts += [f"(openable {name})" for name in PLACES if name.startswith("drawer")]
    return f"""
(define (problem one)
 (:domain home)
 (:objects agent1 - agent {" ".join(spots)} loc_bar_middle - location {" ".join(PLACES)} - receptacle
    mug_bar__plus_03 pen_bar__plus_04 - object)
 (:init {" ".join(facts)} (atLocation agent1 loc_bar_middle)
    (inReceptacle mug_bar__plus_03 {place}) (inReceptacle pen_bar__plus_04 {PLACES[0]}))
 (:goal (inReceptacle mug_bar__plus_03 {PLACES[0]})))
"""


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the tests' own; without TextWorld, tests fail under CI=true and skip elsewhere."""
    reason = missing()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have it: {reason}")
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("VLMQ_TEXTWORLD_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def alfworld(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of ALFWorld's data, with small games of our own."""
    if find_spec("fast_downward") is None:
        pytest.skip("no planner; provide it with `pip install fast-downward-textworld==20.6.4`")
    folder = tmp_path_factory.mktemp("alfworld")
    for split, places in {"train": PLACES[1:], "valid_seen": PLACES[2:3], "valid_unseen": PLACES[3:]}.items():
        for place in places:
            trial = folder / "json_2.1.1" / split / "pick_and_place_simple-Mug-None-Desk-1" / f"trial_{place}"
            trial.mkdir(parents=True)
            game = {
                "pddl_domain": DOMAIN,
                "grammar": GRAMMAR,
                "pddl_problem": problem(place),
                "solvable": True,
            }
            (trial / "game.tw-pddl").write_text(json.dumps(game), encoding="utf-8")
            (trial / "initial_state.pddl").write_text(problem(place), encoding="utf-8")
    return folder


@pytest.fixture
def fresh_python(tmp_path: Path) -> Callable[..., str]:
    """Runs a program in a new interpreter whose working directory is empty; returns what it printed."""

    def run(program: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
