"""Each shipped configuration says what it needs and what it gives, and is whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
BASELINES = sorted((FOLDER / "baselines").glob("*.yaml"))


class _NoDoubles(yaml.SafeLoader):
    """Refuses a mapping with the same key twice: the first value would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        doubled = {key for key in keys if keys.count(key) > 1}
        assert not doubled, f"{node.start_mark}: {doubled} given twice"
        return super().construct_mapping(node, deep)


def test_there_are_configurations() -> None:
    assert CONFIGS
    assert BASELINES


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_parses_to_a_mapping_without_double_keys(path: Path) -> None:
    with path.open(encoding="utf-8") as file:
        loaded = yaml.load(file, _NoDoubles)
    assert isinstance(loaded, dict)
    assert loaded


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_its_header_says_hardware_command_and_expected_result(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    header = [line for line in lines[: _first_setting(lines)] if line.startswith("#")]
    for word in ("Hardware:", "Command:", "Expected:"):
        told = [line for line in header if line.lstrip("# ").startswith(word)]
        assert told, f"{path.name}: the header has no line '# {word} ...'"
        said = told[0].partition(":")[2].strip()
        assert said, f"{path.name}: '{word}' is empty"
        assert not re.search(r"to be |todo|tbd|[?]{2}|[.]{3}$", said, re.I), f"{path.name}: {told[0]}"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_its_command_runs_this_very_file(path: Path) -> None:
    command = next(line for line in path.read_text(encoding="utf-8").splitlines() if "Command:" in line)
    assert f"configs/{path.name}" in command or "make quickstart" in command


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_a_baseline_says_what_it_is_and_how_it_goes_on_top(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.match(r"# [^\n]{20,}[.]\n", text)
    assert f"vlmq fit --config configs/quickstart.yaml --config configs/baselines/{path.name}" in text
    loaded = yaml.load(text, _NoDoubles)
    assert [phase["name"] for phase in loaded["model"]["phases"]] == ["warmup", path.stem]
    assert loaded["trainer"]["default_root_dir"] == f"runs/baselines/{path.stem}"


def _first_setting(lines: list[str]) -> int:
    return next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
