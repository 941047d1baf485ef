"""The games: made alike everywhere, kept whole, split by their worlds, and solved by the engine's expert."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from vlmq_env_textworld import cache, making
from vlmq_env_textworld.env import TextWorld
from vlmq_env_textworld.levels import LEVELS, SPLITS

from vlmq.api import PluginError

EVERY_LEVEL = [(name, level) for name, levels in LEVELS.items() for level in range(1, len(levels) + 1)]

DIGEST = """
import hashlib, json, sys
from vlmq_env_textworld.env import TextWorld
seen = []
for challenge in ("CoinCollector", "House"):
    env = TextWorld(challenge, modality="text", games=2)
    text = env.reset(seed=1)[0]["text"]
    while True:
        action = env.expert_action()
        observation, _, over, cut, info = env.step(action)
        text += action + observation["text"] + repr((info["legal_actions"], info["state_key"]))
        if over or cut:
            break
    seen.append(hashlib.sha256(text.encode()).hexdigest())
print(json.dumps(seen))
"""


def solve(env: TextWorld, seed: int) -> tuple[bool, int]:
    env.reset(seed=seed)
    for turn in range(1, env.max_turns + 1):
        action = env.expert_action()
        assert action is not None
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            return info["success"], turn
    raise AssertionError("no end within the turn limit")


@pytest.mark.parametrize(("challenge", "level"), [case for case in EVERY_LEVEL if case[1] <= 2])
def test_the_expert_solves_a_game_of_the_small_levels(challenge: str, level: int) -> None:
    env = TextWorld(challenge, level=level, split=SPLITS[level % 2], games=1, modality="text")
    success, turns = solve(env, 0)
    assert success
    assert 2 <= turns <= env.max_turns // 2


@pytest.mark.slow
@pytest.mark.parametrize(("challenge", "level"), EVERY_LEVEL)
def test_the_expert_solves_99_percent_even_after_others_have_played(challenge: str, level: int) -> None:
    games = 5 if (challenge, level) == ("TreasureHunter", 4) else 25
    env = TextWorld(challenge, level=level, games=games, modality="text", max_turns=1000)
    solved = lost = 0
    for seed in range(games):
        rng = np.random.default_rng(seed)
        _, info = env.reset(seed=seed)
        over = False
        for _ in range(8):  # somebody wanders about; that may win or lose the game
            legal = info["legal_actions"]
            _, _, terminated, truncated, info = env.step(legal[int(rng.integers(len(legal)))])
            over = terminated or truncated
            if over:
                break
        if over:
            lost += 1
            continue
        while not over:
            action = env.expert_action()
            if action is None:  # the engine sees no way any more: what it needs was eaten, for instance
                lost += 1
                break
            _, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        else:
            solved += bool(info["success"])
    assert solved >= 0.99 * (games - lost)


def test_other_processes_make_and_play_the_same_games(
    fresh_python: Callable[..., str], tmp_path: Path
) -> None:
    told = [
        fresh_python(DIGEST, PYTHONHASHSEED=seed, VLMQ_TEXTWORLD_CACHE=str(tmp_path / seed))
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(set(json.loads(told[0]))) == 2


def test_no_world_is_in_both_splits() -> None:
    level = LEVELS["CoinCollector"][0]
    worlds: dict[str, set[tuple[str, ...]]] = {}
    for split in SPLITS:
        games = [making.deal("CoinCollector", level.settings, split, number, 10) for number in range(10)]
        worlds[split] = {tuple(sorted(map(str, game.world.facts))) for game in games}
        assert {making.split_of(game) for game in games} == {split}
    assert min(map(len, worlds.values())) > 5
    assert not worlds["train"] & worlds["held_out"]


def test_what_is_cooked_in_the_held_out_split_is_not_prepared_so_in_training() -> None:
    level = LEVELS["Cooking"][0]
    recipes = {
        split: {
            tuple(
                map(tuple, making.deal("Cooking", level.settings, split, number, 40).metadata["ingredients"])
            )
            for number in range(2)
        }
        for split in SPLITS
    }
    assert not recipes["train"] & recipes["held_out"]


def test_there_are_as_many_games_as_asked_for_and_the_seed_picks_one() -> None:
    env = TextWorld(games=3, modality="text", max_turns=1)
    first = [env.reset(seed=seed)[0]["text"] for seed in range(6)]
    assert first[:3] == first[3:]
    assert len(set(first)) == 3
    drawn = {env.reset(seed=0 if turn == 0 else None)[0]["text"] for turn in range(30)}
    assert drawn == set(first)


def test_a_game_is_made_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TextWorld(games=1).reset(seed=0)
    monkeypatch.setattr(making, "deal", lambda *_: pytest.fail("made again"))
    TextWorld(games=1).reset(seed=0)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: b"", lambda data: data.replace(b"0", b"1", 1)]
)
def test_a_damaged_file_is_made_anew(
    damage: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path))
    text = TextWorld(games=1).reset(seed=0)[0]["text"]
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    assert TextWorld(games=1).reset(seed=0)[0]["text"] == text
    assert cache._read(path) is not None


def test_processes_that_write_the_same_file_leave_it_whole(tmp_path: Path) -> None:
    program = """
import os, sys
from vlmq_env_textworld.cache import _read, cached, folder
for turn in range(200):
    name = f"game-{turn}"
    data = cached(name, lambda: name.encode() * 20_000)
    assert data == name.encode() * 20_000, name
    assert _read(folder() / name) == data, name
"""
    env = {**os.environ, "VLMQ_TEXTWORLD_CACHE": str(tmp_path)}
    running = [subprocess.Popen([sys.executable, "-c", program], env=env) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(list(tmp_path.iterdir())) == 200  # nothing partial is left


def test_a_cache_that_cannot_be_written_is_named_with_its_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(blocked))
    with pytest.raises(PluginError, match="VLMQ_TEXTWORLD_CACHE=..."):
        TextWorld(games=1).reset(seed=0)


def test_the_cache_is_below_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.folder() == Path("/somewhere/vlmq/textworld")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == Path.home() / ".cache/vlmq/textworld"
