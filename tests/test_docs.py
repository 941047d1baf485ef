"""The pages "Write an environment" and "Data" are true: what they show is done, in its order, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "environments.md"
DATA = ROOT / "docs" / "data.md"
HEAVY = re.compile(r"^vlmq (fit|validate|collect)\b.*$", re.M)
"""Learning takes minutes; that these commands are understood is tested with those of the other pages."""


class Block(NamedTuple):
    """What stands between two fences, and the file that the line before them names, or ""."""

    language: str
    file: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """Every block in the order of the page."""
    for found in re.finditer(r"(?:^`([\w./-]+)`\n\n)?^```(\w*)\n(.*?)^```$", page, re.M | re.S):
        yield Block(found[2], found[1] or "", found[3])


class Reader:
    """A reader's machine: vlmq is installed in a virtual environment, and what the page installs comes on top."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv")
        self.here, self.bin = folder / "here", folder / "venv" / "bin"
        self.here.mkdir()
        (site,) = folder.glob("venv/lib/*/site-packages")
        # The libraries, and vlmq itself, are those of the running interpreter: nothing is downloaded.
        below = sysconfig.get_path("purelib")
        (site / "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")
        for name, module in {"vlmq": "vlmq.cli", "pip": "pip", "pytest": "pytest"}.items():
            (self.bin / name).write_text(f'#!/bin/sh\nexec "{self.bin}/python" -m {module} "$@"\n')
            (self.bin / name).chmod(0o755)

    def run(self, *command: str) -> str:
        """What it prints, errors included; it succeeds."""
        changed = {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it the other way round: no isolation, nothing to fetch
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "MINARI_DATASETS_PATH": str(self.here.parent / "minari"),
            "HF_HOME": str(self.here.parent / "hf"),
            "HF_HUB_OFFLINE": "1",
        }
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | changed
        done = subprocess.run(
            command,
            cwd=self.here,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-4000:]}"
        return done.stdout


def demand_shown(shown: str, printed: str, after: str) -> None:
    """Each line that the page shows was printed, in that order; `...` stands for anything."""
    lines = [re.escape(line).replace(re.escape("..."), ".*") for line in shown.splitlines()]
    wanted = r"(?:.*\n)*?".join(rf"{line}\n" for line in lines)
    assert re.search(f"^{wanted}", printed, re.M), f"{after}\nprints\n{printed}\nand not\n{shown}"


def test_whoever_does_what_the_page_says_gets_what_it_shows(tmp_path: Path) -> None:
    reader, printed, last = Reader(tmp_path), "", ""
    for language, file, text in blocks(PAGE.read_text(encoding="utf-8")):
        if language == "text":
            demand_shown(text, printed, last)
        elif file:
            assert (reader.here / file).is_file(), f"{file}: the page replaces what `vlmq new-env` wrote"
            (reader.here / file).write_text(text, encoding="utf-8")
        elif language == "python":
            (tmp_path / "block.py").write_text(text, encoding="utf-8")
            printed, last = reader.run("python", str(tmp_path / "block.py")), text
        else:
            printed, last = reader.run("bash", "-ec", HEAVY.sub("", text)), text
    assert (reader.here / "lamps-Lamps-v0.png").is_file()
    (wheel,) = (reader.here / "dist").glob("*.whl")
    assert wheel.name.startswith("vlmq_env_lamps-0.1.0")
    new = reader.here / "vlmq-env-lamps"
    for command in (["check"], ["format", "--check"]):  # in the style that its own pyproject.toml asks for
        reader.run(sys.executable, "-m", "ruff", *command, "--no-cache", str(new))


def test_whoever_does_what_the_page_on_data_says_gets_what_it_shows(tmp_path: Path) -> None:
    reader, printed, last = Reader(tmp_path), "", ""
    seen = set()
    for language, file, text in blocks(DATA.read_text(encoding="utf-8")):
        seen.add(language)
        if language == "text":
            demand_shown(text, printed, last)
        elif file:
            (reader.here / file).parent.mkdir(exist_ok=True)
            (reader.here / file).write_text(text, encoding="utf-8")
        elif language == "python":
            (tmp_path / "block.py").write_text(text, encoding="utf-8")
            printed, last = reader.run("python", str(tmp_path / "block.py")), text
        elif language == "" and "SOURCE TARGET" not in text:
            printed, last = reader.run("bash", "-ec", text), text
    assert seen == {"", "text", "json", "python", "layout"}
    made = {path.name for path in (reader.here / "runs").iterdir()}
    assert made >= {"mine", "again", "from-minari", "blackjack", "chats", "webshop", "traces", "retokenised"}


def test_the_page_holds_blocks_of_each_kind_and_none_that_nothing_looks_at() -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = list(blocks(page))
    assert len(found) * 2 == len(re.findall(r"^```", page, re.M))
    assert {block.language for block in found} == {"", "text", "python", "markdown"}
    assert all(block.file for block in found if block.language == "markdown")
    assert sum(bool(block.file) for block in found) == 4
    assert {verb for block in found for verb in re.findall(r"\bvlmq ([a-z-]+)", block.text)} >= {
        "new-env",
        "check",
        "envs",
        "fit",
    }


@pytest.mark.parametrize(("shown", "fits"), [("a\nc ...\n", True), ("c ...\na\n", False), ("b b\n", False)])
def test_what_a_page_shows_is_compared_line_by_line(shown: str, fits: bool) -> None:
    if fits:
        demand_shown(shown, "z\na\nb\nc 3.1 s\n", "")
    else:
        with pytest.raises(AssertionError):
            demand_shown(shown, "z\na\nb\nc 3.1 s\n", "")
