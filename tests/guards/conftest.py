"""What the guards look at: the files of the checkout that git tracks or would track."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """Relative paths of every file of the project."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    found = [Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert len(found) > 20
    return found


@pytest.fixture(scope="session")
def texts(files: list[Path]) -> dict[Path, str]:
    """The text of every file that is text."""
    texts = {}
    for path in files:
        data = (ROOT / path).read_bytes()
        if b"\0" not in data[:8192]:
            texts[path] = data.decode("utf-8")
    return texts
