"""A task page in the browser: start an episode from a seed, look at it, click it with the real mouse."""

from __future__ import annotations

import base64
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmq.api import PluginError, UserError
from vlmq_env_miniwob.actions import AREA_HEIGHT_PX, AREA_WIDTH_PX
from vlmq_env_miniwob.browser import START_TIMEOUT_S, Browser

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

_SCRIPT = Path(__file__).with_name("page.js")
_CLIP = {"x": 0, "y": 0, "width": AREA_WIDTH_PX, "height": AREA_HEIGHT_PX, "scale": 1}
_ASIDE_PX = (480, 300)
"""A point of the window outside the task area, where the mouse touches nothing."""


class UnknownTaskError(UserError):
    """No page of this name."""


@dataclass(frozen=True)
class Element:
    """An interactive element that can be clicked now.

    Attributes:
        key: its number in order of first sight in the episode; it keeps it.
        role: ARIA role, such as "button".
        name: accessible name, shortened to 60 characters.
        box: left, top, width, height in pixels.
    """

    key: int
    role: str
    name: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class View:
    """What the page shows, and what it says of the episode.

    Attributes:
        image: uint8 of shape (210, 160, 3): the task area; None where no picture was asked for.
        raw_reward: the page's reward without its decay over time; 0 until done.
    """

    utterance: str
    elements: tuple[Element, ...]
    image: NDArray[np.uint8] | None
    done: bool
    raw_reward: float


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


class TaskPage:
    """One page of one browser, used for one episode after the other.

    All methods raise BrowserFailure where the browser does.
    """

    def __init__(self, browser: Browser, file: Path, *, pictures: bool) -> None:
        self._browser = browser
        self._tab = browser.run(
            "opening the page", lambda context: _Tab(context, file, pictures=pictures), START_TIMEOUT_S
        )

    def start(self, page_seed: int) -> View:
        """Begin the episode that the seed determines."""
        tab, ready_timeout_s = self._tab, self._browser.timeout_s
        return self._browser.run("starting an episode", lambda _: tab.start(page_seed, ready_timeout_s))

    def look(self) -> View:
        """What the page shows now."""
        tab = self._tab
        return self._browser.run("looking at the page", lambda _: tab.look())

    def click_at(self, x: float, y: float) -> None:
        """Press and release the mouse at a point of the task area, in pixels."""
        tab = self._tab
        self._browser.run("clicking", lambda _: tab.click_at(x, y))

    def click_element(self, key: int) -> bool:
        """Click an uncovered point of the element; False, and no click, where it has none or is gone."""
        tab = self._tab
        return self._browser.run("clicking an element", lambda _: tab.click_element(key))


class _Tab:
    """The browser thread's side of a `TaskPage`."""

    def __init__(self, context: BrowserContext, file: Path, *, pictures: bool) -> None:
        context.add_init_script(path=_SCRIPT)
        self.page = context.pages[0] if context.pages else context.new_page()
        context.on("page", lambda popup: popup.close())
        self.page.goto(file.as_uri(), timeout=START_TIMEOUT_S * 1000)
        self._devtools = context.new_cdp_session(self.page)
        self._pictures = pictures
        self._mouse_inside = False

    def start(self, page_seed: int, ready_timeout_s: float) -> View:
        if self._mouse_inside:
            # Left where it was, the last episode's mouse would shade this one's picture.
            self.page.mouse.move(*_ASIDE_PX)
            self._mouse_inside = False
        # A JavaScript number holds 53 bits; a longer seed travels as text.
        seed = page_seed if page_seed < 2**53 else str(page_seed)
        report = self.page.evaluate("seed => vlmqPage.start(seed)", seed)
        if report["ready"]:
            return self._view(report)
        self.page.wait_for_function("() => WOB_TASK_READY", timeout=ready_timeout_s * 1000)
        return self.look()

    def look(self) -> View:
        return self._view(self.page.evaluate("() => vlmqPage.look()"))

    def click_at(self, x: float, y: float) -> None:
        self._mouse_inside = True
        self.page.mouse.click(x, y)

    def click_element(self, key: int) -> bool:
        point = self.page.evaluate("key => vlmqPage.pointOf(key)", key)
        if point is None:
            return False
        self.click_at(float(point[0]), float(point[1]))
        return True

    def _view(self, report: dict[str, Any]) -> View:
        return View(
            utterance=str(report["utterance"]),
            elements=tuple(_element(each) for each in report["elements"]),
            image=self._picture() if self._pictures else None,
            done=bool(report["done"]),
            raw_reward=float(report["rawReward"]),
        )

    def _picture(self) -> NDArray[np.uint8]:
        wish = {"format": "png", "clip": _CLIP, "optimizeForSpeed": True}
        reply = self._devtools.send("Page.captureScreenshot", wish)
        with Image.open(io.BytesIO(base64.b64decode(reply["data"]))) as picture:
            return np.array(picture.convert("RGB"), dtype=np.uint8)


def page_file(task: str) -> Path:
    """The HTML file of a task.

    Raises:
        PluginError: the package of pages is not installed.
        UnknownTaskError: it has no such page.
    """
    folder = find_pages() / "miniwob"
    file = folder / f"{task}.html"
    if not task.replace("-", "").isalnum() or not file.is_file():
        raise UnknownTaskError(f"task={task!r} is not a MiniWoB page; click-test-2, for instance, is one.")
    return file


def _element(report: dict[str, Any]) -> Element:
    left, top, width, height = map(float, report["box"])
    return Element(int(report["key"]), str(report["role"]), str(report["name"]), (left, top, width, height))
