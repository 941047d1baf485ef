"""Drives one Chromium through Playwright: every call is bounded in time, and no process is left behind.

Playwright's sync objects belong to the thread that made them, a thread may hold only one Playwright, and some
of their calls have no time-out. So each browser has a thread of its own; the caller hands it functions and
waits for so long and no longer. A browser that is late or fails is killed: no later call meets a half-working
one.

No orphans, by four means: `close()`; a finalizer for the forgetful and for exceptions; Playwright's driver
ends with its pipe when the owner is killed; and the kernel kills Chromium when the driver dies (launch.py).
"""

from __future__ import annotations

import asyncio
import queue
import re
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vlmq.api import PluginError
from vlmq_env_miniwob.chromium import CHROME_VARIABLE, INSTALL_COMMAND, Remains, flags
from vlmq_env_miniwob.places import SITE, TASK_AREA, served

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Playwright, Request, Route

T = TypeVar("T")
_Jobs = queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]

START_TIMEOUT_S = 60.0
"""The longest that starting Chromium or opening its first page may take: cold disks and busy machines."""
_CLOSE_TIMEOUT_S = 5.0
_WATCH_S = 5.0
_MOST_AT_REST = 0.05
"""Share of a core that a browser takes at rest, at most; one that draws on and on takes several times that."""
_MOST_QUOTED = 200
"""Letters quoted of what Chromium said."""
_LAUNCHER = Path(__file__).with_name("launch.py")


class BrowserFailure(RuntimeError):
    """The browser died, hung or broke: discard the episode; `reset()` starts a fresh one."""


class Browser:
    """One running Chromium with one offline context, which shows no files but those under one folder.

    Args:
        chromium: the binary.
        files: the folder whose files pages may load; every other address is refused.
        sandbox: whether Chromium confines its pages; None means yes, unless run as root, where it cannot.
        timeout_s: the longest that any call may take, starting apart.
        frame_limit: whether it draws 60 times a second at most.

    Raises:
        BrowserFailure: Chromium did not start.
        PluginError: Playwright is not installed.
    """

    def __init__(
        self,
        chromium: Path,
        *,
        files: Path,
        sandbox: bool | None = None,
        timeout_s: float = 30.0,
        frame_limit: bool = False,
    ) -> None:
        try:
            import playwright.sync_api  # noqa: F401
        except ImportError as error:
            raise PluginError(
                "The MiniWoB environments need Playwright: install it with `pip install playwright`."
            ) from error
        self.timeout_s = timeout_s
        self._jobs: _Jobs = queue.SimpleQueue()
        self._remains = Remains()
        self._session = _Session(self._remains, files)
        self._close = weakref.finalize(self, _end, self._jobs, self._session, self._remains)
        watch = _Watch(self._session, self._remains)
        threading.Thread(target=_serve, args=(self._jobs, watch), name="vlmq-miniwob", daemon=True).start()
        command_line = flags(self._remains.profile, sandbox, frame_limit)
        session = self._session
        try:
            self._call("starting", lambda: session.launch(chromium, command_line), START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether calls may still be made: neither closed nor failed."""
        return self._close.alive and not self._session.failed

    @property
    def pids(self) -> tuple[int, int]:
        """Process ids of Chromium's main process and of Playwright's driver."""
        pids = self._remains.pids
        if pids is None:
            raise BrowserFailure("Chromium is no longer running; reset() starts a fresh one.")
        return pids

    def run(self, doing: str, function: Callable[[BrowserContext], T], timeout_s: float | None = None) -> T:
        """Call the function in the browser's thread, and return what it returns.

        Args:
            doing: what it does, for the message of a failure, such as "clicking".
            function: must hold no reference to this object, which could then never be collected.
            timeout_s: the longest it may take, where this differs from the browser's.

        Raises:
            BrowserFailure: it raised or took too long; the browser has been killed.
        """
        if not self.alive or self._session.context is None:
            raise BrowserFailure("Chromium is no longer running; reset() starts a fresh one.")
        self._session.resting = False
        context = self._session.context
        return self._call(doing, lambda: function(context), timeout_s or self.timeout_s)

    def rest(self) -> None:
        """Until the next `run` nothing is asked of it, and it may be ended if it keeps a core busy all the same."""
        self._session.resting = True

    def close(self) -> None:
        """End Chromium and the driver, and remove the profile. Calling it again does nothing."""
        self._close()

    def _call(self, doing: str, function: Callable[[], T], timeout_s: float) -> T:
        future = _submit(self._jobs, function)
        try:
            return future.result(timeout_s)
        except FutureTimeoutError as error:
            self._fail()
            raise BrowserFailure(
                f"Chromium was killed because it did not finish {doing} within {timeout_s:g} s; "
                "reset() starts a fresh one."
            ) from error
        except BrowserFailure:
            self._fail()
            raise
        except Exception as error:
            self._fail()
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise BrowserFailure(
                f"Chromium failed while {doing} ({first_line}); reset() starts a fresh one."
            ) from error
        except BaseException:
            # An interrupt leaves the call under way: the browser's state is unknown from here on.
            self._fail()
            raise

    def _fail(self) -> None:
        self._session.failed = True
        self._remains.kill_chromium()


class _Session:
    """Playwright's objects. Only the browser's own thread calls their methods."""

    def __init__(self, remains: Remains, files: Path) -> None:
        self._remains = remains
        self._pages = files
        self._files = f"{files.resolve().as_uri()}/"
        self.failed = False
        self.resting = False
        self.playwright: Playwright | None = None
        self.context: BrowserContext | None = None

    def launch(self, chromium: Path, command_line: list[str]) -> None:
        from playwright.sync_api import Error, sync_playwright

        self.playwright = sync_playwright().start()
        asyncio.get_running_loop().set_exception_handler(_told_elsewhere)
        try:
            self.context = self._start(self.playwright, chromium, command_line)
        except Error as error:
            raise BrowserFailure(_not_started(chromium, error.message)) from error
        self.context.route("**/*", self._admit)

    def _start(self, playwright: Playwright, chromium: Path, command_line: list[str]) -> BrowserContext:
        # All flags are ours, so that the program started may be the launcher.
        launcher = ["-I", "-S", str(_LAUNCHER), str(self._remains.pid_file), str(chromium)]
        # Everything that Playwright or Chromium write goes into the one folder that is removed afterwards.
        return playwright.chromium.launch_persistent_context(
            user_data_dir=self._remains.profile,
            artifacts_dir=self._remains.profile / "artifacts",
            executable_path=sys.executable,
            args=launcher + command_line,
            ignore_default_args=True,
            env={**self._remains.environment()},
            timeout=START_TIMEOUT_S * 1000,
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
            viewport={"width": TASK_AREA.window_width_px, "height": TASK_AREA.window_height_px},
            device_scale_factor=1,
            locale="en-US",
            timezone_id="UTC",
            reduced_motion="reduce",
            accept_downloads=False,
            service_workers="block",
        )

    def stop(self) -> None:
        if self.playwright is not None:
            self.playwright.stop()

    def _admit(self, route: Route) -> None:
        request = route.request
        ours = request.url.startswith((self._files, SITE))
        if not ours or _leads_away(request):
            route.abort("aborted")  # of all error codes, the one that keeps the page that is shown
        elif request.url.startswith(SITE):
            body, media_type = served(request.url, self._pages) or (None, "text/html")
            route.fulfill(status=404 if body is None else 200, body=body, content_type=media_type)
        else:
            route.continue_()


class _Watch:
    """Ends a browser that keeps a core busy while nothing is asked of it; the next `reset` starts a fresh one.

    Drawn without a limit on the frame rate, one with several tabs, on a busy machine, now and then draws the same
    frame again as fast as it can, for as long as it lives.
    """

    def __init__(self, session: _Session, remains: Remains) -> None:
        self._session, self._remains = session, remains
        self._spent: float | None = None

    def worked(self) -> None:
        """A job was done: what it took does not count."""
        self._spent = None

    def look(self) -> None:
        """To be called whenever nothing was asked for `_WATCH_S`."""
        if not self._session.resting or self._session.failed:
            return
        before, self._spent = self._spent, self._remains.cpu_s()
        if before is None or self._spent is None:
            return
        if self._spent - before > _MOST_AT_REST * _WATCH_S:
            self._session.failed = True
            self._remains.kill_chromium()


def _leads_away(request: Request) -> bool:
    """Whether a page of ours would become another one."""
    if not request.is_navigation_request() or request.frame.parent_frame is not None:
        return False
    here = _document(request.frame.url)
    return here.startswith(("file:", SITE)) and _document(request.url) != here


def _document(address: str) -> str:
    return re.split("[?#]", address, maxsplit=1)[0]


def _not_started(chromium: Path, report: str) -> str:
    """Why Chromium did not start, from Playwright's report, which has what it said among its lines."""
    said = re.search(r"\[err\] (.*FATAL.*)", report) or re.search(r"\[err\] (.*)", report)
    words = f"said {said[1].strip()[:_MOST_QUOTED]!r}" if said else "gave no answer"
    return (
        f"Chromium failed while starting: {chromium} {words}; install one that starts with `{INSTALL_COMMAND}`, "
        f"or name it with chrome=... or {CHROME_VARIABLE}=..."
    )


def _told_elsewhere(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leave out what a dead driver's futures held: the call under way raises, and the next one does."""
    if context["message"] != "Future exception was never retrieved":
        loop.default_exception_handler(context)


def _submit(jobs: _Jobs, function: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()
    jobs.put((function, future))
    return future


def _serve(jobs: _Jobs, watch: _Watch) -> None:
    """The browser's thread. It keeps no reference to a finished job, which may hold the browser alive."""
    while True:
        try:
            job = jobs.get(timeout=_WATCH_S)
        except queue.Empty:
            watch.look()
            continue
        if job is None:
            return
        watch.worked()
        function, future = job
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)
        del job, function, future


def _end(jobs: _Jobs, session: _Session, remains: Remains) -> None:
    """End everything, in whatever state it is; must hold no reference to the `Browser`."""
    remains.kill_chromium()
    stopped = _submit(jobs, session.stop)
    jobs.put(None)
    try:
        stopped.result(_CLOSE_TIMEOUT_S)
    except Exception:
        pass  # a driver that broke or hangs cannot stop in an orderly way: the next line kills it
    finally:
        remains.destroy()
