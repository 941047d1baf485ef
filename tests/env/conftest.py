"""An environment that fails on demand, installed as a throwaway plugin; makes helper modules importable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

Installing = Callable[[Path], AbstractContextManager[Callable[..., None]]]

TROUBLE = '''
import os, signal, sys, time
import gymnasium, numpy as np
from vlmq.api import ContractError, Text, action_space, observation_space

class Trouble(gymnasium.Env):
    """Does as its action says. Its text tells pid, seed, count of turns; its picture is the seed."""
    metadata = {"render_modes": [], "vlmq": {"workers": True, "success": "said win"}}
    def __init__(self, size=8, fail_reset_once=None, loud=False):
        self.observation_space = observation_space(size, size, text_bytes=200)
        self.action_space = action_space()
        self.size, self.fail_reset_once, self.loud = size, fail_reset_once, loud
    def _obs(self):
        image = np.full((self.size, self.size, 3), self.seed % 256, np.uint8)
        return {"image": image, "text": f"{os.getpid()} {self.seed} {self.turns} {'torch' in sys.modules}"}
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.turns = seed, 0
        if self.loud:
            print("noise " * 5000, flush=True)
        if self.fail_reset_once and not os.path.exists(self.fail_reset_once):
            open(self.fail_reset_once, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if seed == 666:
            raise RuntimeError("no such seed")
        if seed == 667:
            sys.exit(0)
        if seed == 668:
            return self._obs()
        return self._obs(), {"action_ok": True, "legal_actions": ("go", "win")}
    def step(self, action):
        self.turns += 1
        verb, _, argument = action.partition(" ")
        if verb == "raise":
            raise ValueError("wheel came off")
        if verb == "exit":
            sys.exit(0)
        if verb == "hang":
            time.sleep(1000)
        if verb == "sleep":
            time.sleep(float(argument))
        if verb == "meet":  # does not return before two have come
            open(os.path.join(argument, str(os.getpid())), "w").close()
            while len(os.listdir(argument)) < 2:
                time.sleep(0.01)
        if verb == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if verb == "print":
            print("x" * 100000, flush=True)
        obs, reward = self._obs(), 1.0
        if verb == "float":
            obs["image"] = obs["image"].astype(float)
        if verb == "long":
            obs["text"] = "é" * 150
        if verb == "nan":
            reward = float("nan")
        info = {"action_ok": verb != "bad", "legal_actions": ("go", "win"), "success": verb == "win"}
        if verb == "silent":
            del info["action_ok"]
        if verb == "numbers":
            info["legal_actions"] = (1, 2)
        if verb == "four":
            return obs, reward, False, info
        return obs, reward, verb == "win", verb == "cut", info
    def expert_action(self):
        return "win"
'''

TROUBLE_SPECS = """
from gymnasium.envs.registration import EnvSpec
SPECS = (EnvSpec(id="trouble/Do-v0", entry_point="trouble_env:Trouble"),)
"""


@pytest.fixture(scope="module")
def trouble(tmp_path_factory: pytest.TempPathFactory, installing: Installing) -> Iterator[str]:
    """The id of an environment that fails on demand."""
    with installing(tmp_path_factory.mktemp("trouble")) as write:
        write("trouble", TROUBLE_SPECS, trouble_env=TROUBLE)
        yield "trouble/Do-v0"
