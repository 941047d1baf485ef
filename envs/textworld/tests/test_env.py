"""The environment keeps the contract: rewards, limits, settings, and above all text that is no command."""

from __future__ import annotations

import json
import pickle
import random
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st
from vlmq_env_textworld import REQUIRES_API, SPECS, machine, unavailable
from vlmq_env_textworld.env import MODALITIES, TextWorld

from vlmq.api import PluginError


def test_the_specs_are_light_and_named(fresh_python: Callable[..., str]) -> None:
    assert REQUIRES_API == ">=1.2,<2"
    assert [spec.id for spec in SPECS] == [
        f"textworld/{name}-v0"
        for name in ("House", "CoinCollector", "TreasureHunter", "Cooking", "Simple", "ALFWorld")
    ]
    loaded = fresh_python(
        "import sys, vlmq_env_textworld as p; p.unavailable();"
        "print([m for m in sys.modules if m.split('.')[0] in ('textworld', 'jericho', 'spacy', 'numpy.random')])"
    )
    assert json.loads(loaded.replace("'", '"')) in ([], ["numpy.random"])  # gymnasium may bring numpy along


def test_what_is_missing_is_said_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unavailable() is None
    monkeypatch.setattr(machine, "find_spec", lambda name: None if name == "textworld" else find_spec(name))
    assert "pip install textworld==1.7.0" in str(unavailable())
    with pytest.raises(PluginError, match="TextWorld is not installed"):
        TextWorld()
    monkeypatch.setattr(machine, "find_spec", lambda name: None if name == "jericho" else find_spec(name))
    assert str(unavailable()).startswith("jericho")
    monkeypatch.setattr(sys, "platform", "win32")
    assert "Linux and macOS" in str(unavailable())


def test_an_import_that_fails_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file\nsecond line")

    monkeypatch.setattr(machine.importlib, "import_module", fail)
    with pytest.raises(
        PluginError, match="does not import .OSError: textworld: cannot open shared object file."
    ):
        TextWorld()


@pytest.mark.parametrize("modality", MODALITIES)
def test_each_modality_shows_what_its_name_says(modality: str) -> None:
    env = TextWorld(modality=modality, games=1)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    assert set(observation) == ({"text"} if modality == "text" else {"image", "text"})
    assert ("\nAt: " in observation["text"]) == (modality != "image")
    assert ("\nThings: C coin" in observation["text"]) == (modality != "text")


def test_solving_pays_one_and_ends_the_episode() -> None:
    env = TextWorld("House", games=3)
    for seed in range(3):
        env.reset(seed=seed)
        rewards = []
        over = False
        while not over:
            action = env.expert_action()
            assert action is not None
            _, reward, over, truncated, info = env.step(action)
            assert not truncated
            rewards.append(reward)
        assert rewards == [0.0] * (len(rewards) - 1) + [1.0]
        assert info["success"] is True
        assert env.expert_action() is None
        with pytest.raises(ResetNeeded, match="call reset"):
            env.step("look")


def test_a_lost_game_ends_without_success() -> None:
    env = TextWorld("Cooking", level=2, games=1, modality="text")
    env.reset(seed=0)
    while "fry" in (action := env.expert_action() or "") or not action.startswith("cook "):
        env.step(action)
    food = action.split(" with ")[0]
    other = next(command for command in env._legal if command.startswith(food) and command != action)
    _, reward, terminated, truncated, info = env.step(other)  # fried, where it should have been roasted, say
    assert (reward, terminated, truncated, info["success"]) == (0.0, True, False, False)


def test_the_turn_limit_truncates_without_success() -> None:
    env = TextWorld(games=1, max_turns=3)
    env.reset(seed=0)
    assert env.step("look")[3] is False
    assert env.step("nonsense")[3] is False
    _, _, terminated, truncated, info = env.step("inventory")
    assert (terminated, truncated, info["success"]) == (False, True, False)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step("look")


def test_idle_commands_are_obeyed_whether_listed_or_not() -> None:
    for idle in (False, True):
        env = TextWorld("House", games=1, modality="text", idle=idle)
        _, info = env.reset(seed=0)
        assert ("look" in info["legal_actions"]) is idle
        assert env.metadata["vlmq"]["open_actions"] is not idle
        examine = next(command for command in env._tale.commands if command.startswith("examine "))
        for action in ("look", "inventory", examine):
            observation, reward, *_, info = env.step(action)
            assert (info["action_ok"], reward) == (True, 0.0)
        assert examine.removeprefix("examine ") in observation["text"].splitlines()[2]


def test_shaping_pays_for_a_shorter_way_and_takes_it_back() -> None:
    env = TextWorld(level=2, games=1, shaping=True)
    assert env.metadata["vlmq"]["reward_range"] == (-0.5, 1.5)
    env.reset(seed=0)
    there = env.expert_action()
    assert there is not None
    back = {"north": "south", "south": "north", "east": "west", "west": "east"}[there.removeprefix("go ")]
    # three commands from the coin: one of them is a third of the way, and half of that is paid
    assert env.step(there)[1] == pytest.approx(1 / 6)
    assert env.step(f"go {back}")[1] == pytest.approx(-1 / 6)
    total, over = 0.0, False
    while not over:
        _, reward, over, _, _ = env.step(env.expert_action() or "")
        total += reward
    assert total == pytest.approx(1.5)


def mutants(legal: tuple[str, ...], rng: random.Random) -> str:
    """A text near a legal one, or far from all."""
    chosen = rng.choice(legal)
    at = rng.randrange(len(chosen) + 1)
    letter = rng.choice("abz 1\n\t\x00é\ud800★'\"{}[]()*")
    match rng.randrange(10):
        case 0:
            return chosen[:at]
        case 1:
            return chosen[:at] + letter + chosen[at:]
        case 2:
            return chosen[:at] + letter + chosen[at + 1 :]
        case 3:
            return chosen + rng.choice([" ", ".", "\n", " " + chosen, ", " + chosen, "; look"])
        case 4:
            return rng.choice([chosen.upper(), chosen.title(), " " + chosen, f'{{"action": "{chosen}"}}'])
        case 5:
            return "".join(rng.choice("abcdefghij klmnop\n01") for _ in range(rng.randrange(60)))
        case 6:
            return rng.choice(
                ["", " ", "restart", "quit", "undo", "save", "restore", "tw-trace-actions", "z", "again"]
            )
        case 7:
            return rng.choice(
                ["take all", "drop all", "open all", "go", "take", "say hello", "xyzzy", "purloin coin"]
            )
        case 8:
            return letter * rng.randrange(300)
        case _:
            words = [word for command in legal for word in command.split()]
            return " ".join(rng.choice(words) for _ in range(rng.randrange(1, 6)))


def fuzz(challenge: str, texts: int, seed: int) -> float:
    """Play so many texts; a legal one is played now and then. The longest processor time that a refused one took."""
    env = TextWorld(challenge, games=2, max_turns=500, idle=True, modality="both")
    rng = random.Random(seed)
    slowest, over, turns = 0.0, True, 0
    for number in range(texts):
        if over:
            observation, info = env.reset(seed=number)
        legal = info["legal_actions"]
        text = rng.choice(legal) if rng.random() < 0.05 else mutants(legal, rng)
        if number % 1000 == 0:
            text = rng.choice(legal) * 20_000
        facts = [str(fact) for fact in env._tale._progress.state.facts]
        before, image = (info["state_key"], legal), observation["image"]
        start = time.thread_time()
        observation, reward, terminated, truncated, info = env.step(text)
        took = time.thread_time() - start
        assert info["action_ok"] is (text in legal)
        if not info["action_ok"]:
            slowest = max(slowest, took)
            assert (reward, terminated) == (-0.1, False)
            assert (info["state_key"], info["legal_actions"]) == before
            assert facts == [str(fact) for fact in env._tale._progress.state.facts]
            assert (observation["image"] == image).all()
            turns += 1
        over = terminated or truncated
    assert turns > 0.7 * texts
    return slowest


@pytest.mark.parametrize("challenge", ["CoinCollector", "Cooking"])
def test_two_thousand_texts_that_are_no_commands_change_nothing(challenge: str) -> None:
    fuzz(challenge, 2000, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("challenge", ["House", "CoinCollector", "TreasureHunter", "Cooking", "Simple"])
def test_a_hundred_thousand_texts_change_nothing_and_none_is_slow(challenge: str) -> None:
    assert fuzz(challenge, 20_000, seed=2) < 0.010


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=40) | st.binary(max_size=20) | st.integers() | st.none() | st.lists(st.text(max_size=5))
)
def test_anything_may_be_given_as_an_action(action: Any) -> None:
    env = TextWorld(games=1, modality="text")
    _, before = env.reset(seed=0)
    _, reward, _, _, info = env.step(action)
    if action not in (*before["legal_actions"], "look", "inventory"):
        assert (info["action_ok"], reward, info["state_key"]) == (False, -0.1, before["state_key"])
        assert info["error"] == "Nothing happens."


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"modality": "video"}, "choose one of image, both, text"),
        ({"challenge": "Chess"}, "choose one of House, CoinCollector, TreasureHunter, Cooking, Simple"),
        ({"split": "test"}, "choose one of train, held_out"),
        ({"level": 5}, "from 1 to 4"),
        ({"level": True}, "from 1 to 4"),
        ({"games": 0}, "from 1 to 1000000"),
        ({"size": 63}, "from 64 to 1024"),
        ({"size": 96, "level": 4}, "from 128 to 1024"),
        ({"max_turns": 0}, "from 1 to 10000"),
        ({"idle": "no"}, "idle='no' will not do; give true or false"),
        ({"shaping": "no"}, "shaping='no' will not do; give true or false"),
        ({"variation": 0}, "variation=0 will not do; give true or false"),
    ],
)
def test_a_wrong_setting_is_named_with_its_mend(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        TextWorld(**wrong)


def test_infos_and_metadata_are_plain_data() -> None:
    env = TextWorld(games=1)
    _, info = env.reset(seed=0)
    assert pickle.loads(pickle.dumps(info)) == info
    assert json.dumps(env.metadata)


def test_vector_environments_batch_the_games() -> None:
    envs = gymnasium.vector.SyncVectorEnv([lambda: TextWorld(games=3)] * 3)
    observations, _ = envs.reset(seed=[0, 1, 2])
    singles = [TextWorld(games=3).reset(seed=seed)[0] for seed in range(3)]
    np.testing.assert_array_equal(observations["image"], [single["image"] for single in singles])
    _, rewards, _, _, infos = envs.step(("look", "nonsense", "inventory"))
    assert infos["action_ok"].tolist() == [True, False, True]
    assert rewards.tolist() == [0, -0.1, 0]
    envs.close()
