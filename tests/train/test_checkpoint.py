"""A checkpoint is there whole or not at all, and a damaged one is never taken for a good one."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vlmq.api import DataError, ModelError
from vlmq.train import checkpoint, folder


def content(number: int) -> dict[str, Any]:
    return {"vlmq": {"number": number}, "weights": torch.arange(5000.0) + number, "few": torch.ones(3)}


def written(path: Path, number: int) -> Path:
    checkpoint.write(content(number), path)
    return path


def number_of(path: Path) -> int:
    return int(checkpoint.read(path)["vlmq"]["number"])


@pytest.fixture
def last(tmp_path: Path) -> Path:
    return tmp_path / checkpoint.FOLDER / checkpoint.LAST


def test_the_one_before_the_last_stays(last: Path) -> None:
    for number in range(3):
        written(last, number)
    assert number_of(last) == 2
    assert number_of(last.with_name(checkpoint.PREVIOUS)) == 1
    assert sorted(path.name for path in last.parent.iterdir()) == [checkpoint.LAST, checkpoint.PREVIOUS]


def test_others_are_replaced(tmp_path: Path) -> None:
    for number in range(3):
        written(tmp_path / "best.ckpt", number)
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]


def test_a_flipped_bit_anywhere_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "one.ckpt", 1)
    whole = path.read_bytes()
    chance = np.random.default_rng(0)
    places = {*range(0, 2000, 3), *range(len(whole) - 1500, len(whole), 3)}
    places |= set(chance.integers(0, len(whole), 500).tolist())
    noticed = 0
    for place in sorted(places):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(chance.integers(8))
        path.write_bytes(changed)
        try:
            seen = checkpoint.read(path)
        except ModelError:
            noticed += 1
            continue
        assert seen["vlmq"] == {"number": 1}
        assert torch.equal(seen["weights"], content(1)["weights"])
        assert torch.equal(seen["few"], torch.ones(3))
    assert noticed > 0.5 * len(places)


def test_one_cut_short_anywhere_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "one.ckpt", 1)
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        assert not checkpoint.is_intact(path)


def test_last_is_the_one_before_it_where_it_is_damaged_or_gone(
    last: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(last, 1)
    written(last, 2)
    assert checkpoint.find("last", tmp_path) == last
    assert capsys.readouterr().err == ""
    previous = last.with_name(checkpoint.PREVIOUS)
    last.write_bytes(last.read_bytes()[:-100])
    assert checkpoint.find("last", tmp_path) == previous
    said = capsys.readouterr().err
    assert said == f"{last} is truncated or damaged: the one before it, {previous}, is used instead.\n"
    assert checkpoint.find(str(last), tmp_path) == last, "one that is named is the one that is meant"
    last.unlink()
    assert checkpoint.find("last", tmp_path) == previous
    assert "is missing" in capsys.readouterr().err


def test_a_damaged_one_never_takes_the_place_of_a_good_one(last: Path, tmp_path: Path) -> None:
    written(last, 1)
    written(last, 2)
    last.write_bytes(b"half")
    assert checkpoint.put_back(checkpoint.find("last", tmp_path)) == last
    assert number_of(last) == 1
    assert last.with_name("damaged.ckpt").read_bytes() == b"half"
    written(last, 3)
    assert number_of(last.with_name(checkpoint.PREVIOUS)) == 1


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("freeze_vision", True, "true"),
        ("lora", {"rank": 4}, '{"rank": 4}'),
        ("dtype", "bfloat16", "bfloat16"),
    ],
)
def test_one_that_was_trained_otherwise_is_not_gone_on_from(name: str, value: object, shown: str) -> None:
    settings = {"freeze_vision": False, "lora": None, "dtype": "float32", "max_reply": 8}
    made = {"vlmq": {"settings": settings}}
    checkpoint.check_trains(made, {**settings, "max_reply": 9})
    with pytest.raises(ModelError) as said:
        checkpoint.check_trains(made, {**settings, name: value})
    assert f"trained with model.{name} " in str(said.value)
    assert f"but it is {shown} now; resume with what" in str(said.value)


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond `num_bytes`, as if the disk were full there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 100, 10_000, 20_000])
def test_a_full_disk_is_one_sentence_and_the_one_before_is_intact(last: Path, room: int) -> None:
    written(last, 1)
    with largest_file(room), pytest.raises(DataError, match=r"last\.ckpt: there is no room to write"):
        written(last, 2)
    assert number_of(last) == 1
    assert [path.name for path in last.parent.iterdir()] == [checkpoint.LAST]


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    lock = folder.Lock(tmp_path / "run")
    with pytest.raises(DataError, match=r"process \d+ on \S* ?is training in this folder"):
        folder.Lock(tmp_path / "run")
    lock.release()
    folder.Lock(tmp_path / "run").release()


def test_a_file_in_the_place_of_a_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(Exception, match="a file is in the way"):
        folder.Lock(tmp_path / "run")
