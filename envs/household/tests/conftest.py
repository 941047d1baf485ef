"""Fixtures: homes made by hand, and a run of Python in a fresh process elsewhere on the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from vlmq_env_household.home import Home, Receptacle, Room, Task, Thing
from vlmq_env_household.rules import Command, World


def _home(task: Task, receptacles: Sequence[str], things: Sequence[tuple[str, int]], side: int = 5) -> Home:
    """A home of one kitchen; kinds are numbered in the order in which they come."""

    def names(kinds: Sequence[str]) -> list[str]:
        return [f"{kind} {kinds[: index + 1].count(kind)}" for index, kind in enumerate(kinds)]

    cells = [(index % side, index // side) for index in range(side * side - 1)]
    kinds = [kind for kind, _ in things]
    return Home(
        side,
        (Room("kitchen", (0, 0, side, side)),),
        tuple(
            Receptacle(kind, name, 0, cell)
            for kind, name, cell in zip(receptacles, names(list(receptacles)), cells, strict=False)
        ),
        tuple(Thing(kind, name, place) for (kind, place), name in zip(things, names(kinds), strict=True)),
        task,
    )


@pytest.fixture
def home() -> Callable[..., Home]:
    return _home


def _play(world: World, *commands: tuple[str, int, int]) -> World:
    """Obey commands, each of which must be legal."""
    for words in commands:
        command = Command(*words)
        assert command in world.legal(), f"{command} is not legal in {world.key}"
        world.apply(command)
    return world


@pytest.fixture
def play() -> Callable[..., World]:
    return _play


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
