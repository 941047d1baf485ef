"""`vlmq data` and `vlmq configs`: recorded episodes, and the configurations that ship."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmq import configs

Vlmq = Callable[..., Any]


def test_data_import_makes_a_store_that_data_info_describes(vlmq: Vlmq, tmp_path: Path) -> None:
    episode = {
        "env": "oak/Tree-v0",
        "success": True,
        "turns": [{"text": "Climb.", "reply": "up", "action": "up", "reward": 0.5}],
    }
    failed = {**episode, "success": False}
    lines = "".join(json.dumps(line) + "\n" for line in (episode, episode, failed, failed))
    (tmp_path / "own.jsonl").write_text(lines)
    done = vlmq("data", "import", str(tmp_path / "own.jsonl"), str(tmp_path / "store"))
    assert done.code == 0, done.err
    described = vlmq("data", "info", str(tmp_path / "store")).out
    assert described in done.out + "\n"
    facts = dict(line.split(maxsplit=1) for line in described.splitlines()[2:])
    assert facts["episodes"] == "4"
    assert facts["success"].startswith("50.0 % [15.0 - 85.0]")
    assert facts["return"] == "0.50"


def test_a_broken_line_of_the_users_file_is_one_sentence(vlmq: Vlmq, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("{not json}\n")
    assert "own.jsonl" in vlmq("data", "import", str(tmp_path / "own.jsonl"), str(tmp_path / "store")).wrong
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("data info nowhere", "nowhere"),
        ("data info", "takes one folder"),
        ("data import only-one", "takes a JSONL file and the folder to make"),
        ("data inof x", "did you mean `vlmq data info`?"),
        ("configs show no-such-thing", "no-such-thing"),
        ("configs show", "takes one name"),
        ("configs copy", "takes a name"),
        ("configs list all", "takes no argument"),
    ],
)
def test_wrong_input_is_one_sentence(vlmq: Vlmq, args: str, said: str) -> None:
    assert said in vlmq(*args.split()).wrong


def test_configs_are_listed_shown_and_copied(vlmq: Vlmq) -> None:
    name = configs.names()[0]
    assert f"\n{name} " in vlmq("configs").out
    assert vlmq("configs", "show", name).out == configs.read(name)
    assert "wrote mine.yaml" in vlmq("configs", "copy", name, "mine.yaml").out
    assert Path("mine.yaml").read_text(encoding="utf-8") == configs.read(name)
