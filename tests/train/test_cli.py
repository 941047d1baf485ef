"""What the command line makes of several sources of settings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vlmq.train import cli

FIRST = "[{name: first, updates: 5, filter: always, critic: false, baseline: true}]"
SECOND = "[{name: second, updates: 7, filter: always}]"


@pytest.fixture
def phases(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[dict[str, Any]]]:
    """The phases that the command line makes of options; nothing is run."""

    def parsed(*options: str) -> list[dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", ["vlmq"])
        with pytest.raises(SystemExit):
            cli.main(["fit", *options, "--print_config"])
        taken: list[dict[str, Any]] = yaml.safe_load(capsys.readouterr().out)["model"]["phases"]
        return taken

    return parsed


def _file(path: Path, phases: str) -> str:
    path.write_text(f"model: {{phases: {phases}}}")
    return str(path)


@pytest.mark.parametrize("first", ["file", "option"])
@pytest.mark.parametrize("second", ["file", "joined file", "option", "joined option"])
def test_later_phases_take_nothing_over_from_earlier_ones(
    phases: Callable[..., list[dict[str, Any]]], tmp_path: Path, first: str, second: str
) -> None:
    options = ["--config", "configs/quickstart.yaml"]
    one, two = _file(tmp_path / "one.yaml", FIRST), _file(tmp_path / "two.yaml", SECOND)
    options += ["--config", one] if first == "file" else ["--model.phases", FIRST]
    options += {
        "file": ["--config", two],
        "joined file": [f"--config={two}"],
        "option": ["--model.phases", SECOND],
        "joined option": [f"--model.phases={SECOND}"],
    }[second]
    (phase,) = phases(*options)
    assert (phase["name"], phase["updates"]) == ("second", 7)
    assert (phase["critic"], phase["baseline"]) == (True, False)


def test_a_later_file_without_phases_keeps_the_earlier_ones(
    phases: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("model: {max_reply: 9}")
    (phase,) = phases("--config", "configs/quickstart.yaml", "--model.phases", FIRST, "--config", str(other))
    assert phase["name"] == "first"
