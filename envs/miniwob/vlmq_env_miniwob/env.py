"""The MiniWoB environment: gymnasium's side of a task page.

Rewards: on the turn that ends the task, the page's raw reward (in [-1, 1], without the page's decay over
time, which would measure how fast the agent computes); `ILLEGAL_REWARD` for an illegal text; 0 otherwise,
also where the turn limit cuts the episode. Success is a raw reward of at least `SUCCESS_THRESHOLD`: some
pages give part of the reward for part of the work.

The bids (the numbers in `click('12')`) are drawn anew for each episode, so that no answer can be learnt by
heart without reading the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, SupportsFloat

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from vlmq.api import (
    PluginError,
    action_space,
    check_choice,
    check_flags,
    check_seconds,
    check_whole,
    observation_space,
)
from vlmq_env_miniwob import PAGES
from vlmq_env_miniwob.actions import Refusal, parse, syntax
from vlmq_env_miniwob.browser import Browser
from vlmq_env_miniwob.chromium import CHROME_VARIABLE, INSTALL_COMMAND, find_chromium
from vlmq_env_miniwob.experts import EXPERTS, Expert, Seen
from vlmq_env_miniwob.marks import draw_marks
from vlmq_env_miniwob.offers import offered
from vlmq_env_miniwob.places import Area, find_pages, place_of
from vlmq_env_miniwob.points import BY_ELEMENT_ALONE, Step, by_point
from vlmq_env_miniwob.selenium_page import SeleniumPage
from vlmq_env_miniwob.taskpage import TaskPage
from vlmq_env_miniwob.view import Element, View, Writing

ILLEGAL_REWARD = -0.1
SUCCESS_THRESHOLD = 0.9
CHANCE_LEVELS = {"click-dialog": 0.98}
"""Success rate of clicks on random elements, where a task can be solved by chance."""
EXPERT_SUCCESS = 0.95
"""Success rate that every scripted expert reaches; most never fail."""

DRIVERS = ("playwright", "selenium")
MODALITIES = ("image+elements", "image+marks", "image", "elements")
LINES = {"before": "{bid} {role} {name}", "after": "{role} {name} {bid}"}
"""An element of the list: its bid before or after what it is."""
TEXT_BYTES = 3072

STARTER = (
    "click-test", "click-test-2", "click-button", "click-dialog", "click-dialog-2", "click-link", "click-option",
    "click-checkboxes", "enter-text", "focus-text-2", "enter-password", "login-user",
)  # fmt: skip
"""Tasks to begin with."""

_FIRST_BIDS = np.arange(10, 100)
_CHOICE = 0x7A5C
"""Keeps the choice of a task off the draws of its episode."""


class MiniWobEnv(gymnasium.Env[dict[str, Any], str]):
    """One task page in a Chromium of its own, which starts at the first `reset` and serves all episodes.

    Args:
        task: name of the page, such as "click-test-2".
        modality: "image+elements": a picture, and the elements to act on as text; "image+marks": a picture with
            the bids written on it and no list; "image": the picture alone, acted on by points; "elements": the list
            and no picture. With "image" the expert acts by points and keys, too, where that is possible.
        bids: where an element's bid stands in the list: "before", `[12] button 'ok'`, as BrowserGym has it; "after",
            `button 'ok' [12]`. A small model looks up what follows a name far more easily than what precedes it.
        show_syntax: whether the text ends with the syntax of the actions: the same on every page, and more than half
            of a small one's text. An agent that has data to learn it from does without.
        max_turns: turns after which the episode is truncated.
        decay: whether the reward falls with the time that the agent takes, as the page's own does.
        driver: "playwright"; or "selenium": the `miniwob` package's own environment, the reference: slower, and with
            none of the promises about browsers that die, about the network and about what is left running.
        chrome: Chromium binary; None means the environment variable VLMQ_CHROME, or the usual places.
        sandbox: whether Chromium confines its pages; None means yes, unless run as root, where it cannot.
        timeout_s: the longest that any single browser call may take.
        frame_limit: whether the browser draws 60 times a second at most: a turn then waits for its pictures, but takes
            a quarter less of the processor. For browsers that share cores with others, or with a model.

    Raises:
        PluginError: Chromium, Playwright or the pages are not installed, or an argument is out of its range.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "vlmq": {
            "reward_range": (-1.0, 1.0),
            "success": f"the page's raw reward is at least {SUCCESS_THRESHOLD}",
            "modalities": MODALITIES,
            "requirements": (
                f"Chromium: `{INSTALL_COMMAND}`, or name a binary with chrome=... or {CHROME_VARIABLE}=...",
            ),
            "workers": True,
            "open_actions": True,  # legal_actions lists some: any text can be filled in, any point clicked
            "licence": "Apache-2.0; the task pages, from the miniwob package, are MIT",
        },
    }

    def __init__(
        self,
        task: str,
        *,
        modality: str = "image+elements",
        bids: str = "before",
        show_syntax: bool = True,
        max_turns: int = 15,
        decay: bool = False,
        driver: str = "playwright",
        chrome: str | None = None,
        sandbox: bool | None = None,
        timeout_s: float = 30.0,
        frame_limit: bool = False,
        render_mode: str | None = None,
    ) -> None:
        check_choice("MiniWoB", "modality", modality, MODALITIES)
        check_choice("MiniWoB", "bids", bids, tuple(LINES))
        check_choice("MiniWoB", "driver", driver, DRIVERS)
        check_whole("MiniWoB", "max_turns", max_turns, 1, 10_000)
        check_seconds("MiniWoB", "timeout_s", timeout_s)
        check_flags("MiniWoB", show_syntax=show_syntax, decay=decay, frame_limit=frame_limit)
        if sandbox is not None:
            check_flags("MiniWoB", sandbox=sandbox)
        if frame_limit and driver == "selenium":
            raise PluginError("MiniWoB: driver='selenium' knows no frame_limit; leave one of them out.")
        self.task = task
        self.modality = modality
        self._experts = _experts(modality)
        self._declare((task,))
        self.max_turns = max_turns
        self.render_mode = render_mode
        self._pictures = modality != "elements"
        self._marks = modality == "image+marks"
        self._line = LINES[bids]
        self._show_syntax = show_syntax
        self._decay = decay
        self._driver = driver
        self._place = place_of(task)
        if self._place.framed and driver == "selenium":
            raise PluginError(
                f"MiniWoB: driver='selenium' plays no page with a frame, as {task} is; leave it out."
            )
        self._chromium = find_chromium(chrome)
        self._sandbox = sandbox
        self._timeout_s = timeout_s
        self._frame_limit = frame_limit
        area = self._place.area
        height, width = (area.height_px, area.width_px) if self._pictures else (None, None)
        self.observation_space = observation_space(height, width, text_bytes=TEXT_BYTES)
        self.action_space = action_space()
        self._page: TaskPage | SeleniumPage | None = None
        self._view: View | None = None
        self._bids = _FIRST_BIDS
        self._turns = 0
        self._past: list[tuple[str, tuple[Writing, ...]]] = []
        self._done: str | None = None
        """The action done last."""
        self._meant: dict[str, str | None] = {}
        """What the expert means by an action without bids; nothing yet by a step on the way to it."""
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode; the seed is also the page's, so it names the same page as it does for others.

        Raises:
            BrowserFailure: the browser died or hung; the next reset starts a fresh one.
        """
        super().reset(seed=seed)
        page_seed = int(self.np_random.integers(2**31)) if seed is None else int(seed)
        self._bids = self.np_random.permutation(_FIRST_BIDS)
        self._over = True  # until the page is there: after a failure there is no episode to go on with
        self._view = self._running_page().start(page_seed, decay=self._decay)
        self._turns = 0
        self._past, self._done, self._meant = [], None, {}
        self._over = False
        return self._observation(self._view), self._info(action_ok=True)

    def step(self, action: str) -> tuple[dict[str, Any], SupportsFloat, bool, bool, dict[str, Any]]:
        """Play one turn; any text may be given.

        Raises:
            BrowserFailure: the browser died or hung: the episode is lost; `reset` starts a fresh browser.
            gymnasium.error.ResetNeeded: no episode is running.
        """
        page = self._page
        if self._over or page is None or self._view is None:
            raise ResetNeeded("no episode is running: call reset() first")
        self._over = True  # stays so if the browser fails below
        refusal = self._execute(page, action)
        if refusal is None:
            self._done = action
            if (meant := self._meant.get(action, action)) is not None:
                self._past.append((meant, self._view.texts))
        if refusal is None or refusal.by_page or self._decay:
            # A page that refuses has moved on since it was looked at; one with its clock running may have ended.
            self._view = page.look()
        view = self._view
        self._turns += 1
        terminated = view.done
        truncated = not terminated and self._turns >= self.max_turns
        self._over = terminated or truncated
        info = self._info(action_ok=refusal is None)
        if refusal is not None:
            info["error"] = refusal.reason
        if self._over:
            info["success"] = terminated and view.raw_reward >= SUCCESS_THRESHOLD
            info["raw_reward"] = view.raw_reward
            page.rest()
        reward = ILLEGAL_REWARD if refusal is not None else min(1.0, max(-1.0, view.reward))
        return self._observation(view), reward, terminated, truncated, info

    def expert_action(self) -> str | None:
        """The next action of the task's scripted expert, which sees what the agent sees, or None.

        From the picture alone it acts by points and keys.
        """
        expert, view = self._experts.get(self.task), self._view
        if expert is None or view is None or self._over:
            return None
        wanted = expert(
            Seen(
                view.utterance,
                view.text,
                self._shown(),
                texts=view.texts,
                figures=view.figures,
                scrolled=view.scrolled,
                selected=view.selected,
                focused=None if view.focused is None else self._bid(view.focused),
                past=tuple(action for action, _ in self._past),
                earlier=tuple(texts for _, texts in self._past),
            )
        )
        if wanted is None or self.modality != "image":
            return wanted
        step = self._by_point(wanted, self._shown())
        self._meant = {} if step is None else {step.action: wanted if step.last else None}
        return None if step is None else step.action

    def render(self) -> NDArray[np.uint8] | None:
        """The last picture of the task area; None before the first reset, or without a picture."""
        return None if self._view is None or self.render_mode is None else self._view.image

    def close(self) -> None:
        """End the browser. Calling it again does nothing; a later `reset` starts a fresh one."""
        self._over = True
        if self._page is not None:
            self._page.close()
            self._page = None

    def _declare(self, tasks: Sequence[str]) -> None:
        """Say in the metadata what is so of all these tasks."""
        ours = dict(type(self).metadata["vlmq"])
        if all(task in self._experts for task in tasks):
            ours["expert_success"] = EXPERT_SUCCESS
        if all(task in CHANCE_LEVELS for task in tasks):
            ours["chance_level"] = min(CHANCE_LEVELS[task] for task in tasks)
        self.metadata = {**type(self).metadata, "vlmq": ours}  # type: ignore[misc]

    def _running_page(self) -> TaskPage | SeleniumPage:
        if self._page is None or not self._page.alive:
            self.close()
            self._page = self._open()
        self._page.turn_to(self._place)
        return self._page

    def _open(self) -> TaskPage | SeleniumPage:
        if self._driver == "selenium":
            return SeleniumPage(
                self._chromium, self._place, pictures=self._pictures, timeout_s=self._timeout_s
            )
        browser = Browser(
            self._chromium,
            files=find_pages(),
            sandbox=self._sandbox,
            timeout_s=self._timeout_s,
            frame_limit=self._frame_limit,
        )
        try:
            return TaskPage(browser, self._place, pictures=self._pictures)
        except BaseException:
            browser.close()
            raise

    def _execute(self, page: TaskPage | SeleniumPage, text: str) -> Refusal | None:
        """Act on the page; a refusal means that nothing was touched."""
        call = parse(text, self._place.area)
        if isinstance(call, Refusal):
            return call
        shown = self._shown()
        for bid in call.bids:
            if bid not in shown:
                return Refusal(f"no element on the page has the bid '{bid}'")
        reason = page.act(call, [shown[bid].key for bid in call.bids])
        return None if reason is None else Refusal(reason, by_page=True)

    def _shown(self) -> dict[str, Element]:
        """The clickable elements of the last view, by bid, in reading order."""
        if self._view is None:
            return {}
        in_order = sorted(self._view.elements, key=lambda e: (e.box[1], e.box[0], e.key))
        return {self._bid(e.key): e for e in in_order}

    def _by_point(self, action: str, shown: dict[str, Element]) -> Step | None:
        """The next step on the way to what an action does, without bids."""
        assert self._view is not None, "no episode is running"
        focused = None if self._view.focused is None else self._bid(self._view.focused)
        return by_point(action, shown, self._place.area, focused, self._done)

    def _bid(self, key: int) -> str:
        return str(self._bids[key] if key < len(self._bids) else _FIRST_BIDS[0] + key)

    def _info(self, *, action_ok: bool) -> dict[str, Any]:
        shown = self._shown()
        legal = () if self._over or self._view is None else offered(self._view.utterance, shown)
        if self.modality == "image":
            steps = [self._by_point(action, shown) for action in legal]
            legal = tuple(dict.fromkeys(step.action for step in steps if step is not None))
        return {"action_ok": action_ok, "legal_actions": legal}

    def _observation(self, view: View) -> dict[str, Any]:
        observation: dict[str, Any] = {"text": self._text(view)}
        if view.image is not None:
            observation["image"] = (
                draw_marks(view.image, [(bid, e.box) for bid, e in self._shown().items()])
                if self._marks
                else view.image.copy()
            )
        return observation

    def _text(self, view: View) -> str:
        """The instruction, the elements where they are listed, and the legal syntax where it is wanted."""
        listed = self.modality in ("image+elements", "elements")
        ending = [_syntax(self._place.area, by_element=listed or self._marks)] if self._show_syntax else []
        lines = [f"Task: {view.utterance}"]
        if listed:
            form = self._line.format(bid="[bid]", role="role", name="'name'")
            lines.append(f"Elements ({form}):")
            shown = [
                ", ".join([self._line.format(bid=f"[{bid}]", role=e.role, name=_quote(e.name)), *e.state])
                for bid, e in self._shown().items()
            ]
            lines += _fitting(shown or ["(none)"], TEXT_BYTES - _num_bytes([*lines, *ending]))
        return "\n".join([*lines, *ending])


class MiniWobTasksEnv(MiniWobEnv):
    """Several task pages in one Chromium: the seed says which one an episode is of.

    An episode goes under the id of its own task (`info["env_id"]`), which plays the very same one from that seed.

    Args:
        tasks: names of the pages; or `starter` for those to begin with, `expert` for those that have a scripted expert,
            `all` for all whose pictures are of one size: not the flights.
        settings: those of `MiniWobEnv`.
    """

    def __init__(self, tasks: Sequence[str] | str = "starter", **settings: Any) -> None:
        experts = _experts(settings.get("modality", ""))
        groups = {"starter": STARTER, "expert": tuple(sorted(experts)), "all": PAGES}
        if isinstance(tasks, str) and tasks not in groups:
            raise PluginError(
                f"tasks={tasks!r} is no group of pages; choose {', '.join(groups)}, or list their names."
            )
        tasks = groups[tasks] if isinstance(tasks, str) else tasks
        if not tasks:
            raise PluginError("tasks is empty; name at least one page, such as click-test-2.")
        self.tasks = tuple(tasks)
        self._places = {task: place_of(task) for task in tasks}
        if framed := [task for task, place in self._places.items() if place.framed]:
            raise PluginError(
                f"tasks: {framed[0]} has larger pictures than the rest; play its own id, {framed[0]}-v1."
            )
        super().__init__(tasks[0], **settings)
        self._declare(self.tasks)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode of the task that the seed chooses."""
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self.task = self.tasks[int(np.random.default_rng([seed, _CHOICE]).integers(len(self.tasks)))]
        self._place = self._places[self.task]
        return super().reset(seed=seed, options=options)

    def _info(self, *, action_ok: bool) -> dict[str, Any]:
        return {**super()._info(action_ok=action_ok), "env_id": f"miniwob/{self.task}-v1"}


def _experts(modality: str) -> dict[str, Expert]:
    """Those that can act on what a modality shows, by task."""
    beyond = BY_ELEMENT_ALONE if modality == "image" else frozenset()
    return {task: expert for task, expert in EXPERTS.items() if task not in beyond}


def _quote(name: str) -> str:
    return "'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _num_bytes(lines: list[str]) -> int:
    return sum(len(line.encode("utf-8", "surrogatepass")) + 1 for line in lines)


def _fitting(lines: list[str], room_bytes: int) -> list[str]:
    """The lines that fit; where some do not, a last line says how many are missing."""
    if _num_bytes(lines) <= room_bytes:
        return lines
    kept = list(lines)
    while kept and _num_bytes([*kept, f"({len(lines)} more not listed)"]) > room_bytes:
        kept.pop()
    return [*kept, f"({len(lines) - len(kept)} more not listed)"]


def _syntax(area: Area, *, by_element: bool) -> str:
    """What the agent is told of the actions."""
    bounds = f"0 <= x < {area.width_px} and 0 <= y < {area.height_px}"
    return f"Actions: {syntax(by_element=by_element)}, where {bounds} are pixels from the top left."
