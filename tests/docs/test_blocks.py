"""Every block of every page is looked at: commands and pages that lead by the hand elsewhere, all others here."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

from vlmq.api.testing import EnvContract
from vlmq.train import cli as heavy

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("envs/*/README.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
]
DONE = {ROOT / "docs" / "environments.md", ROOT / "docs" / "data.md"}
"""Pages that a test does from top to bottom (tests/test_docs.py)."""
KINDS = {"", "bash", "text", "python", "yaml", "toml", "jinja"}
"""Blocks without a name and those of bash are commands (tests/flows/test_readme.py); text is what a machine printed."""
STANDS_FOR = {"foo/Bar-v0": "line/Walk-v0"}
"""Environments that a page makes up, and those that are played in their place."""


def _blocks(*languages: str) -> Iterator[tuple[Path, str]]:
    for path in PAGES:
        if path not in DONE:
            for language, text in re.findall(
                r"^```(\w*)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S
            ):
                if language in languages:
                    yield path, text


def _named(blocks: Iterator[tuple[Path, str]]) -> list[Any]:
    return [
        pytest.param(text, id=f"{path.parent.name}/{path.name}-{number}")
        for number, (path, text) in enumerate(blocks)
    ]


def test_there_is_no_block_of_a_kind_that_nothing_looks_at() -> None:
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        opened = re.findall(r"^```(.*)$", text, re.M)
        assert len(opened) % 2 == 0, f"{path}: a block is not closed"
        if path not in DONE:
            assert set(opened[::2]) <= KINDS, path
        assert set(opened[1::2]) <= {""}, path


@pytest.mark.parametrize("text", _named(_blocks("python")))
def test_python_on_a_page_runs(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for made_up, played in STANDS_FOR.items():
        text = text.replace(made_up, played)
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(text, "page", "exec"), names)
    for made in [value for value in names.values() if isinstance(value, type) and value is not EnvContract]:
        if issubclass(made, EnvContract):
            assert made.env_id in STANDS_FOR.values()
            assert [name for name in dir(made) if name.startswith("test_")]


@pytest.mark.parametrize("text", _named(_blocks("yaml")))
def test_yaml_on_a_page_is_what_the_command_line_understands(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.yaml").write_text(text)
    monkeypatch.setattr(sys, "argv", ["vlmq"])
    base = ["--config", str(ROOT / "configs" / "quickstart.yaml")]
    with pytest.raises(SystemExit) as left:
        heavy.main(["fit", *base, "--config", str(tmp_path / "page.yaml"), "--print_config"])
    assert left.value.code in (0, None), capsys.readouterr().err
    read = yaml.safe_load(capsys.readouterr().out)
    for place, value in _leaves(yaml.safe_load(text)):
        found = read
        for name in place:
            found = found[name]
        assert found == value, place


def _leaves(told: dict[str, Any], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in told.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*place, name))
        else:
            yield (*place, name), value


@pytest.mark.parametrize("text", _named(_blocks("toml")))
def test_toml_on_a_page_names_a_group_that_plugins_are_found_by(text: str) -> None:
    groups = tomllib.loads(text)["project"]["entry-points"]
    assert set(groups) <= {"vlmq.envs", "vlmq.models"}
    assert all(":" in target for group in groups.values() for target in group.values())


@pytest.mark.parametrize("text", _named(_blocks("jinja")))
def test_a_chat_template_on_a_page_renders_a_conversation(text: str) -> None:
    messages = json.loads(
        '[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "act"}]},'
        ' {"role": "assistant", "content": [{"type": "text", "text": "go"}]}]'
    )
    assert Environment().from_string(text).render(messages=messages).strip() == "<image>actgo<eos>"
