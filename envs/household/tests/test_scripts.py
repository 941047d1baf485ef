"""The scripts beside the package run, and what they say is what the README rests on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parents[1]


def run(script: str, *arguments: str) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments], capture_output=True, text=True, check=True
    )
    return [line.split() for line in done.stdout.splitlines()[2:]]


def test_the_experts_always_succeed_and_random_play_seldom() -> None:
    lines = run("floors.py", "--episodes", "60", "--levels", "0")
    assert [line[:3] for line in lines] == [
        [task, "0", policy]
        for task in ("place", "light", "clean", "heat", "cool", "two")
        for policy in ("random", "searching", "shortest")
    ]
    success = [float(line[3]) for line in lines]
    assert {*success[1::3], *success[2::3]} == {100.0}
    assert 5 < success[0] < 45
    assert 15 < success[3] < 65
    assert max(success[6::3]) < 20


def test_the_speed_of_every_level_and_modality_is_printed() -> None:
    lines = run("speed.py", "--turns", "60")
    assert [line[0] for line in lines] == ["0", "1", "2", "3", "4"]
    assert all(float(rate) > 0 for line in lines for rate in line[1:])


def test_the_committed_pictures_are_what_the_script_draws(tmp_path: Path) -> None:
    run("pictures.py", str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in HERE.glob("*.png")
    )
    for path in sorted(tmp_path.glob("level*.png")):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(HERE / path.name)))
