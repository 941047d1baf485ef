"""The file of a page: whole or not written, escaped, self-contained, every picture once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlmq.api import UserError
from vlmq.report.charts import Chart, Series
from vlmq.report.embed import safe_json
from vlmq.report.page import Head, write_page
from vlmq.report.results import Row
from vlmq.report.seen import SeenEpisode

HOSTILE = '<script>alert("x")</script>&\'"</span><!-- --><![CDATA[ \u2028\u2029 {{style}} \\u003c \udc80'
MakeEpisode = Callable[..., SeenEpisode]


class _Reader(HTMLParser):
    """What the file holds: tags that are open at the end, links, scripts that would run, data by id."""

    VOID = ("meta", "img", "input", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.policy = ""
        self.code: list[str] = []
        self.data: dict[str, str] = {}
        self._into: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""
        if tag == "script":
            self._into = values.get("id") or ""
            if values.get("type") is None:
                self.code.append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_data(self, data: str) -> None:
        if self._into:
            self.data[self._into] = self.data.get(self._into, "") + data
        elif self._into == "":
            self.code[-1] += data

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self._into = None


def _read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader


def _page(path: Path, episodes: list[SeenEpisode], head: Head | None = None, **settings: Any) -> _Reader:
    assert write_page(path, head or Head("run", margin=0.0), episodes, **settings) == len(episodes)
    return _read(path.read_text(encoding="utf-8"))


def test_what_an_episode_says_comes_back_and_stays_data(tmp_path: Path, make_episode: MakeEpisode) -> None:
    seen = _page(tmp_path / "a.html", [make_episode(0.1, text=HOSTILE, origin=HOSTILE)], Head(HOSTILE))
    assert seen.open == []
    assert len(seen.code) == 1, "our own, and no other"
    (turn,) = json.loads(seen.data["e0"])["turns"]
    assert turn["prompt"] == turn["reply"] == turn["action"] == turn["tokens"][0][0] == HOSTILE
    assert json.loads(seen.data["summary"])["episodes"][0]["origin"] == HOSTILE


@pytest.mark.parametrize("text", [HOSTILE, "</script", "<!--<script>", "]]>", "\u2028", "é", "\ud800"])
def test_embedded_json_holds_nothing_that_html_reads(text: str) -> None:
    told = safe_json({text: [text, 0.5, float("nan"), float("inf")]})
    assert told.isascii()
    assert not re.search("[<>&]", told)
    assert json.loads(told) == {text: [text, 0.5, None, None]}


def test_nothing_is_fetched_and_nothing_could_be(tmp_path: Path, make_episode: MakeEpisode) -> None:
    row = Row.from_counts("afsft", successes=3, episodes=4, episode_return=0.5, syntax=1.0, seed=1)
    chart = Chart("Success", "of all", [Series("one", [(0.0, 0.5), (1.0, 0.75)])])
    file = tmp_path / "a.html"
    seen = _page(file, [make_episode(0.0)], Head("run", rows=[row], charts=[chart]))
    assert seen.sources == []
    text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\(", text)
    rules = dict(rule.strip().split(" ", 1) for rule in seen.policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["script-src"].startswith("'sha256-")
    assert rules["style-src"].startswith("'sha256-")


def test_the_script_never_makes_html_of_text() -> None:
    scripts = [f for f in (files("vlmq.report") / "static").iterdir() if f.name.endswith(".js")]
    assert len(scripts) > 3
    for script in scripts:
        made = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|fetch\(|XMLHttp"
        assert not re.search(made, script.read_text(encoding="utf-8")), script.name


def test_a_picture_stands_in_the_page_once_however_often_it_is_seen(
    tmp_path: Path, make_episode: MakeEpisode
) -> None:
    seen = _page(
        tmp_path / "a.html",
        [
            make_episode(0.1, turns=3),
            make_episode(0.1),
            make_episode(0.2, shade=9),
            replace(make_episode(), turns=[]),
        ],
    )
    assert sorted(name for name in seen.data if name[0] in "pt") == ["p0", "p1"]
    turns = json.loads(seen.data["e0"])["turns"] + json.loads(seen.data["e2"])["turns"]
    assert [turn["image"] for turn in turns] == [0, 0, 0, 1]


def test_a_large_picture_has_a_thumbnail_and_is_shrunk_which_the_page_says(
    tmp_path: Path, make_episode: MakeEpisode
) -> None:
    episode = make_episode(0.1)
    turn = replace(episode.turns[0], image=np.random.default_rng(0).integers(0, 9, (900, 1600, 3), np.uint8))
    seen = _page(tmp_path / "a.html", [replace(episode, turns=[turn])])
    assert {"p0", "t0", "p1"} <= set(seen.data)
    assert len(seen.data["t0"]) < len(seen.data["p0"]) / 10
    assert json.loads(seen.data["summary"])["notes"] == ["1 pictures are shrunk to 800 pixels."]


def test_pictures_without_room_are_left_out_which_the_page_says(
    tmp_path: Path, make_episode: MakeEpisode
) -> None:
    episodes = [make_episode(0.1, shade=shade) for shade in (1, 2, 1)]
    once = len(_page(tmp_path / "a.html", episodes).data["p0"])
    seen = _page(tmp_path / "b.html", episodes, picture_bytes=once)
    assert [json.loads(seen.data[f"e{n}"])["turns"][0]["image"] for n in range(3)] == [0, -2, 0]
    assert "1 pictures are left out" in json.loads(seen.data["summary"])["notes"][0]


def test_a_page_that_fails_leaves_the_old_one(tmp_path: Path, make_episode: MakeEpisode) -> None:
    def broken() -> Iterator[SeenEpisode]:
        yield make_episode(0.1)
        raise ValueError("no more")

    file = tmp_path / "a.html"
    file.write_text("old")
    with pytest.raises(ValueError, match="no more"):
        write_page(file, Head("run"), broken())
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written .*--out"):
        write_page(tmp_path / "nowhere" / "a.html", Head("run"), [])


def test_the_list_knows_what_an_episode_is_filtered_by(tmp_path: Path, make_episode: MakeEpisode) -> None:
    episode = make_episode(0.1, -0.4, 0.2, parsed=False, success=False, observed=0.75, turns=2)
    silent = replace(episode, turns=[replace(turn, tokens=()) for turn in episode.turns])
    seen = _page(tmp_path / "a.html", [episode, silent])
    row, bare = json.loads(seen.data["summary"])["episodes"]
    assert (row["unparsed"], row["refused"], row["success"], row["turns"]) == (2, 0, False, 2)
    assert row["advantage"] == -0.4, "the largest by size"
    assert row["gap"] == 0.25, "|Q - observed| = |0.5 - 0.75| at each turn"
    assert (bare["advantage"], bare["gap"]) == (None, None)
