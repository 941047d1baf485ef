"""Makes helper modules importable, the tiny models of other families among them, and keeps one dataset."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "model"))

from small_run import SmallRun, write_config


@pytest.fixture(scope="session")
def small(tiny_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """A configuration that learns nothing in seconds, with its dataset; nobody writes into that."""
    folder = tmp_path_factory.mktemp("small")
    small = SmallRun(write_config(folder / "config.yaml", tiny_directory), folder)
    assert small.vlmq("collect", folder / "making_the_dataset") == 0
    return small


@pytest.fixture(scope="session")
def trained(small: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run from start to end, to look at."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert small.vlmq("fit", folder) == 0
    return folder
