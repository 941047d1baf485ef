"""ALFWorld's games are played where they are, and their absence is said. The games here are made by the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from vlmq_env_textworld import machine
from vlmq_env_textworld.env import ALFWorld

from vlmq.api import PluginError


@pytest.mark.parametrize("split", ["train", "valid_seen", "valid_unseen"])
def test_the_planner_solves_every_game(alfworld: Path, split: str) -> None:
    env = ALFWorld(split=split, data=str(alfworld), modality="text")
    assert env.games == {"train": 3, "valid_seen": 1, "valid_unseen": 1}[split]
    for seed in range(env.games):
        text = env.reset(seed=seed)[0]["text"]
        assert text.startswith(
            "Task: put a mug in desk\nActions: go to T, move T to T, open T, take T from T\n"
        )
        rewards, over = [], False
        while not over:
            action = env.expert_action()
            assert action is not None
            _, reward, over, _, info = env.step(action)
            rewards.append(reward)
        assert (rewards[-1], info["success"], len(rewards) <= 5) == (1.0, True, True)
    env.close()


def test_the_variable_names_the_folder(alfworld: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(alfworld))
    assert ALFWorld(games=2).games == 2


def test_things_have_alfworlds_names_and_show_once_they_are_seen(alfworld: Path) -> None:
    env = ALFWorld(data=str(alfworld), modality="both")
    observation, info = env.reset(
        seed=0
    )  # the mug is in the first drawer by its coordinates, the second by name
    assert info["legal_actions"] == ("go to desk 1", "go to drawer 1", "go to drawer 2", "go to shelf 1")
    assert "mug" not in observation["text"].split("At: nowhere")[1]
    assert "At: drawer 2 (closed)" in env.step("go to drawer 2")[0]["text"]
    shut = env._frame.copy()
    after = env.step("open drawer 2")[0]
    assert "At: drawer 2 (open: mug 1)" in after["text"]
    assert (after["image"] != shut).any()
    text = env.step("take mug 1 from drawer 2")[0]["text"]
    assert "Hold: mug 1" in text
    assert "You pick up the mug 1 from the drawer 2." in text
    env.close()


def test_a_text_that_is_no_command_does_not_reach_the_engine(alfworld: Path) -> None:
    env = ALFWorld(data=str(alfworld), modality="text")
    _, info = env.reset(seed=0)
    for text in ("go to drawer", "GO TO DESK 1", "go to desk 1 ", "open drawer 2", "", "inventory", None):
        _, reward, _, _, after = env.step(text)  # type: ignore[arg-type]
        assert (after["action_ok"], reward, after["state_key"]) == (False, -0.1, info["state_key"])
    env.close()


def test_closing_leaves_a_process_that_ends_well(alfworld: Path) -> None:
    program = """
import sys
from vlmq_env_textworld.env import ALFWorld
arguments = list(sys.argv)
for _ in range(3):
    env = ALFWorld(data=sys.argv[1])
    env.reset(seed=0)
    env.expert_action()
    env.close()
    env.close()
assert sys.argv == arguments
print(open("/proc/self/maps").read().count("libdownward") > 0 if sys.platform == "linux" else True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(alfworld)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


@pytest.mark.parametrize("named", [None, "", "/nowhere/at/all"])
def test_without_the_data_it_is_said_how_to_get_them(
    named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    if named is not None:
        monkeypatch.setenv("ALFWORLD_DATA", named)
    with pytest.raises(PluginError, match="alfworld-download.*ALFWORLD_DATA"):
        ALFWorld()


def test_a_folder_without_games_and_a_missing_planner_are_said(
    alfworld: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PluginError, match="holds no game"):
        ALFWorld(data=str(tmp_path))
    with pytest.raises(PluginError, match="choose one of train, valid_seen, valid_unseen"):
        ALFWorld(split="held_out", data=str(alfworld))
    with pytest.raises(PluginError, match="from 1 to 3"):
        ALFWorld(data=str(alfworld), games=4)
    found = machine.find_spec
    monkeypatch.setattr(machine, "find_spec", lambda name: None if name == "fast_downward" else found(name))
    with pytest.raises(PluginError, match="pip install fast-downward-textworld"):
        ALFWorld(data=str(alfworld))
