"""Test fixture: the commands that README, documentation and headers of the configurations show to people."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlmq.train import cli as heavy

ROOT = Path(__file__).resolve().parents[2]
PROSE = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
    *sorted(ROOT.glob("envs/*/README.md")),
]
HEAVY = ("fit", "validate", "collect")


def blocks(path: Path, *languages: str) -> Iterator[str]:
    """What stands between a fence that opens with one of these words and the fence that closes it."""
    opened, lines = None, []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("```"):
            lines.append(line)
        elif opened is None:
            opened, lines = line.removeprefix("```").strip(), []
        else:
            if opened in languages:
                yield "\n".join(lines)
            opened = None


def _indented(path: Path) -> str:
    """The commands of blocks that are set off by four spaces rather than by fences."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return "\n".join(re.findall(r"^    (vlmq (?:.*\\\n)*.*)$", prose, re.M))


def commands(text: str) -> Iterator[list[str]]:
    """Each `vlmq ...` of a text, joined where it is broken over lines, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if words[:1] == ["vlmq"]:
                yield words[1:]


# A command that several pages show is asked about once.
SHOWN = {
    tuple(words): f"{path.parent.name}/{path.name}: {' '.join(words)}"[:90]
    for path in reversed(PROSE)
    for block in (*blocks(path, "", "bash", "sh", "console"), _indented(path))
    for words in commands(block)
}


def with_our_files(words: list[str]) -> list[str]:
    """A command's words, with the quickstart where a reader names a file of his own."""
    his = "...", "my.", "mine.", "runs/mine", "RUN/"
    ours = str(ROOT / "configs" / "quickstart.yaml")
    return [
        ours if word == "..." or (word.endswith(".yaml") and word.startswith(his)) else word for word in words
    ]


def parsed(arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The configuration that the real command line makes of it; nothing is run."""
    monkeypatch.setattr(sys, "argv", ["vlmq"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        heavy.main([*arguments, "--print_config"])
    assert left.value.code in (0, None), capsys.readouterr().err
    return capsys.readouterr().out
