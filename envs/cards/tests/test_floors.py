"""The script that reproduces floors and ceilings runs and tells random play from the expert."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "floors.py"


def test_the_script_prints_a_line_for_each_game_and_policy() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--episodes", "200"], capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in done.stdout.splitlines()[2:]]
    assert [line[:2] for line in lines] == [
        ["cards/NumberLine-v0", "random"],
        ["cards/NumberLine-v0", "expert"],
        ["cards/EZPoints-v0", "random"],
        ["cards/EZPoints-v0", "expert"],
        ["cards/Points24-v0", "random"],
        ["cards/Points24-v0", "expert"],
        ["cards/Blackjack-v0", "random"],
        ["cards/Blackjack-v0", "expert"],
    ]
    success = [float(line[2]) for line in lines]
    assert success[1] == success[3] == success[5] == 100.0
    assert 45 < success[0] < 75
    assert success[2] < 5
    assert success[4] < 2
    assert 15 < success[6] < 42
    assert 29 < success[7] < 57


def test_no_episodes_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--episodes", "0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "play at least one episode" in done.stderr
