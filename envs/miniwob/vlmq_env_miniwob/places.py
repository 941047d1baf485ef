"""Where a task's page lies, how large it is, and whether the task is played in a frame of it."""

from __future__ import annotations

import importlib.util
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vlmq.api import PluginError, UserError
from vlmq_env_miniwob import FLIGHTS

SITE = "https://miniwob.invalid/"
"""Where the pages with frames seem to lie: one of a `file:` address may not speak with its frame. The host is none."""


class UnknownTaskError(UserError):
    """No page of this name."""


@dataclass(frozen=True)
class Area:
    """The size in pixels of what an agent sees, at the top left of the browser's window, and of that window."""

    width_px: int
    height_px: int
    window_width_px: int
    window_height_px: int


TASK_AREA = Area(160, 210, 500, 320)
FLIGHT_AREA = Area(375, 667, 600, 800)


@dataclass(frozen=True)
class Place:
    """A task's page.

    Attributes:
        address: of the HTML file, for the browser.
        framed: whether the task is played in the page's frame, which every episode loads anew.
    """

    address: str
    framed: bool

    @property
    def area(self) -> Area:
        """What is seen of it."""
        return FLIGHT_AREA if self.framed else TASK_AREA


def find_pages() -> Path:
    """The folder of HTML files that the `miniwob` package ships, found without importing it.

    Importing it would load Selenium and register ids equal to ours with gymnasium.

    Raises:
        PluginError: the package is not installed.
    """
    spec = importlib.util.find_spec("miniwob")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (pages := Path(folder) / "html").is_dir():
            return pages
    raise PluginError("The MiniWoB pages are missing: install them with `pip install miniwob==1.1.0`.")


def place_of(task: str) -> Place:
    """Where a task's page lies.

    Raises:
        PluginError: the package of pages is not installed.
        UnknownTaskError: it has no such page.
    """
    pages = find_pages()
    framed = task.startswith(FLIGHTS)
    name = task.removeprefix(FLIGHTS)
    part = f"flight/{name}/wrapper.html" if framed else f"miniwob/{name}.html"
    if not name.replace("-", "").isalnum() or not (pages / part).is_file():
        raise UnknownTaskError(f"task={task!r} is not a MiniWoB page; click-test-2, for instance, is one.")
    return Place(SITE + part if framed else (pages / part).as_uri(), framed)


def served(address: str, pages: Path) -> tuple[bytes, str] | None:
    """What an address of `SITE` holds, and its media type; None where it holds nothing."""
    file = (pages / unquote(urlsplit(address).path).lstrip("/")).resolve()
    if not file.is_relative_to(pages.resolve()) or not file.is_file():
        return None
    return file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream"
