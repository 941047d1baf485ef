"""Style and types of all code: the same commands as `make lint`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def _run(root: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"


def test_ruff_finds_nothing(root: Path) -> None:
    _run(root, "ruff", "check", "--output-format=concise", ".")


def test_code_is_formatted(root: Path) -> None:
    _run(root, "ruff", "format", "--check", ".")


def test_types_hold_under_mypy_strict(root: Path) -> None:
    _run(root, "mypy")


def test_every_package_of_ours_is_type_checked(root: Path, files: list[Path]) -> None:
    # A package that the patterns of [tool.mypy] miss would be checked by nobody.
    from mypy.main import process_options

    sources, _ = process_options([], fscache=None)
    checked = {Path(source.path).resolve() for source in sources if source.path}
    ours = {
        (root / path).resolve()
        for path in files
        if path.suffix == ".py" and any(part.startswith("vlmq") for part in path.parts[:-1])
    }
    assert ours
    assert sorted(ours - checked) == []


def test_shapes_in_signatures_are_checked_while_testing() -> None:
    import torch
    from jaxtyping import TypeCheckError

    from vlmq.loss.filters import always

    assert always(torch.zeros(3)).shape == (3,)
    with pytest.raises(TypeCheckError):
        always(torch.zeros(2, 3))


@pytest.fixture(autouse=True)
def _at_the_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
