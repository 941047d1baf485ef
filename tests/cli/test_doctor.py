"""`vlmq doctor`: one block that tells what is here, and every fault with its mend."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from vlmq.cli import doctor

Vlmq = Callable[..., Any]
Install = Callable[..., None]


def test_a_sound_machine_is_told_in_one_block(vlmq: Vlmq) -> None:
    done = vlmq("doctor")
    assert (done.code, done.err) == (0, "")
    block, _, verdict = done.out.partition("\n\n")
    assert verdict == "Nothing wants mending.\n"
    names = [line.split("  ")[0] for line in block.splitlines()]
    for name in ("system", "cores", "free, here", "vlmq", "packages", "torch", "torchrl", "plugin line"):
        assert name in names
    for package in ("torch", "lightning", "transformers", "torchrl"):
        assert f"{package} " in next(line for line in block.splitlines() if line.startswith("packages "))


def test_every_fault_is_listed_with_its_mend(
    vlmq: Vlmq, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("elm", "raise OSError('no bark')\n")
    install(
        "web",
        "from gymnasium.envs.registration import EnvSpec\nSPECS = (EnvSpec('web/A-v0', 'm:A'),)\n"
        "def unavailable():\n    return 'there is no browser: apt-get install chromium.'\n",
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=5e8))
    installed = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: "0.0.1" if name == "peft" else installed(name))
    monkeypatch.setitem(sys.modules, "torch", None)
    done = vlmq("doctor")
    assert done.code == 1
    faults = done.out.partition("To mend:\n")[2].splitlines()
    for said in (
        "has 0.5 GB left: free some",
        "peft is 0.0.1, and vlmq needs ",
        "torch does not import: install it anew",
        "plugin 'elm': (vlmq-env-elm 1.0) does not import: OSError: no bark",
        "plugin 'web': there is no browser: apt-get install chromium.",
    ):
        assert sum(said in fault for fault in faults) in (1, 2), said
    assert all(fault.startswith("- ") for fault in faults)


def test_it_takes_no_argument(vlmq: Vlmq) -> None:
    assert vlmq("doctor", "please").wrong == "`vlmq doctor` takes no argument; see `vlmq doctor --help`."
    assert "usage: vlmq doctor" in vlmq("doctor", "--help").out
