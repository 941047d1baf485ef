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
from vlmq_env_miniwob.actions import AREA_HEIGHT_PX, AREA_WIDTH_PX, Call
from vlmq_env_miniwob.browser import START_TIMEOUT_S, Browser
from vlmq_env_miniwob.view import View, view_of

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

_SCRIPT = Path(__file__).with_name("page.js")
_CLIP = {"x": 0, "y": 0, "width": AREA_WIDTH_PX, "height": AREA_HEIGHT_PX, "scale": 1}
_MIDDLE_PX = (AREA_WIDTH_PX / 2, 130.0)
_DRAG_STEPS = 8
"""Moves of the mouse in a drag: pages follow it on the way."""
_MOST_TABS = 16
_WAIT_MS = 300
"""How long `noop` waits: what a page does by itself, unfolding a menu for instance, goes on meanwhile."""
_SETTLED = "() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))"
_GONE = "the element is covered or gone"
_ASIDE_PX = (480, 300)
"""A point of the window outside the task area, where the mouse touches nothing."""


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
        self._browser = browser
        self._pictures = pictures
        self._tabs: OrderedDict[Path, _Tab] = OrderedDict()
        self.turn_to(file)

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
            self._tabs[file] = self._browser.run(
                "opening the page",
                lambda context: _Tab(context, file, oldest, pictures=pictures),
                START_TIMEOUT_S,
            )
        elif (tab := self._tabs[file]) is not self._tab:
            left = self._tab
            self._browser.run("turning to the page", lambda _: tab.come_forward(left))
            self._tabs.move_to_end(file)

    def start(self, page_seed: int, *, decay: bool = False) -> View:
        """Begin the episode that the seed determines; with `decay` the page's own clock runs."""
        tab, ready_timeout_s = self._tab, self._browser.timeout_s
        return self._browser.run(
            "starting an episode", lambda _: tab.start(page_seed, decay, ready_timeout_s)
        )

    def look(self) -> View:
        """What the page shows now."""
        tab = self._tab
        return self._browser.run("looking at the page", lambda _: tab.look())

    def act(self, call: Call, keys: Sequence[int]) -> str | None:
        """Do what a call says.

        Args:
            call: the action.
            keys: of the elements that its bids name, in order.

        Returns:
            Why it cannot be done, the page untouched; None where it was done.
        """
        tab = self._tab
        return self._browser.run(f"doing {call.name}", lambda _: tab.act(call, keys))


class _Tab:
    """The browser thread's side of a `TaskPage`."""

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
        self._pictures = pictures
        self._mouse_inside = False
        self.page.goto(file.as_uri(), timeout=START_TIMEOUT_S * 1000)
        # An episode that nobody plays: pictures load when they are first shown, and the next one finds them there.
        self.start(0, False, START_TIMEOUT_S)
        self.page.evaluate(_SETTLED)

    def come_forward(self, left: _Tab) -> None:
        """Take the place of the tab in front, which lets go of its caret: one that is not seen still costs frames."""
        left.page.evaluate("() => document.activeElement && document.activeElement.blur()")
        self.page.bring_to_front()

    def start(self, page_seed: int, decay: bool, ready_timeout_s: float) -> View:
        if self._mouse_inside:
            # Left where it was, the last episode's mouse would shade this one's picture.
            self.page.mouse.move(*_ASIDE_PX)
            self._mouse_inside = False
        # A JavaScript number holds 53 bits; a longer seed travels as text.
        seed = page_seed if page_seed < 2**53 else str(page_seed)
        report = self.page.evaluate("([seed, decay]) => vlmqPage.start(seed, decay)", [seed, decay])
        if report["ready"]:
            return self._view(report)
        self.page.wait_for_function("() => vlmqPage.ready()", timeout=ready_timeout_s * 1000)
        return self.look()

    def look(self) -> View:
        return self._view(self.page.evaluate("() => vlmqPage.look()"))

    def act(self, call: Call, keys: Sequence[int]) -> str | None:
        mouse, arguments = self.page.mouse, call.arguments
        numbers = [value for value in arguments if isinstance(value, float)]
        match call.name:
            case "noop":
                self.page.wait_for_timeout(_WAIT_MS)
                return None
            case "mouse_click" | "mouse_dblclick":
                self._click(numbers, 2 if call.name == "mouse_dblclick" else 1)
                return None
            case "mouse_drag":
                self._drag(numbers[:2], numbers[2:])
                return None
            case "scroll":
                # The wheel turns where the mouse is.
                self._move([_MIDDLE_PX[0], _MIDDLE_PX[1]])
                mouse.wheel(numbers[0], numbers[1])
                # The page scrolls a frame or two later; a picture before that would show it where it was.
                self.page.evaluate(_SETTLED)
                return None
            case "fill" | "clear":
                return self._fill(keys[0], str(arguments[1]) if call.name == "fill" else "")
            case "focus" | "press":
                if not self.page.evaluate("key => vlmqPage.focus(key)", keys[0]):
                    return _GONE
                if call.name == "press":
                    self.page.keyboard.press(str(arguments[1]))
                return None
            case "select_option":
                wanted = [keys[0], list(arguments[1])]  # type: ignore[arg-type]  # the parser made it a tuple
                done = self.page.evaluate("([key, wanted]) => vlmqPage.choose(key, wanted)", wanted)
                return None if done else "the element is no list, or does not offer that"
        points = [self.page.evaluate("key => vlmqPage.pointOf(key)", key) for key in keys]
        if any(point is None for point in points):
            return _GONE
        if call.name == "drag_and_drop":
            self._drag(points[0], points[1])
        elif call.name == "hover":
            self._move(points[0])
        else:
            self._click(points[0], 2 if call.name == "dblclick" else 1)
        return None

    def _move(self, point: Sequence[float]) -> None:
        self._mouse_inside = True
        self.page.mouse.move(point[0], point[1])

    def _click(self, point: Sequence[float], times: int) -> None:
        self._mouse_inside = True
        self.page.mouse.click(point[0], point[1], click_count=times)

    def _drag(self, start: Sequence[float], end: Sequence[float]) -> None:
        self._move(start)
        self.page.mouse.down()
        self.page.mouse.move(end[0], end[1], steps=_DRAG_STEPS)
        self.page.mouse.up()

    def _fill(self, key: int, text: str) -> str | None:
        if not self.page.evaluate("key => vlmqPage.select(key)", key):
            return "the element takes no text"
        if not self.page.evaluate("([key, text]) => vlmqPage.setValue(key, text)", [key, text]):
            if text:
                self.page.keyboard.insert_text(text)
            else:
                self.page.keyboard.press("Delete")
        return None

    def _view(self, report: dict[str, Any]) -> View:
        return view_of(report, self._picture() if self._pictures else None)

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
