"""One environment, played by one caller: the contract at each turn, every fault one sentence."""

from __future__ import annotations

import numpy as np
import pytest

from vlmq.api import ContractError, PluginError
from vlmq.api.contract import Shape
from vlmq.env.by_hand import ByHand, declared_in


def test_it_plays_as_the_environment_does() -> None:
    with ByHand("line/Recall-v0", {"delay": 0}) as env:
        assert env.shape == Shape((64, 64, 3), 1024, 256)
        assert env.declared["licence"] == "Apache-2.0"
        first = env.reset(3)
        assert (first.reward, first.ended, first.action_ok, first.legal_actions) == (
            0.0,
            False,
            True,
            ("wait",),
        )
        assert first.observation.image is not None
        assert first.observation.image.shape == (64, 64, 3)
        refused = env.step("mauve")
        assert (refused.reward, refused.ended, refused.action_ok) == (-1.0, False, False)
        assert np.array_equal(refused.observation.image, first.observation.image)
        assert env.hint() == "wait"
        env.step("wait")
        last = env.step(env.hint() or "")
        assert (last.reward, last.terminated, last.truncated, last.success) == (1.0, True, False, True)
        assert env.reset(3).observation.text == first.observation.text


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("raise", "env 'trouble/Do-v0' broke in step(): ValueError: wheel came off (trouble_env.py:"),
        (
            "four",
            "env 'trouble/Do-v0': step() returns 4 values; expected 5: observation, reward, terminated,",
        ),
        (
            "numbers",
            "env 'trouble/Do-v0': info['legal_actions'] holds the int 1; expected a tuple of str, or None.",
        ),
        ("float", "env 'trouble/Do-v0': image is float64 (8, 8, 3); expected uint8 (8, 8, 3)."),
        ("long", "env 'trouble/Do-v0': text is 300 bytes; its space allows 200."),
        ("nan", "env 'trouble/Do-v0': reward is nan; expected a finite number."),
        ("silent", "env 'trouble/Do-v0': info['action_ok'] is missing;"),
        ("exit", "env 'trouble/Do-v0' broke in step(): SystemExit: 0 (trouble_env.py:"),
    ],
)
def test_what_breaks_in_a_turn_is_named(trouble: str, action: str, said: str) -> None:
    with ByHand(trouble, {}) as env:
        env.reset(1)
        with pytest.raises((PluginError, ContractError)) as caught:
            env.step(action)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_beginning_that_asks_to_end_the_process_is_named(trouble: str) -> None:
    with ByHand(trouble, {}) as env, pytest.raises(PluginError, match=r"broke in reset\(\): SystemExit: 0"):
        env.reset(667)


def test_a_fault_says_how_to_learn_more(trouble: str) -> None:
    with (
        ByHand(trouble, {}) as env,
        pytest.raises(PluginError, match="`vlmq check trouble/Do-v0` tells more.$"),
    ):
        env.reset(666)


FAULTY = """
import gymnasium
from vlmq.api import action_space, observation_space
class Faulty(gymnasium.Env):
    metadata = {"render_modes": []}
    def __init__(self, spaces=True):
        self.observation_space = observation_space(4, 4) if spaces else gymnasium.spaces.Discrete(2)
        self.action_space = action_space()
    def reset(self, *, seed=None, options=None):
        raise RuntimeError("no roots")
    def close(self):
        raise OSError("stuck")
"""
FAULTY_SPECS = """
from gymnasium.envs.registration import EnvSpec
SPECS = (EnvSpec(id="faulty/A-v0", entry_point="faulty_env:Faulty"),)
"""


def test_the_first_fault_is_the_one_that_is_told(install: object) -> None:
    assert callable(install)
    install("faulty", FAULTY_SPECS, faulty_env=FAULTY)
    with pytest.raises(ContractError, match="observation_space is Discrete"):
        ByHand("faulty/A-v0", {"spaces": False})
    with pytest.raises(PluginError, match="broke in reset.*no roots"), ByHand("faulty/A-v0", {}) as env:
        env.reset(0)
    with pytest.raises(PluginError, match="broke in close.*stuck"), ByHand("faulty/A-v0", {}):
        pass


def test_a_beginning_without_its_info_is_named(trouble: str) -> None:
    said = r"reset\(\) returns dict; expected 2: observation, info\."
    with ByHand(trouble, {}) as env, pytest.raises(ContractError, match=said):
        env.reset(668)


@pytest.mark.parametrize("metadata", [None, {}, {"vlmq": None}, {"vlmq": "yes"}, ["vlmq"]])
def test_metadata_of_another_shape_declares_nothing(metadata: object) -> None:
    assert declared_in(metadata) == {}
