"""Text behaves as a gymnasium space: pickled, seeded, and carried by vector environments."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.vector import utils as vector_utils
from hypothesis import given
from hypothesis import strategies as st

from vlmq.api import ContractError, Text, action_space, observation_space

HARD = ("", " ", "héllo, 世界 🎉", '{"a": "b"}\n', "x" * 61)


class Echo(gymnasium.Env[dict[str, Any], str]):
    """Says the last action; its picture is the length of it."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, text_bytes: int = 61) -> None:
        self.observation_space = observation_space(5, 7, text_bytes=text_bytes)
        self.action_space = action_space()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        return self._say(f"seed {seed}"), {"action_ok": True, "legal_actions": ("a", "b")}

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        return self._say(action), 0.0, False, False, {"action_ok": True, "legal_actions": None}

    def _say(self, text: str) -> dict[str, Any]:
        return {"image": np.full((5, 7, 3), len(text), np.uint8), "text": text}


def sync(num_envs: int) -> SyncVectorEnv:
    return SyncVectorEnv([Echo] * num_envs)


def spawned(num_envs: int, shared_memory: bool, copy: bool = True) -> AsyncVectorEnv:
    return AsyncVectorEnv([Echo] * num_envs, context="spawn", shared_memory=shared_memory, copy=copy)


@pytest.mark.parametrize(
    "make",
    [sync, partial(spawned, shared_memory=True), partial(spawned, shared_memory=False)],
    ids=["sync", "async-shared", "async-piped"],
)
def test_vector_environments_carry_any_text(make: Callable[[int], Any]) -> None:
    envs = make(2)
    try:
        first, _ = envs.reset(seed=[3, 4])
        assert tuple(first["text"]) == ("seed 3", "seed 4")
        kept = [first]
        for words in zip(HARD, reversed(HARD), strict=True):
            observation, rewards, _, _, _ = envs.step(words)
            kept.append(observation)
            assert tuple(observation["text"]) == words
            assert observation["image"][:, 0, 0, 0].tolist() == [len(word) for word in words]
            assert observation in envs.observation_space
            assert rewards.shape == (2,)
        # what was returned earlier does not change with later turns
        assert tuple(kept[0]["text"]) == ("seed 3", "seed 4")
        assert tuple(kept[1]["text"]) == (HARD[0], HARD[-1])
        actions = envs.action_space.sample()
        assert tuple(envs.step(actions)[0]["text"]) == tuple(actions)
    finally:
        envs.close()


def test_without_a_copy_shared_texts_are_a_live_view() -> None:
    envs = spawned(1, shared_memory=True, copy=False)
    try:
        observation, _ = envs.reset(seed=1)
        assert list(observation["text"]) == ["seed 1"]
        assert observation["text"][:1] == ("seed 1",)
        envs.step(("later",))
        assert observation["text"][0] == "later"
    finally:
        envs.close()


@given(st.lists(st.text(max_size=8), min_size=1, max_size=4), st.integers(32, 40))
def test_shared_memory_returns_what_was_written(texts: list[str], max_bytes: int) -> None:
    space = Text(max_bytes)
    memory: Any = vector_utils.create_shared_memory(space, n=len(texts), ctx=multiprocessing)
    write: Any = vector_utils.write_to_shared_memory
    view: Any = vector_utils.read_from_shared_memory(space, memory, n=len(texts))
    assert tuple(view) == ("",) * len(texts)
    for turn in (texts, texts[::-1]):
        for index, text in enumerate(turn):
            write(space, index, text, memory)
        assert copy.deepcopy(view) == tuple(turn)


def test_shared_memory_refuses_what_does_not_fit() -> None:
    space = Text(3)
    memory = vector_utils.create_shared_memory(space, n=1)
    write: Any = vector_utils.write_to_shared_memory
    with pytest.raises(ContractError, match="text is 4 bytes; its space allows 3: raise text_bytes"):
        write(space, 0, "éé", memory)


def test_spaces_that_differ_can_be_batched() -> None:
    batched = vector_utils.batch_differing_spaces([Text(3), Text(5)])
    assert ("abc", "abcde") in batched
    assert ("abcd", "abcde") not in batched
    assert vector_utils.create_empty_array(Text(3), n=2) == ("", "")


def test_a_text_space_survives_pickling_with_its_random_state() -> None:
    space = Text(20, seed=4)
    space.sample()
    again = pickle.loads(pickle.dumps(space))
    assert again == space
    assert [again.sample() for _ in range(5)] == [space.sample() for _ in range(5)]


def test_samples_follow_the_seed_and_lie_in_the_space() -> None:
    one, two, other = Text(9, seed=1), Text(9, seed=1), Text(9, seed=2)
    samples = [one.sample() for _ in range(50)]
    assert samples == [two.sample() for _ in range(50)]
    assert samples != [other.sample() for _ in range(50)]
    assert all(sample in one for sample in samples)


def test_capacity_counts_bytes_and_anything_else_is_outside() -> None:
    assert "ééé" in Text(6)
    assert "éééx" not in Text(6)
    assert "\ud800" in Text(6), "a lone surrogate is a string too: fuzzed text must not raise"
    assert b"x" not in Text(6)
    assert None not in Text(6)
    with pytest.raises(ValueError, match="at least 1 byte"):
        Text(0)
