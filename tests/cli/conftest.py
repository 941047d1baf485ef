"""Runs the command line in this process: what it printed, where, and its exit code."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from vlmq.cli import main


@dataclass(frozen=True)
class Done:
    """What came of one command."""

    code: int
    out: str
    err: str

    @property
    def wrong(self) -> str:
        """The one sentence with which wrong input is answered."""
        assert self.code == 2, self
        assert self.err.startswith("vlmq: "), self
        assert len(self.err.splitlines()) == 1, self
        return self.err.removeprefix("vlmq: ").rstrip("\n")


Vlmq = Callable[..., Done]

OAK = '''
import gymnasium, numpy as np
from vlmq.api import action_space, observation_space

class Tree(gymnasium.Env):
    """An oak, to be climbed
    with care.

    Args: nobody reads on.
    """
    metadata = {"render_modes": [], "vlmq": {
        "grows_in": ("a wood", "a park"), "success": "the top is reached", "reward_range": (0.0, 1.0),
        "requirements": ({"needs": "a ladder", "command": "apt-get install ladder"},),
        "chance_level": 0.25, "workers": False, "licence": "MIT", "modalities": ("text",),
    }}
    def __init__(self, fault="", legal=("up", "?", "q"), side=None):
        if fault == "init":
            raise OSError("no acorn")
        self.fault, self.legal, self.side = fault, legal, side
        self.observation_space, self.action_space = observation_space(side, side), action_space()
    def show(self):
        shown = {"text": "A tall\\noak \\udc80."}
        return shown if self.side is None else {**shown, "image": np.full((self.side, self.side, 3), 9, np.uint8)}
    def reset(self, *, seed=None, options=None):
        if self.fault == "reset":
            raise RuntimeError("no roots\\nno leaves")
        return {"text": 3} if self.fault == "text" else self.show(), {"action_ok": True, "legal_actions": self.legal}
    def step(self, action):
        if action == "axe":
            raise ValueError("felled")
        info = {"action_ok": action != "down", "legal_actions": self.legal, "success": action == "q"}
        info["error"] = "" if action != "down" else "you are  on\\nthe ground"
        return self.show(), 0.5, action == "q", action == "?", info
    def close(self):
        if self.fault == "close":
            raise OSError("stuck")
    def expert_action(self):
        if self.fault == "expert":
            raise ValueError("lost")
        return None
'''

OAK_SPECS = """
from gymnasium.envs.registration import EnvSpec
SPECS = (
    EnvSpec(id="oak/Tree-v0", entry_point="oak_env:Tree"),
    EnvSpec(id="oak/Old-v0", entry_point="oak_env:Tree", kwargs={"side": 4}),
    EnvSpec(id="oak/Gone-v0", entry_point="oak_env:Gone"),
)
"""


@pytest.fixture
def oak(install: Callable[..., None]) -> None:
    """A plugin without pictures whose environment breaks where its argument `fault` says."""
    install("oak", OAK_SPECS, oak_env=OAK)


@pytest.fixture
def vlmq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Vlmq:
    """vlmq("envs", "list", typed="...") in a folder of its own; nothing is left elsewhere."""
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def run(*args: str, typed: str | bytes = "") -> Done:
        data = typed.encode() if isinstance(typed, str) else typed
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        capsys.readouterr()
        code = main(args)
        return Done(code, *capsys.readouterr())

    return run
