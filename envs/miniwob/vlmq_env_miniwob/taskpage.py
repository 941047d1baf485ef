"""A task page in the browser: start an episode from a seed, look at it, act on it with real mouse and keyboard."""

from __future__ import annotations

import base64
import importlib.util
import io
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmq.api import PluginError, UserError
from vlmq_env_miniwob.acting import ASIDE_PX, SETTLED, act
from vlmq_env_miniwob.actions import AREA_HEIGHT_PX, AREA_WIDTH_PX, Call
from vlmq_env_miniwob.browser import START_TIMEOUT_S, Browser
from vlmq_env_miniwob.view import View, view_of

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

_SCRIPT = Path(__file__).with_name("page.js")
_CLIP = {"x": 0, "y": 0, "width": AREA_WIDTH_PX, "height": AREA_HEIGHT_PX, "scale": 1}
_MOST_TABS = 16


class UnknownTaskError(UserError):
    """No page of this name."""


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
    """One page of one browser, used for one episode after the other; it may turn to another task in between.

    A page stays open in a tab of its own when it turns to another: coming back takes a hundredth of the time that
    loading it takes. All methods raise BrowserFailure where the browser does.
    """

    def __init__(self, browser: Browser, file: Path, *, pictures: bool) -> None:
        self.browser = browser
        self._pictures = pictures
        self._tabs: OrderedDict[Path, _Tab] = OrderedDict()
        self.turn_to(file)

    @property
    def alive(self) -> bool:
        """Whether calls may still be made."""
        return self.browser.alive

    def rest(self) -> None:
        """The episode is over: nothing is asked until the next one."""
        self.browser.rest()

    def close(self) -> None:
        """End the browser."""
        self.browser.close()

    @property
    def _tab(self) -> _Tab:
        """The one in front: the one turned to last."""
        return next(reversed(self._tabs.values()))

    def turn_to(self, file: Path) -> None:
        """Show the page of another task; nothing, where it is there already."""
        if file not in self._tabs:
            # The one turned to longest ago makes room.
            oldest = self._tabs.popitem(last=False)[1] if len(self._tabs) == _MOST_TABS else None
            pictures = self._pictures
            self._tabs[file] = self.browser.run(
                "opening the page",
                lambda context: _Tab(context, file, oldest, pictures=pictures),
                START_TIMEOUT_S,
            )
        elif (tab := self._tabs[file]) is not self._tab:
            left = self._tab
            self.browser.run("turning to the page", lambda _: tab.come_forward(left))
            self._tabs.move_to_end(file)

    def start(self, page_seed: int, *, decay: bool = False) -> View:
        """Begin the episode that the seed determines; with `decay` the page's own clock runs."""
        tab, ready_timeout_s = self._tab, self.browser.timeout_s
        return self.browser.run("starting an episode", lambda _: tab.start(page_seed, decay, ready_timeout_s))

    def look(self) -> View:
        """What the page shows now."""
        tab = self._tab
        return self.browser.run("looking at the page", lambda _: tab.look())

    def act(self, call: Call, keys: Sequence[int]) -> str | None:
        """Do what a call says.

        Args:
            call: the action.
            keys: of the elements that its bids name, in order.

        Returns:
            Why it cannot be done, the page untouched; None where it was done.
        """
        tab = self._tab
        return self.browser.run(f"doing {call.name}", lambda _: act(tab, call, keys))


class _Tab:
    """The browser thread's side of a `TaskPage`; it has the hands that `act` asks for."""

    def __init__(self, context: BrowserContext, file: Path, instead: _Tab | None, *, pictures: bool) -> None:
        if instead is None:
            # A new browser comes with an empty page.
            empty = [page for page in context.pages if page.url.startswith("chrome:")]
            self.page = empty[0] if empty else context.new_page()
            self.page.add_init_script(path=_SCRIPT)
            self.page.on("popup", lambda popup: popup.close())
            self._devtools = context.new_cdp_session(self.page)
        else:
            self.page, self._devtools = instead.page, instead._devtools
            # A page is let go nowhere but to itself.
            self.page.goto("about:blank")
        self._pictures = pictures
        self._mouse_inside = False
        self._address = file.as_uri()
        self._load()

    def come_forward(self, left: _Tab) -> None:
        """Take the place of the tab in front, which lets go of its caret: one that is not seen still costs frames."""
        left.page.evaluate("() => document.activeElement && document.activeElement.blur()")
        self.page.bring_to_front()

    def start(self, page_seed: int, decay: bool, ready_timeout_s: float) -> View:
        if self._mouse_inside:
            # Left where it was, the last episode's mouse would shade this one's picture.
            self.page.mouse.move(*ASIDE_PX)
            self._mouse_inside = False
        report = self._begin(page_seed, decay)
        if report is None:
            self._load()
            report = self._begin(page_seed, decay)
        if report is None:
            raise RuntimeError("the page does not stay as it was loaded")
        if report["ready"]:
            return self._view(report)
        self._wait_until_ready(ready_timeout_s)
        return self.look()

    def look(self) -> View:
        return self._view(self.page.evaluate("() => vlmqPage.look()"))

    def evaluate(self, function: str, argument: Any = None) -> Any:
        return self.page.evaluate(function, argument)

    def move(self, x: float, y: float) -> None:
        self._mouse_inside = True
        self.page.mouse.move(x, y)

    def click(self, x: float, y: float, times: int) -> None:
        self._mouse_inside = True
        self.page.mouse.click(x, y, click_count=times)

    def drag(self, path: Sequence[tuple[float, float]]) -> None:
        self.move(*path[0])
        self.page.mouse.down()
        for point in path[1:]:
            self.move(*point)
        self.page.mouse.up()

    def wheel(self, dx: float, dy: float) -> None:
        self.page.mouse.wheel(dx, dy)

    def press(self, keys: str) -> None:
        self.page.keyboard.press(keys)

    def insert(self, text: str) -> None:
        self.page.keyboard.insert_text(text)

    def wait(self, milliseconds: float) -> None:
        self.page.wait_for_timeout(milliseconds)

    def _load(self) -> None:
        self.page.goto(self._address, timeout=START_TIMEOUT_S * 1000)
        self.page.evaluate("() => vlmqPage.warmUp()")
        self._wait_until_ready(START_TIMEOUT_S)
        self.page.evaluate(SETTLED)

    def _begin(self, page_seed: int, decay: bool) -> dict[str, Any] | None:
        # A JavaScript number holds 53 bits; a longer seed travels as text.
        seed = page_seed if page_seed < 2**53 else str(page_seed)
        arguments = [seed, decay, self._address]
        report: dict[str, Any] | None = self.page.evaluate("given => vlmqPage.start(...given)", arguments)
        return report

    def _wait_until_ready(self, timeout_s: float) -> None:
        self.page.wait_for_function("() => vlmqPage.ready()", timeout=timeout_s * 1000)

    def _view(self, report: dict[str, Any]) -> View:
        return view_of(report, self._picture(unfolds=report["unfolds"]) if self._pictures else None)

    def _picture(self, *, unfolds: bool) -> NDArray[np.uint8]:
        # A clipped picture, which takes a sixth less time, lacks what a list or a calendar unfolds over the page.
        clip = {} if unfolds else {"clip": _CLIP}
        reply = self._devtools.send(
            "Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True, **clip}
        )
        with Image.open(io.BytesIO(base64.b64decode(reply["data"]))) as picture:
            return np.array(picture.convert("RGB"), dtype=np.uint8)[:AREA_HEIGHT_PX, :AREA_WIDTH_PX]


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
