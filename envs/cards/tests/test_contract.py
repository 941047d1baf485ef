"""What every environment owes the framework, asked of every game."""

from __future__ import annotations

import ast
import hashlib
import json
import pickle
import random
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st
from vlmq_env_cards import SPECS
from vlmq_env_cards.blackjack import Blackjack
from vlmq_env_cards.ezpoints import EZPoints
from vlmq_env_cards.game import Game
from vlmq_env_cards.numberline import NumberLine
from vlmq_env_cards.points24 import Points24

from vlmq.api import PluginError, SupportsExpert

STRANGE = (
    *("", " ", "\n", " +", "+ ", "++", "+-", "-1", "plus", "12", "11", "0", "01", "1.0", "1 0", "**", "//"),
    *("hit hit", '{"action": "+"}', '{"action":', "＋", "１", "²", "٣", "\ud800", "\x00", "+" * 10_000),
)


def fingerprint(game: type[Game], seed: int, modality: str = "both") -> str:
    """A digest of everything one episode shows, under a fixed row of actions."""
    env = game(modality=modality)
    observation, info = env.reset(seed=seed)
    digest = hashlib.sha256()
    rewards: list[float] = []
    over = False
    for action in ("+", "4", "3", "*", "-", "8", "nonsense", "+", "-", "+"):
        digest.update(observation["text"].encode())
        digest.update(observation["image"].tobytes())
        digest.update(repr((info["state_key"], rewards)).encode())
        if over:
            break
        observation, reward, terminated, truncated, info = env.step(action)
        rewards.append(reward)
        over = terminated or truncated
    return digest.hexdigest()


def test_the_entry_point_names_the_specs_and_every_id_makes() -> None:
    (entry,) = [e for e in entry_points(group="vlmq.envs") if e.name == "cards"]
    assert entry.load() == SPECS
    assert [spec.id for spec in SPECS] == [
        f"cards/{name}-v0" for name in ("NumberLine", "EZPoints", "Points24", "Blackjack")
    ]
    for spec in pickle.loads(pickle.dumps(SPECS)):
        with gymnasium.make(spec, size=48) as env:
            observation, _ = env.reset(seed=0)
            assert observation in env.observation_space
            assert isinstance(env.unwrapped, SupportsExpert)


def test_importing_the_specs_loads_neither_games_nor_pillow(fresh_python: Callable[[str], str]) -> None:
    loaded = fresh_python("import sys, vlmq_env_cards; print(*sys.modules)").split()
    assert "vlmq_env_cards" in loaded
    assert not {"PIL", "torch", "vlmq_env_cards.game", "vlmq_env_cards.drawing"} & set(loaded)


@pytest.mark.parametrize("modality", ["image", "both", "text"])
def test_every_observation_lies_in_its_space(game: type[Game], modality: str) -> None:
    env = game(modality=modality)
    env.action_space.seed(0)
    for seed in range(20):
        observation, info = env.reset(seed=seed)
        over = False
        while not over:
            assert observation in env.observation_space
            assert set(observation) == ({"text"} if modality == "text" else {"text", "image"})
            assert isinstance(info["action_ok"], bool)
            assert info["legal_actions"] == env.legal_actions
            hash(info["state_key"])
            assert "success" not in info
            observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
            low, high = env.metadata["vlmq"]["reward_range"]
            assert isinstance(reward, float)
            assert low <= reward <= high
            over = terminated or truncated
        assert info["success"] is False


@pytest.mark.parametrize("text", STRANGE, ids=[ascii(text)[:24] for text in STRANGE])
def test_illegal_text_changes_nothing_but_the_turn_counter(game: type[Game], text: str) -> None:
    env = game(modality="both")
    first, before = env.reset(seed=3)
    for turn in range(1, env.turn_limit + 1):
        observation, reward, terminated, truncated, info = env.step(text)
        assert info["action_ok"] is False
        assert info["error"].startswith("not an action")
        assert info["state_key"] == before["state_key"]
        assert observation["text"] == first["text"]
        np.testing.assert_array_equal(observation["image"], first["image"])
        assert (reward, terminated, truncated) == (-1.0, False, turn == env.turn_limit)
    assert info["success"] is False


def test_text_is_accepted_exactly_when_it_is_listed(game: type[Game]) -> None:
    env = game(modality="text")

    @settings(max_examples=50, deadline=None)
    @given(text=st.text(max_size=3) | st.text("0123456789+-*= ", max_size=3), seed=st.integers(0, 50))
    def holds(text: str, seed: int) -> None:
        _, info = env.reset(seed=seed)
        assert env.step(text)[4]["action_ok"] == (text in info["legal_actions"])

    holds()


def test_every_listed_action_is_accepted(game: type[Game]) -> None:
    env = game()
    for seed in range(5):
        for action in env.legal_actions:
            env.reset(seed=seed)
            assert env.step(action)[4]["action_ok"] is True


def test_the_expert_always_succeeds_with_listed_actions(game: type[Game]) -> None:
    env = game(modality="text")
    env.reset(seed=0)
    for _ in range(300):
        env.reset()
        episode_return, over = 0.0, False
        while not over:
            action = env.expert_action()
            assert action in env.legal_actions
            _, reward, terminated, truncated, info = env.step(action)
            episode_return += reward
            over = terminated or truncated
        assert terminated
        if game is Blackjack:  # a game of chance
            continue
        assert info["success"] is True
        assert episode_return == env.metadata["vlmq"]["reward_range"][1]


def test_the_same_seed_is_the_same_episode_in_a_fresh_process(fresh_python: Callable[[str], str]) -> None:
    here = [fingerprint(game, seed) for game in (NumberLine, EZPoints) for seed in range(3)]
    assert here == [fingerprint(game, seed) for game in (NumberLine, EZPoints) for seed in range(3)]
    program = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("again", {__file__!r})
again = importlib.util.module_from_spec(spec)
spec.loader.exec_module(again)
print([again.fingerprint(game, seed) for game in (again.NumberLine, again.EZPoints) for seed in range(3)])
"""
    assert ast.literal_eval(fresh_python(program)) == here
    assert len(set(here)) == 6


def test_play_leaves_the_global_generators_alone(game: type[Game]) -> None:
    random.seed(1)
    np.random.seed(1)
    before = (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]
    fingerprint(game, 5)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]


def test_a_seed_deals_the_same_games_in_every_modality_and_look(game: type[Game]) -> None:
    def deals(**settings: Any) -> list[Any]:
        env = game(**settings)
        keys = [env.reset(seed=11)[1]["state_key"]]
        return keys + [env.reset()[1]["state_key"] for _ in range(20)]

    plain = deals(modality="text")
    assert plain == deals() == deals(modality="both", size=96) == deals(variation=False)
    assert len(set(plain)) > 5


def test_in_image_modality_the_text_never_changes(game: type[Game]) -> None:
    env = game()
    for seed in range(20):
        texts, over = {env.reset(seed=seed)[0]["text"]}, False
        while not over:
            observation, _, terminated, truncated, _ = env.step(env.expert_action())
            texts.add(observation["text"])
            over = terminated or truncated
        assert texts == {env.task}


def test_with_the_picture_in_words_the_text_follows_the_state(game: type[Game]) -> None:
    env = game(modality="both")
    for seed in range(20):
        before = env.reset(seed=seed)[0]["text"]
        after = env.step(env.expert_action())[0]["text"]
        assert before.startswith(env.task)
        assert after.startswith(env.task)
        assert before != after


def test_infos_pickle_and_the_metadata_is_plain_data(game: type[Game]) -> None:
    _, info = game().reset(seed=0)
    assert pickle.loads(pickle.dumps(info)) == info
    assert json.dumps(game.metadata)


def test_a_finished_episode_asks_for_a_reset(game: type[Game]) -> None:
    env = game(modality="text")
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step("+")
    env.reset(seed=0)
    for _ in range(env.turn_limit):
        env.step("nonsense")
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step("+")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modality": "video"}, "choose one of image, both, text"),
        ({"size": 8}, "from 32 to 1024"),
        ({"size": 64.0}, "from 32 to 1024"),
        ({"size": True}, "from 32 to 1024"),
        ({"variation": "no"}, "variation='no' will not do; give true or false"),
    ],
)
def test_a_wrong_setting_is_named_with_its_mend(
    game: type[Game], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        game(**settings)


def test_whether_deals_are_solvable_is_true_or_false() -> None:
    with pytest.raises(PluginError, match="solvable_only=0 will not do; give true or false"):
        Points24(solvable_only=0)


def test_vector_environments_batch_the_games(game: type[Game]) -> None:
    envs = gymnasium.vector.SyncVectorEnv([game] * 3)
    observations, infos = envs.reset(seed=[7, 8, 9])
    singles = [game().reset(seed=seed)[0] for seed in (7, 8, 9)]
    np.testing.assert_array_equal(observations["image"], [single["image"] for single in singles])
    assert list(observations["text"]) == [single["text"] for single in singles]
    observations, rewards, _, _, infos = envs.step((game.legal_actions[0], "nonsense", game.legal_actions[0]))
    assert infos["action_ok"].tolist() == [True, False, True]
    assert rewards[1] == -1
    envs.close()
