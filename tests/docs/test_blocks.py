"""Every block of every page is looked at: commands and pages that lead by the hand elsewhere, all others here."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

from vlmq.api.testing import EnvContract

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
def test_yaml_on_a_page_sets_what_there_is_to_set(text: str) -> None:
    told = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    loaded = yaml.safe_load(text)
    assert set(loaded) <= {"model", "data", "trainer"}
    for section in loaded.keys() - {"trainer"}:  # Lightning's settings are not on the page
        for key in loaded[section]:
            assert f"| `{key}` |" in told, key


@pytest.mark.parametrize("text", _named(_blocks("toml")))
def test_toml_on_a_page_is_toml(text: str) -> None:
    assert tomllib.loads(text)


@pytest.mark.parametrize("text", _named(_blocks("jinja")))
def test_a_chat_template_on_a_page_renders_a_conversation(text: str) -> None:
    messages = json.loads(
        '[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "act"}]},'
        ' {"role": "assistant", "content": [{"type": "text", "text": "go"}]}]'
    )
    assert Environment().from_string(text).render(messages=messages).strip() == "<image>actgo<eos>"
