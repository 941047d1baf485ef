"""The environment keeps the contract: seeds, spaces, rewards, limits, settings, and text that is no command."""

from __future__ import annotations

import ast
import hashlib
import json
import pickle
import random
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st
from vlmq_env_household import REQUIRES_API, SPECS
from vlmq_env_household.env import MODALITIES, Household
from vlmq_env_household.generator import LEVELS
from vlmq_env_household.home import TASKS

from vlmq.api import PluginError, expert_action


def solve(env: Household) -> list[tuple[Any, float, bool, bool, dict[str, Any]]]:
    """Follow the expert to the end of the episode."""
    steps = []
    while True:
        action = env.expert_action()
        assert action is not None
        steps.append(env.step(action))
        if steps[-1][2] or steps[-1][3]:
            return steps


def wander(env: Household, seed: int, turns: int) -> list[tuple[Any, float, bool, bool, dict[str, Any]]]:
    """Random legal play from a reset with this seed, to the end of the episode at most."""
    rng = np.random.default_rng(seed)
    _, info = env.reset(seed=seed)
    steps = []
    for _ in range(turns):
        legal = info["legal_actions"]
        steps.append(env.step(legal[int(rng.integers(len(legal)))]))
        info = steps[-1][-1]
        if steps[-1][2] or steps[-1][3]:
            break
    return steps


def fingerprint(seed: int, **arguments: Any) -> str:
    """A digest of all that an episode of random play shows."""
    env, digest = Household(modality="both", **arguments), hashlib.sha256()
    for observation, reward, terminated, truncated, info in wander(env, seed, 60):
        digest.update(observation["image"].tobytes())
        digest.update(repr((observation["text"], reward, terminated, truncated, info)).encode())
    return digest.hexdigest()


def test_the_specs_are_light_named_and_made(fresh_python: Callable[..., str]) -> None:
    assert REQUIRES_API == ">=1.2,<2"
    assert [spec.id for spec in SPECS[:7]] == [
        f"household/{name}-v0"
        for name in ("PickAndPlace", "Examine", "Clean", "Heat", "Cool", "PickTwo", "Any")
    ]
    assert [spec.id for spec in SPECS[7:]] == [spec.id.replace("-v0", "Full-v0") for spec in SPECS[:7]]
    for spec in SPECS:
        env = gymnasium.make(spec)
        observation, info = env.reset(seed=0)
        assert observation in env.observation_space
        assert observation["image"].shape[0] == (192 if "Full" in spec.id else 64)
        assert expert_action(env) in info["legal_actions"]
    loaded = fresh_python(
        "import sys, vlmq_env_household; print([m for m in sys.modules if 'PIL' in m or 'household.' in m])"
    )
    assert loaded == "[]"


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_every_observation_is_in_its_space(level: int, modality: str) -> None:
    env = Household(level=level, modality=modality)
    for seed in range(3):
        for observation, _, _, _, info in wander(env, seed, 50):
            assert observation in env.observation_space
            assert (
                set(observation)
                == {"image": {"image", "text"}, "both": {"image", "text"}, "text": {"text"}}[modality]
            )
            assert list(info["legal_actions"]) == sorted(set(info["legal_actions"]))
            hash(info["state_key"])


@pytest.mark.parametrize("task", TASKS)
def test_solving_pays_one_and_ends_the_episode(task: str) -> None:
    env = Household(task=task, level=1)
    for seed in range(5):
        env.reset(seed=seed)
        steps = solve(env)
        assert [reward for _, reward, *_ in steps] == [0.0] * (len(steps) - 1) + [1.0]
        assert steps[-1][2:4] == (True, False)
        assert steps[-1][4]["success"] is True
        assert steps[-1][4]["progress"] == 1
        assert env.expert_action() is None
        with pytest.raises(ResetNeeded, match="call reset"):
            env.step("look")


def test_the_turn_limit_truncates_without_success() -> None:
    env = Household(max_turns=3)
    env.reset(seed=0)
    assert env.step("look")[3] is False
    assert env.step("nonsense")[3] is False
    _, _, terminated, truncated, info = env.step("inventory")
    assert (terminated, truncated, info["success"]) == (False, True, False)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step("look")


MUTANTS = (
    "",
    " ",
    "go to",
    "go",
    "take",
    "GO TO SHELF 1",
    "go to shelf",
    "take all",
    "\N{BLACK STAR}",
    "look\n",
)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 500),
    st.integers(0, 10),
    st.data(),
)
def test_a_text_is_accepted_exactly_when_it_is_listed(seed: int, turns: int, data: st.DataObject) -> None:
    env = Household(modality="text", level=seed % 3)
    steps = wander(env, seed, turns)
    if steps and (steps[-1][2] or steps[-1][3]):
        return
    info = steps[-1][-1] if steps else env.reset(seed=seed)[1]
    legal = info["legal_actions"]
    chosen = data.draw(st.sampled_from(legal))
    cut, letter = data.draw(st.integers(0, len(chosen))), data.draw(st.text(max_size=2))
    text = data.draw(
        st.sampled_from(
            [
                chosen[:cut],
                chosen[:cut] + letter + chosen[cut:],
                chosen[:cut] + letter + chosen[cut + 1 :],
                chosen + data.draw(st.sampled_from(["0", " 1", ".", " ", "\n", " " + chosen])),
                chosen.upper(),
                f'{{"action": "{chosen}"}}',
                *MUTANTS,
            ]
        )
        | st.text(max_size=40)
    )
    before = (info["state_key"], info["progress"], legal)
    _, reward, terminated, _, info = env.step(text)
    if text in legal:
        assert info["action_ok"] is True
        assert "error" not in info
    else:
        assert info["action_ok"] is False
        assert info["error"] == "Nothing happens."
        assert (reward, terminated) == (-0.1, False)
        assert (info["state_key"], info["progress"], info["legal_actions"]) == before


def test_huge_and_foreign_actions_do_nothing() -> None:
    env = Household()
    before = env.reset(seed=0)
    for action in ("go to " * 2000, "\x00", "\ud800", None, 3, ("look",), ["look"]):
        observation, reward, _, _, info = env.step(action)  # type: ignore[arg-type]
        assert (info["action_ok"], reward, info["state_key"]) == (False, -0.1, before[1]["state_key"])
        np.testing.assert_array_equal(observation["image"], before[0]["image"])


def test_the_same_seed_is_the_same_episode_in_other_processes(fresh_python: Callable[..., str]) -> None:
    cases = [(0, 0), (1, 2), (2, 4)]
    here = [fingerprint(seed, level=level) for seed, level in cases]
    assert here == [fingerprint(seed, level=level) for seed, level in cases]
    assert len(set(here)) == len(here)
    program = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("again", {__file__!r})
again = importlib.util.module_from_spec(spec)
spec.loader.exec_module(again)
print([again.fingerprint(seed, level=level) for seed, level in {cases!r}])
"""
    for hash_seed in ("1", "2"):
        assert ast.literal_eval(fresh_python(program, PYTHONHASHSEED=hash_seed)) == here


def test_a_seed_gives_the_same_home_whatever_is_shown() -> None:
    def start(**arguments: Any) -> object:
        env = Household(level=2, **arguments)
        env.reset(seed=8)
        return [env.reset()[1]["legal_actions"], env.reset()[1]["state_key"], env.expert_action()]

    plain = start(modality="text")
    assert plain == start() == start(modality="both", size=256) == start(variation=False)
    assert plain == start(max_turns=7, shaping=True)


def test_play_leaves_the_global_generators_alone() -> None:
    random.seed(1)
    np.random.seed(1)
    before = (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]
    fingerprint(5)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]


@pytest.mark.parametrize("level", [0, 4])
def test_in_image_modality_the_text_is_the_task_and_never_changes(level: int) -> None:
    env = Household(level=level)
    for seed in range(10):
        first = env.reset(seed=seed)[0]["text"]
        texts = {observation["text"] for observation, *_ in wander(env, seed, 50)}
        assert texts == {first}
        assert first.startswith("Task: ")
        assert not any(letter.isdigit() for letter in first)
        assert len(first) < 220


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_syntax_of_the_commands_can_be_left_out(modality: str) -> None:
    told, silent = (Household(modality=modality, show_syntax=show) for show in (True, False))
    lines = told.reset(seed=1)[0]["text"].splitlines()
    assert lines[1].startswith("Actions: go to R, ")
    assert silent.reset(seed=1)[0]["text"].splitlines() == lines[:1] + lines[2:]
    action = silent.expert_action()
    assert silent.step(action)[4]["state_key"] == told.step(action)[4]["state_key"]


def test_with_the_state_in_words_the_text_tells_what_happened() -> None:
    env = Household(task="place", modality="text")
    text = env.reset(seed=0)[0]["text"]
    assert text.splitlines()[2:4] == ["You begin.", "at: nowhere; in hand: nothing"]
    assert env.step("jump")[0]["text"].splitlines()[2] == "Nothing happens."
    assert env.step("inventory")[0]["text"].splitlines()[2] == "You carry nothing."


def test_shaping_adds_half_the_progress_and_declares_its_range() -> None:
    plain, shaped = Household(level=1), Household(level=1, shaping=True)
    assert plain.metadata["vlmq"]["reward_range"] == (-0.1, 1.0)
    low, high = shaped.metadata["vlmq"]["reward_range"]
    for seed in range(20):
        progress = plain.reset(seed=seed)[1]["progress"]
        shaped.reset(seed=seed)
        for one, other in zip(wander(plain, seed, 50), wander(shaped, seed, 50), strict=True):
            assert other[1] - one[1] == pytest.approx((one[4]["progress"] - progress) / 2)
            assert low <= other[1] <= high
            assert -0.1 <= one[1] <= 1
            progress = one[4]["progress"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modality": "video"}, "choose one of image, both, text"),
        ({"task": "cook"}, "choose one of place, light, clean, heat, cool, two, any"),
        ({"split": "test"}, "choose one of train, held_out"),
        ({"level": 5}, "from 0 to 4"),
        ({"level": True}, "from 0 to 4"),
        ({"size": 63}, "from 64 to 1024"),
        ({"size": 96, "level": 4}, "from 192 to 1024"),
        ({"max_turns": 0}, "from 1 to 10000"),
        ({"shaping": "no"}, "shaping='no' will not do; give true or false"),
        ({"variation": 0}, "variation=0 will not do; give true or false"),
        ({"show_syntax": None}, "show_syntax=None will not do; give true or false"),
    ],
)
def test_a_wrong_setting_is_named_with_its_mend(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        Household(**settings)


def test_any_draws_every_kind_of_task() -> None:
    env = Household(modality="text")
    env.reset(seed=0)
    words = {env.reset()[0]["text"].splitlines()[0] for _ in range(60)}
    for part in (" hot ", " cool ", " clean ", " two ", " in the light "):
        assert any(part in said for said in words)


def test_infos_and_metadata_are_plain_data() -> None:
    env = Household()
    _, info = env.reset(seed=0)
    assert pickle.loads(pickle.dumps(info)) == info
    assert json.dumps(Household.metadata)
    assert info["progress"] == 0


def test_vector_environments_batch_the_homes() -> None:
    envs = gymnasium.vector.SyncVectorEnv([Household] * 3)
    observations, _ = envs.reset(seed=[7, 8, 9])
    singles = [Household().reset(seed=seed)[0] for seed in (7, 8, 9)]
    np.testing.assert_array_equal(observations["image"], [single["image"] for single in singles])
    assert list(observations["text"]) == [single["text"] for single in singles]
    _, rewards, _, _, infos = envs.step(("look", "nonsense", "inventory"))
    assert infos["action_ok"].tolist() == [True, False, True]
    assert rewards.tolist() == [0, -0.1, 0]
    envs.close()
