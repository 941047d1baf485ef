"""The `miniwob` package's own environment behind the face of a `TaskPage`: the reference that ours is held against.

The package resets the page, carries out clicks and keys, takes the screenshot, and says how the episode ended. Our
script is there too, since it alone knows the elements by their bids. Two things are set that the package leaves open:
the window is as large as its constants say (its own start leaves Chromium's default, in which dialogs lie elsewhere),
and without `decay` the page's clock is stopped. Before an episode the mouse is moved aside, as for a `TaskPage`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from vlmq.api import PluginError
from vlmq_env_miniwob.acting import ASIDE_PX, act
from vlmq_env_miniwob.actions import Call
from vlmq_env_miniwob.browser import BrowserFailure
from vlmq_env_miniwob.chromium import find_chromedriver
from vlmq_env_miniwob.places import TASK_AREA, Place
from vlmq_env_miniwob.view import View, view_of

T = TypeVar("T")

_SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
_READY_STEP_S = 0.05


class SeleniumPage:
    """One task in a Chromium that the `miniwob` package drives through Selenium and ChromeDriver.

    Raises:
        PluginError: Selenium, ChromeDriver or the package is not installed.
    """

    def __init__(self, chromium: Path, place: Place, *, pictures: bool, timeout_s: float) -> None:
        self._chromium = chromium
        self._pictures = pictures
        self._timeout_s = timeout_s
        self._place: Place | None = None
        self._hands: _Hands | None = None
        self.turn_to(place)

    @property
    def alive(self) -> bool:
        """Whether calls may still be made."""
        return self._hands is not None

    def rest(self) -> None:
        """The episode is over; a browser of the package's own needs no watching: its frame rate is limited."""

    def close(self) -> None:
        """End the browser."""
        hands, self._hands = self._hands, None
        if hands is not None:
            hands.end()

    def turn_to(self, place: Place) -> None:
        """Show the page of another task, in a browser of its own; nothing, where it is there already."""
        if place == self._place and self.alive:
            return
        self.close()
        self._hands = self._call(
            "starting", lambda: _Hands(self._chromium, place, self._pictures, self._timeout_s)
        )
        self._place = place

    def start(self, page_seed: int, *, decay: bool = False) -> View:
        """Begin the episode that the seed determines; with `decay` the page's own clock runs."""
        return self._with("starting an episode", lambda hands: hands.start(page_seed, decay))

    def look(self) -> View:
        """What the page shows now."""
        return self._with("looking at the page", lambda hands: hands.look())

    def act(self, call: Call, keys: Sequence[int]) -> str | None:
        """Do what a call says; why it cannot be done, the page untouched, or None where it was done."""
        return self._with(f"doing {call.name}", lambda hands: act(hands, call, keys))

    def _with(self, doing: str, function: Callable[[_Hands], T]) -> T:
        hands = self._hands
        if hands is None:
            raise BrowserFailure("Chromium is no longer running; reset() starts a fresh one.")
        return self._call(doing, lambda: function(hands))

    def _call(self, doing: str, function: Callable[[], T]) -> T:
        try:
            return function()
        except PluginError:
            raise
        except Exception as error:
            self.close()
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise BrowserFailure(
                f"Chromium failed while {doing} ({first_line}); reset() starts a fresh one."
            ) from error


class _Hands:
    """The package's environment, with the hands that `act` asks for."""

    def __init__(self, chromium: Path, place: Place, pictures: bool, timeout_s: float) -> None:
        os.environ["MINIWOB_CHROME_BINARY"] = str(chromium)
        os.environ["MINIWOB_CHROMEDRIVER"] = str(find_chromedriver())
        # Selenium would look for drivers, and report its use, over the network.
        os.environ["SE_OFFLINE"] = os.environ["SE_AVOID_STATS"] = "true"
        try:
            from miniwob.environment import MiniWoBEnvironment
        except ImportError as error:
            raise PluginError(
                f"driver='selenium' needs the `miniwob` package and Selenium ({error}): install them with "
                "`pip install miniwob selenium`."
            ) from error
        self.env = MiniWoBEnvironment(subdomain=PurePosixPath(place.address).stem)
        self._instance = self.env.instance
        self._instance.record_screenshots = pictures
        self._pictures = pictures
        self._decay = False
        self._at = (0.0, 0.0)
        driver = self._driver = self._instance.driver
        driver.implicitly_wait(0)
        driver.set_script_timeout(timeout_s)
        driver.set_page_load_timeout(timeout_s)
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _SCRIPT})
        width_px, height_px = TASK_AREA.window_width_px, TASK_AREA.window_height_px
        size = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self._instance.inner_width, self._instance.inner_height = width_px, height_px
        driver.get(self._instance.url)

    def end(self) -> None:
        self.env.close()

    def start(self, page_seed: int, decay: bool) -> View:
        self._decay = decay
        self.move(*ASIDE_PX)
        self.evaluate("decay => vlmqPage.prepare(decay)", decay)
        self.env.reset(seed=page_seed)
        return self.look()

    def look(self) -> View:
        """Elements from our script; instruction, picture, end and reward as the package tells them."""
        observation, _ = self._instance.get_observation(use_cached_fields=True)
        told = self._instance.get_metadata()
        view = view_of(
            self.evaluate("() => vlmqPage.look()"), observation["screenshot"] if self._pictures else None
        )
        done = bool(told["done"])
        raw_reward = float(told["raw_reward"]) if done else 0.0
        reward = float(told["env_reward"]) if done and self._decay else raw_reward
        return replace(
            view, utterance=str(observation["utterance"]), done=done, raw_reward=raw_reward, reward=reward
        )

    def evaluate(self, function: str, argument: Any = None) -> Any:
        return self._driver.execute_script(f"return ({function})(arguments[0])", argument)

    def move(self, x: float, y: float) -> None:
        from miniwob.selenium_actions import execute_move_coords

        execute_move_coords(x, y, self._driver)
        self._at = (x, y)

    def click(self, x: float, y: float, times: int) -> None:
        from miniwob.selenium_actions import execute_click_coords, execute_dblclick_coords

        (execute_click_coords if times == 1 else execute_dblclick_coords)(x, y, self._driver)
        self._at = (x, y)

    def drag(self, path: Sequence[tuple[float, float]]) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        # Not the package's press, moves and release: from one call to the next ChromeDriver forgets which button a
        # move is made with, and a page then selects no text.
        chain = ActionChains(self._driver, duration=0)
        pointer: Any = chain.w3c_actions.pointer_action
        pointer.move_to_location(*path[0])
        pointer.click_and_hold()
        for point in path[1:]:
            pointer.move_to_location(*point)
        pointer.release()
        chain.w3c_actions.perform()
        self._at = path[-1]

    def wheel(self, dx: float, dy: float) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        # The package scrolls up and down by fixed amounts only.
        chain = ActionChains(self._driver)
        x, y = self._at
        wheel: Any = chain.w3c_actions.wheel_action
        wheel.scroll(x=int(x), y=int(y), delta_x=int(dx), delta_y=int(dy))
        chain.w3c_actions.perform()

    def press(self, keys: str) -> None:
        from miniwob.selenium_actions import execute_press_key

        *modifiers, key = keys.split("+")
        named = f"<{key}>" if len(key) > 1 else key
        execute_press_key("".join(f"{modifier[0]}-" for modifier in modifiers) + named, self._driver)

    def type(self, text: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self._driver).send_keys(text).perform()

    def insert(self, text: str) -> None:
        # Not the package's keystrokes: some fields refuse those, and `fill` does not type.
        self._driver.execute_cdp_cmd("Input.insertText", {"text": text})

    def wait(self, milliseconds: float) -> None:
        self.evaluate("ms => new Promise(done => setTimeout(done, ms))", milliseconds)
