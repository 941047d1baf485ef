"""Recorded episodes on a page: a store, some of it, one episode, two stores, a JSONL file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlmq.api import DataError, Episode, Observation, Turn, UserError
from vlmq.data.jsonl import write_jsonl
from vlmq.data.store import EpisodeStore
from vlmq.report.browse import write_recorded


def _episode(index: int, *, seed: int | None = None) -> Episode:
    seen = Observation(f"look {index}", np.full((8, 8, 3), index % 250, np.uint8))
    turn = Turn(seen, f"reply {index}", "go", 1.0, parsed=index % 3 > 0, source="random")
    return Episode(
        "a/B-v0",
        index if seed is None else seed,
        (turn, turn),
        seen,
        True,
        False,
        index % 2 == 0,
        index=index,
    )


def _store(path: Path, episodes: list[Episode]) -> Path:
    with EpisodeStore.create(path, {"env": "a/B-v0"}) as store:
        store.append_many(episodes)
    return path


def _listed(page: Path) -> list[dict[str, Any]]:
    found = re.search('<script type="application/json" id="summary">(.*)</script>', page.read_text("utf-8"))
    assert found
    rows: list[dict[str, Any]] = json.loads(found[1])["episodes"]
    return rows


def test_a_stores_page_lies_in_it_and_the_store_stays_what_it_was(tmp_path: Path) -> None:
    store = _store(tmp_path / "mine", [_episode(index) for index in range(5)])
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    page = write_recorded(store, episodes=1000)
    assert page == store / "report.html"
    rows = _listed(page)
    assert [(row["origin"], row["index"]) for row in rows] == [("mine", index) for index in range(5)]
    assert [row["unparsed"] for row in rows] == [2, 0, 0, 2, 0]
    assert {path.name: path.read_bytes() for path in store.iterdir() if path != page} == before
    assert len(EpisodeStore.open(store)) == 5


def test_fewer_are_spread_over_the_store(tmp_path: Path) -> None:
    store = _store(tmp_path / "mine", [_episode(index) for index in range(9)])
    assert [row["index"] for row in _listed(write_recorded(store, episodes=3))] == [0, 4, 8]


def test_single_episodes_are_shown_by_index(tmp_path: Path) -> None:
    store = _store(tmp_path / "mine", [_episode(index) for index in (3, 7, 5)])
    rows = _listed(write_recorded(store, episodes=9, indices=[5, 3]))
    assert [row["index"] for row in rows] == [5, 3]
    with pytest.raises(UserError, match="holds no episode 4; it has 3 to 7"):
        write_recorded(store, episodes=9, indices=[4])


def test_two_stores_stand_side_by_side_under_names_that_tell_them_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _store(tmp_path / name / "dataset", [_episode(0, seed=7)])
    one, two = tmp_path / "one" / "dataset", tmp_path / "two" / "dataset"
    rows = _listed(write_recorded(one, episodes=9, against=two, out=tmp_path / "a.html"))
    assert [row["origin"] for row in rows] == [str(one), str(two)]
    assert {row["seed"] for row in rows} == {7}


def test_a_jsonl_file_is_shown_beside_itself(tmp_path: Path) -> None:
    store = _store(tmp_path / "mine", [_episode(index) for index in range(4)])
    file = tmp_path / "said.jsonl"
    write_jsonl(EpisodeStore.open(store), file)
    page = write_recorded(file, episodes=3)
    assert page == tmp_path / "said.html"
    assert [row["turns"] for row in _listed(page)] == [2, 2, 2]
    with pytest.raises(UserError, match="vlmq data import"):
        write_recorded(file, episodes=3, indices=[0])


def test_a_line_that_is_wrong_is_named_and_no_page_is_left(tmp_path: Path) -> None:
    file = tmp_path / "said.jsonl"
    file.write_text('{"env": "a/B-v0"}\n')
    with pytest.raises(DataError, match="said.jsonl"):
        write_recorded(file, episodes=3)
    assert list(tmp_path.iterdir()) == [file]


def test_a_damaged_picture_is_one_sentence_and_the_old_page_stays(tmp_path: Path) -> None:
    store = _store(tmp_path / "mine", [_episode(1)])
    page = write_recorded(store, episodes=1)
    old = page.read_bytes()
    images = store / "images.bin"
    content = bytearray(images.read_bytes())
    content[-20] ^= 1
    images.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        write_recorded(store, episodes=1)
    assert page.read_bytes() == old


def test_an_empty_store_has_a_page(tmp_path: Path) -> None:
    assert _listed(write_recorded(_store(tmp_path / "mine", []), episodes=5)) == []


def test_an_episode_without_pictures_or_end_is_shown(tmp_path: Path) -> None:
    seen = Observation("told only")
    bare = replace(_episode(0), turns=(Turn(seen, "", "", 0.0, parsed=False),), final_observation=None)
    (row,) = _listed(write_recorded(_store(tmp_path / "mine", [bare]), episodes=5))
    assert (row["picture"], row["unparsed"]) == (-1, 1)
