"""Episodes for pages, and a real Chromium to open them in; without one, tests fail under CI=true and skip elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlmq.report.seen import Alternative, SeenEpisode, SeenTurn, Token

MakeEpisode = Callable[..., SeenEpisode]


def _episode(
    *advantages: float,
    text: str = "a",
    origin: str = "own play",
    index: int = 3,
    seed: int = 7,
    success: bool = True,
    parsed: bool = True,
    shade: int = 200,
    observed: float | None = 0.5,
    turns: int = 1,
) -> SeenEpisode:
    others = [Alternative(text, -0.7, 0.5), Alternative("other", -1.2, 0.25)]
    tokens = [Token(text, a, 0.5, 0.5 - a, -0.7, alternatives=others) for a in advantages]
    image = np.full((4, 6, 3), shade, np.uint8)
    turn = SeenTurn(image, text, text, text, -1.0, parsed, True, text, tokens, observed)
    return SeenEpisode(
        origin, index, "line/Walk-v0", seed, success, False, -1.0 * turns, [turn] * turns, image, text
    )


@pytest.fixture(scope="session")
def make_episode() -> MakeEpisode:
    """make_episode(advantages of one reply's tokens, ...): one that a critic has seen."""
    return _episode


class Opened:
    """A page in the browser, with everything it complained of and asked for."""

    def __init__(self, browser: Any, file: Path, fragment: str = "", **settings: Any) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.failures: list[str] = []
        self.page = browser.new_page(**settings)
        self.page.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", lambda request: self.failures.append(request.failure))
        self.page.goto(file.as_uri() + fragment)

    @property
    def strangers(self) -> list[str]:
        """Requests for anything but the page itself and what lies inside it."""
        return [url for url in self.requests[1:] if not url.startswith("data:image/png;base64,")]


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Opened]]:
    """opened(file, fragment, **playwright's settings of a page); at the end nobody complained or asked for more."""
    all_of_them: list[Opened] = []

    def open_page(file: Path, fragment: str = "", **settings: Any) -> Opened:
        all_of_them.append(Opened(chromium, file, fragment, **settings))
        return all_of_them[-1]

    yield open_page
    for one in all_of_them:
        one.page.close()
    assert [one.complaints for one in all_of_them if one.complaints] == []
    assert [one.strangers for one in all_of_them if one.strangers] == []
