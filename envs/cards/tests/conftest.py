"""Fixtures: each game by its class, and a run of Python in a fresh process elsewhere on the disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from vlmq_env_cards.blackjack import Blackjack
from vlmq_env_cards.ezpoints import EZPoints
from vlmq_env_cards.game import Game
from vlmq_env_cards.numberline import NumberLine
from vlmq_env_cards.points24 import Points24

GAMES = (NumberLine, EZPoints, Points24, Blackjack)


@pytest.fixture(params=GAMES, ids=[game.__name__ for game in GAMES])
def game(request: pytest.FixtureRequest) -> type[Game]:
    chosen: type[Game] = request.param
    return chosen


@pytest.fixture
def fresh_python(tmp_path: Path) -> Callable[[str], str]:
    """Runs a program in a new interpreter whose working directory is empty; returns what it printed."""

    def run(program: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
