"""`vlmq data` and `vlmq configs`: recorded episodes, and the configurations that ship."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmq import configs
from vlmq.data.store import EpisodeStore

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


def own(path: Path, *replies: str) -> str:
    turns = [{"text": "Climb.", "reply": reply, "reward": 0.5} for reply in replies]
    path.write_text(json.dumps({"env": "oak/Tree-v0", "success": True, "turns": turns}) + "\n")
    return str(path)


def test_convert_goes_out_and_comes_back_and_says_what_it_did(vlmq: Vlmq, tmp_path: Path) -> None:
    store, out = str(tmp_path / "store"), str(tmp_path / "out.jsonl")
    done = vlmq("data", "convert", own(tmp_path / "own.jsonl", "up", "down"), store)
    assert done.out.startswith("jsonl -> store: 1 episode (1 succeeded), 2 turns, 0 pictures\n")
    assert (
        vlmq("data", "convert", store, out).out
        == "store -> jsonl: 1 episode (1 succeeded), 2 turns, 0 pictures\n"
    )
    again = vlmq("data", "convert", out, str(tmp_path / "again"), "--from", "jsonl", "--to", "store")
    assert again.code == 0
    assert "already" in vlmq("data", "convert", out, store).wrong


def test_convert_takes_what_others_files_do_not_say(vlmq: Vlmq, tmp_path: Path) -> None:
    said = [{"from": "human", "value": "Climb."}, {"from": "gpt", "value": '{"n": 1, "action": "up"}'}]
    (tmp_path / "a.json").write_text(json.dumps([{"id": "1", "conversations": said}]))
    source, store = str(tmp_path / "a.json"), str(tmp_path / "store")
    assert "--success yes" in vlmq("data", "convert", source, store).wrong
    options = ["--success", "no", "--env", "oak/Tree-v0", "--rewrite", "json"]
    done = vlmq("data", "convert", source, store, *options)
    assert "llava -> store: 1 episode (0 succeeded)" in done.out
    assert "replies rewritten as json: 1" in done.out
    with EpisodeStore.open(store) as opened:
        assert (opened[0].env_id, opened[0].turns[0].reply) == ("oak/Tree-v0", '{"action": "up"}')


def test_lint_answers_with_exit_code_2_where_something_is_wrong(vlmq: Vlmq, tmp_path: Path) -> None:
    path = own(tmp_path / "own.jsonl", "up")
    done = vlmq("data", "lint", path)
    assert (done.code, done.out) == (0, f"{path} (jsonl): 1 sound episode; nothing is wrong\n")
    (tmp_path / "own.jsonl").write_text("{not json}\n")
    done = vlmq("data", "lint", path)
    assert (done.code, done.err) == (2, "")
    assert "wrong field: " in done.out


def test_stats_are_tables_of_what_was_recorded(vlmq: Vlmq, tmp_path: Path) -> None:
    vlmq("data", "convert", own(tmp_path / "own.jsonl", "up", "up", "down"), str(tmp_path / "store"))
    done = vlmq("data", "stats", str(tmp_path / "store"))
    words = [line.split() for line in done.out.splitlines()]
    assert ["oak/Tree-v0", "1", "3", "100.0", "%", "20.7", "-", "100.0", "1.50", "100.0", "%"] in words
    assert ["up", "2", "66.7", "%"] in words
    assert ["turns", "an", "episode", "3", "3", "3", "3", "3"] in words
    assert ["none", "3", "100.0", "%"] in words


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("data info nowhere", "nowhere"),
        ("data stats nowhere", "nowhere"),
        ("data stats", "takes one folder"),
        ("data lint nowhere", "there is no such file or folder"),
        ("data lint", "takes one store, file or dataset"),
        ("data convert a", "takes a source and a target"),
        ("data convert a b --form x", "did you mean --from?"),
        ("data convert a b --from nonsense", "choose one of store, jsonl, hf, minari, llava"),
        ("data convert a b --to llava", "choose one of store, jsonl, hf, minari"),
        ("data convert a b --success maybe", "--success is 'maybe'; give one of yes, no"),
        ("data convert nowhere b", "there is no such file or folder"),
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
