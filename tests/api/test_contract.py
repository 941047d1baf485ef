"""The contract is checked at every turn, cheaply, in sentences that name the fault and its mend."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmq.api import ContractError, Text, action_space, observation_space
from vlmq.api.contract import check_info, check_observation, check_played, check_reward, check_spaces
from vlmq.env import registry

ID = "foo/Bar-v1"
SPACE = observation_space(84, 84, text_bytes=10)


def picture(*shape: int, dtype: Any = np.uint8) -> Any:
    return np.zeros(shape or (84, 84, 3), dtype)


def error_of(observation: Any, space: Any = SPACE) -> str:
    with pytest.raises(ContractError) as caught:
        check_observation(ID, observation, space)
    return str(caught.value)


def test_a_good_observation_passes_and_its_picture_is_a_copy() -> None:
    frame = np.asfortranarray(np.random.default_rng(0).integers(0, 256, (84, 84, 3), dtype=np.uint8))
    seen = check_observation(ID, {"image": frame, "text": "go"}, SPACE)
    assert seen.image is not None
    assert (seen.image == frame).all()
    assert seen.image.flags.c_contiguous
    before = seen.image.copy()
    frame[:] += 1  # an environment may draw into one frame for ever
    assert (seen.image == before).all()
    assert seen.text == "go"


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (picture(84, 84, 3, dtype=float), "float64 (84, 84, 3)"),
        (picture(84, 84), "uint8 (84, 84)"),
        (picture(3, 84, 84), "uint8 (3, 84, 84)"),
        ([[0]], "list"),
        (None, "NoneType"),
    ],
)
def test_a_wrong_image_is_described(image: Any, got: str) -> None:
    said = f"env 'foo/Bar-v1': image is {got}; expected uint8 (84, 84, 3). Cast it in the env."
    assert error_of({"image": image, "text": ""}) == said


def test_a_text_is_measured_in_bytes_and_both_lengths_are_named() -> None:
    assert check_observation(ID, {"image": picture(), "text": "ééééé"}, SPACE).text == "ééééé"
    assert error_of({"image": picture(), "text": "ééééé!"}) == (
        "env 'foo/Bar-v1': text is 11 bytes; its space allows 10."
        " Shorten it, or raise text_bytes in the env's observation_space."
    )
    assert error_of({"image": picture(), "text": b"go"}) == "env 'foo/Bar-v1': text is bytes; expected str."


@given(st.text(max_size=12))
def test_the_check_agrees_with_the_space(text: str) -> None:
    observation = {"image": picture(), "text": text}
    if text in SPACE["text"]:
        assert check_observation(ID, observation, SPACE).text == text
    else:
        assert "its space allows 10" in error_of(observation)


def test_an_observation_of_another_kind_is_described() -> None:
    assert "observation is ndarray; expected a dict with 'text' and 'image'" in error_of(picture())
    assert "observation is ['image']; expected a dict" in error_of({"image": picture()})
    only_text = observation_space(None, None)
    assert check_observation(ID, {"text": "x"}, only_text).image is None
    assert "does not declare" in error_of({"text": "x", "image": picture()}, only_text)


def test_info_must_say_whether_the_action_was_ok_and_at_the_end_whether_it_was_a_success() -> None:
    legal = ("a", "b")
    assert check_info(ID, {"action_ok": np.True_, "legal_actions": legal}, False) == (True, False, legal)
    assert check_info(ID, {"action_ok": False, "success": np.True_}, True) == (False, True, None)
    assert check_info(ID, {"action_ok": True, "success": True}, False)[1] is False
    wrong: list[tuple[Any, bool, str]] = [
        ({}, False, "info['action_ok'] is missing"),
        ({"action_ok": 1}, False, "info['action_ok'] is int; expected bool"),
        ({"action_ok": True}, True, "info['success'] is missing at the end of an episode"),
        ({"action_ok": True, "success": 1.0}, True, "info['success'] is float at the end of an episode"),
        (
            {"action_ok": True, "legal_actions": ["a"]},
            False,
            "info['legal_actions'] is list; expected a tuple",
        ),
        (
            {"action_ok": True, "legal_actions": ("a", 2)},
            False,
            "info['legal_actions'] holds the int 2; expected a tuple of str, or None.",
        ),
        (None, False, "info is NoneType; expected a dict at every reset and step."),
    ]
    for info, ended, said in wrong:
        with pytest.raises(ContractError) as caught:
            check_info(ID, info, ended)
        assert str(caught.value).startswith(f"env 'foo/Bar-v1': {said}")


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, None, "much", "-0.1", b"1", [1, 2]])
def test_a_reward_must_be_a_finite_number(reward: Any) -> None:
    with pytest.raises(ContractError, match="reward is .*; expected a finite number"):
        check_reward(ID, reward)


def test_an_id_in_info_must_be_a_text() -> None:
    assert check_played("env", {}) is None
    assert check_played("env", {"env_id": "a/B-v0"}) == "a/B-v0"
    with pytest.raises(ContractError, match=r"env 'env': info\['env_id'\] is int; expected a registered id"):
        check_played("env", {"env_id": 3})


def test_a_reward_of_any_numeric_type_becomes_a_float() -> None:
    for reward in (1, True, np.float32(1), np.int64(1), np.array(1.0)):
        assert type(check_reward(ID, reward)) is float
        assert check_reward(ID, reward) == 1.0


def test_spaces_outside_the_contract_are_refused_with_what_to_use() -> None:
    env = registry.make("line/Walk-v0")
    shape = check_spaces(ID, env)
    assert (shape.image, shape.text_bytes, shape.action_bytes) == ((64, 64, 3), 1024, 256)
    bad_spaces = [
        (gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8), action_space(), "Use vlmq.api.observation_space"),
        (
            gymnasium.spaces.Dict(text=gymnasium.spaces.Text(5)),
            action_space(),
            "Use vlmq.api.observation_space",
        ),
        (
            gymnasium.spaces.Dict(text=Text(5), image=gymnasium.spaces.Box(0, 1, (4, 4, 3))),
            action_space(),
            "float32 (4, 4, 3); expected uint8 (height, width, 3)",
        ),
        (observation_space(4, 4), gymnasium.spaces.Discrete(3), "Use vlmq.api.action_space()"),
    ]
    for observation, action, said in bad_spaces:
        env.observation_space, env.action_space = observation, action
        with pytest.raises(ContractError) as caught:
            check_spaces(ID, env)
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ("observation_space", "observation_space is None; expected a Dict with a 'text' of vlmq.api.Text."),
        ("action_space", "action_space is None; expected vlmq.api.Text."),
    ],
)
def test_a_space_that_was_never_set_is_named(lacking: str, said: str) -> None:
    class Bare(gymnasium.Env[Any, Any]):
        pass

    env = Bare()
    if lacking == "action_space":
        env.observation_space = observation_space(4, 4)
    with pytest.raises(ContractError) as caught:
        check_spaces(ID, env)
    assert said in str(caught.value)
