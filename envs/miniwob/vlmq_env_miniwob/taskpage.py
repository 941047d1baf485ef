"""A task page in the browser: start an episode from a seed, look at it, act on it with real mouse and keyboard."""

from __future__ import annotations

import base64
import io
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmq_env_miniwob.acting import ASIDE_PX, SETTLED, act
from vlmq_env_miniwob.actions import Call
from vlmq_env_miniwob.browser import START_TIMEOUT_S, Browser
from vlmq_env_miniwob.places import Place
from vlmq_env_miniwob.view import View, view_of

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Frame, ViewportSize

_SCRIPT = Path(__file__).with_name("page.js")
_MOST_TABS = 16
_MOST_WAITS = 40
"""Times that a page with a frame is waited for, a twentieth of a second each."""


class TaskPage:
    """One page of one browser, used for one episode after the other; it may turn to another task in between.

    A page stays open in a tab of its own when it turns to another: coming back takes a hundredth of the time that
    loading it takes. All methods raise BrowserFailure where the browser does.
    """

    def __init__(self, browser: Browser, place: Place, *, pictures: bool) -> None:
        self.browser = browser
        self._pictures = pictures
        self._tabs: OrderedDict[Place, _Tab] = OrderedDict()
        self.turn_to(place)

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

    def turn_to(self, place: Place) -> None:
        """Show the page of another task; nothing, where it is there already."""
        left = self._tab if self._tabs else None
        if place not in self._tabs:
            # The one turned to longest ago makes room.
            oldest = self._tabs.popitem(last=False)[1] if len(self._tabs) == _MOST_TABS else None
            pictures = self._pictures
            self._tabs[place] = self.browser.run(
                "opening the page",
                lambda context: _Tab(context, place, oldest, left, pictures=pictures),
                START_TIMEOUT_S,
            )
        elif (tab := self._tabs[place]) is not left:
            self.browser.run("turning to the page", lambda _: tab.come_forward(left))
            self._tabs.move_to_end(place)

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

    def __init__(
        self,
        context: BrowserContext,
        place: Place,
        instead: _Tab | None,
        left: _Tab | None,
        *,
        pictures: bool,
    ) -> None:
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
        self.come_forward(left)
        self._pictures = pictures
        self._mouse_inside = False
        self._covers: dict[str, NDArray[np.uint8]] = {}
        """Picture of the cover that ends a task, by what the page says of it."""
        self._place = place
        area = place.area
        size: ViewportSize = {"width": area.window_width_px, "height": area.window_height_px}
        if self.page.viewport_size != size:
            self.page.set_viewport_size(size)
        self._clip = {"x": 0, "y": 0, "width": area.width_px, "height": area.height_px, "scale": 1}
        self._load()

    def come_forward(self, left: _Tab | None) -> None:
        """Take the place of the tab in front, which lets go of its caret: one that is not seen still costs frames."""
        if left is not None:
            left.page.evaluate("() => document.activeElement && document.activeElement.blur()")
        self.page.bring_to_front()

    def start(self, page_seed: int, decay: bool, ready_timeout_s: float) -> View:
        if self._mouse_inside:
            # Left where it was, the last episode's mouse would shade this one's picture. A release is told at once,
            # a move only with the next frame.
            x, y = ASIDE_PX
            self._devtools.send(
                "Input.dispatchMouseEvent", {"type": "mouseReleased", "button": "left", "x": x, "y": y}
            )
            self._mouse_inside = False
        if self._place.framed:
            self.page.context.clear_cookies()
            self._load()
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
        if self._place.framed:
            self._come_to_rest()
        return self._view(self.evaluate("() => vlmqPage.look()"))

    def evaluate(self, function: str, argument: Any = None) -> Any:
        from playwright.sync_api import Error

        while True:
            try:
                return self._stage.evaluate(function, argument)
            except Error as error:
                if not self._place.framed or "context was destroyed" not in error.message:
                    raise

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

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def insert(self, text: str) -> None:
        self.page.keyboard.insert_text(text)

    def wait(self, milliseconds: float) -> None:
        self.page.wait_for_timeout(milliseconds)

    @property
    def _stage(self) -> Frame:
        """The frame that the task is played in."""
        if not self._place.framed:
            return self.page.main_frame
        (frame,) = self.page.main_frame.child_frames
        frame.wait_for_load_state("load")
        return frame

    def _come_to_rest(self) -> None:
        """Wait for what an action began: a calendar slides, a link leads to another page, which ends the episode."""
        for _ in range(_MOST_WAITS):
            self.evaluate(SETTLED)
            if self.evaluate("() => vlmqPage.atRest()"):
                return

    def _load(self) -> None:
        self.page.goto(self._place.address, timeout=START_TIMEOUT_S * 1000)
        if self._place.framed:
            return  # each episode loads the frame
        self.page.evaluate("() => vlmqPage.warmUp()")
        self._wait_until_ready(START_TIMEOUT_S)
        self.page.evaluate(SETTLED)

    def _begin(self, page_seed: int, decay: bool) -> dict[str, Any] | None:
        # A JavaScript number holds 53 bits; a longer seed travels as text.
        seed = page_seed if page_seed < 2**53 else str(page_seed)
        arguments = [seed, decay, self._place.address]
        report: dict[str, Any] | None = self.page.evaluate("given => vlmqPage.start(...given)", arguments)
        return report

    def _wait_until_ready(self, timeout_s: float) -> None:
        self.page.wait_for_function("() => vlmqPage.ready()", timeout=timeout_s * 1000)

    def _view(self, report: dict[str, Any]) -> View:
        return view_of(report, self._picture_of(report) if self._pictures else None)

    def _picture_of(self, report: dict[str, Any]) -> NDArray[np.uint8]:
        """The picture of what the page reports; an end looks like the last one, so it is taken once."""
        cover = report["cover"]
        if cover is None:
            return self._picture(unfolds=report["unfolds"])
        if cover not in self._covers:
            self._covers = {cover: self._picture(unfolds=False)}
        return self._covers[cover].copy()

    def _picture(self, *, unfolds: bool) -> NDArray[np.uint8]:
        # A clipped picture, which takes a sixth less time, lacks what a list or a calendar unfolds over the page.
        clip = {} if unfolds else {"clip": self._clip}
        reply = self._devtools.send(
            "Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True, **clip}
        )
        with Image.open(io.BytesIO(base64.b64decode(reply["data"]))) as picture:
            return np.array(picture.convert("RGB"), dtype=np.uint8)[
                : self._clip["height"], : self._clip["width"]
            ]
