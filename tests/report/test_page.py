"""The episode page: self-contained, escaped, and honest about what the filter leaves out."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from vlmq.report.page import SeenEpisode, SeenTurn, Token, page
from vlmq.report.plots import Point, learning_curve
from vlmq.report.results import Row

HOSTILE = '<script>alert("x")</script>&\'"</span>'


def _episode(*advantages: float, text: str = "a", success: bool = True) -> SeenEpisode:
    tokens = [Token(text, advantage, 0.5, 0.5 - advantage, -0.7) for advantage in advantages]
    image = np.full((4, 6, 3), 200, np.uint8)
    turn = SeenTurn(image, text, tokens, text, -1.0, True, text)
    return SeenEpisode(text, 3, success, -1.0, [turn])


class _Reader(HTMLParser):
    """What the page holds: tags that are open at the end, links, scripts, struck-out tokens."""

    VOID = ("meta", "img", "input", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.scripts = 0
        self.tokens: list[tuple[float, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.scripts += tag == "script"
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if "data-a" in values:
            self.tokens.append((float(values["data-a"] or "nan"), "out" in (values["class"] or "").split()))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    return reader


def test_what_an_episode_says_stays_text() -> None:
    told = page(HOSTILE, [_episode(0.1, -0.1, text=HOSTILE)], margin=-0.03)
    seen = _read(told)
    assert seen.open == []
    assert seen.scripts == 1, "our own, and no other"
    assert HOSTILE not in told


def test_nothing_is_fetched(tmp_path: Path) -> None:
    curve = tmp_path / "curve.png"
    learning_curve([Point(1, 0.5, 0.4, 0.6, "p"), Point(2, 0.7, 0.6, 0.8, "p")], curve, title="t")
    row = Row.from_counts("afsft", successes=3, episodes=4, episode_return=0.5, syntax=1.0, seed=1)
    told = page("run", [_episode(0.0)], margin=0.0, rows=[row], curve=curve)
    sources = _read(told).sources
    assert len(sources) == 2, "the curve and one picture"
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?://|@import|url\(", told)
    assert "75.0 %" in told


@pytest.mark.parametrize("margin", [-0.2, 0.0])
def test_tokens_at_or_below_the_margin_are_struck_out(margin: float) -> None:
    advantages = (-0.3, -0.2, -0.1, 0.0, 0.2)
    tokens = _read(page("run", [_episode(*advantages)], margin=margin)).tokens
    assert tokens == [(a, a <= margin) for a in advantages]


def test_a_token_with_less_slack_is_struck_out_sooner() -> None:
    episode = _episode(-0.1, -0.1)
    (turn,) = episode.turns
    turn = replace(turn, tokens=[replace(turn.tokens[0], slack=0.4), turn.tokens[1]])
    tokens = _read(page("run", [replace(episode, turns=[turn])], margin=-0.2)).tokens
    assert tokens == [(-0.1, True), (-0.1, False)]


def test_a_page_without_episodes_says_so() -> None:
    assert "no episodes" in page("run", [], margin=0.0)


def test_the_first_episode_of_each_origin_is_open() -> None:
    told = page("run", [_episode(0.1, text=name) for name in ("own", "own", "data", "data")], margin=0.0)
    opened = [part.partition(">")[0].endswith(" open") for part in told.split("<details")[1:]]
    assert opened == [True, False, True, False]
