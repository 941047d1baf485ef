"""Chromium as a program: where it is, the flags that keep it offline and repeatable, what it leaves behind.

`Remains` is everything on the machine that one browser may leave: its processes and its profile folder. It
goes away by `destroy`, or, where the owner was killed before it could, the processes end by themselves
(see launch.py) and the next start sweeps the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

from vlmq.api import PluginError

CHROME_VARIABLE = "VLMQ_CHROME"
INSTALL_COMMAND = "apt-get install -y chromium"
CHROMEDRIVER_VARIABLE = "VLMQ_CHROMEDRIVER"
CHROMEDRIVER_COMMAND = "apt-get install -y chromium-driver"

_PROFILE_PREFIX = "vlmq-miniwob-"
_UNFINISHED = ".new"
"""Ends the name of a profile folder until its lock is held."""
_LOCK = "lock"
_ABANDONED_S = 600.0
"""Age from which a profile folder that is unfinished or has no lock belongs to nobody: either takes milliseconds."""
_PLACES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
_MAC_PLACES = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    # Nothing leaves the machine: no name resolves, what needs no name meets a closed proxy port.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=http://127.0.0.1:9",
    "--proxy-bypass-list=<-loopback>",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--disable-field-trial-config",
    "--disable-features=Translate,MediaRouter,OptimizationHints,AutofillServerCommunication,DialMediaRouteProvider",
    "--metrics-recording-only",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-service-autorun",
    "--password-store=basic",
    "--use-mock-keychain",
    # The same picture everywhere, as soon as it is asked for. Where only what changed is drawn again, round corners are
    # a shade of 255 lighter or darker after one episode than after another.
    "--disable-partial-raster",
    "--disable-gpu",
    "--disable-gpu-vsync",
    "--disable-lcd-text",
    "--force-color-profile=srgb",
    "--force-device-scale-factor=1",
    "--mute-audio",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-dev-shm-usage",
    # No crash reports. (--disable-crashpad-for-testing would go further, but then pages never load.)
    "--disable-breakpad",
    "--disable-crash-reporter",
)


def find_chromium(chrome: str | None) -> Path:
    """The Chromium to run: the argument, else the environment variable, else the usual places.

    Raises:
        PluginError: nothing runnable there.
    """
    for origin, named in (("chrome=", chrome), (f"{CHROME_VARIABLE}=", os.environ.get(CHROME_VARIABLE))):
        if named:
            found = shutil.which(named)
            if found is None:
                raise PluginError(
                    f"{origin}{named!r} is not a program that can be run; name a Chromium or Chrome binary "
                    f"(`{INSTALL_COMMAND}` provides /usr/bin/chromium)."
                )
            return Path(found)
    for place in (*_PLACES, *_MAC_PLACES):
        if found := shutil.which(place):
            return Path(found)
    raise PluginError(
        f"The MiniWoB environments need Chromium and none was found: install it with `{INSTALL_COMMAND}`, "
        f"or name the binary with chrome=... or {CHROME_VARIABLE}=..."
    )


def find_chromedriver() -> Path:
    """ChromeDriver, which Selenium needs: the environment variable, else the usual place.

    Raises:
        PluginError: nothing runnable there.
    """
    named = os.environ.get(CHROMEDRIVER_VARIABLE)
    if found := shutil.which(named or "chromedriver"):
        return Path(found)
    where = (
        f"{CHROMEDRIVER_VARIABLE}={named!r} is not a program that can be run" if named else "none was found"
    )
    raise PluginError(
        f"driver='selenium' needs ChromeDriver, and {where}: install it with `{CHROMEDRIVER_COMMAND}`, or name the "
        f"binary with {CHROMEDRIVER_VARIABLE}=..."
    )


def flags(profile: Path, sandbox: bool | None, frame_limit: bool) -> list[str]:
    """Chromium's command line.

    Args:
        profile: folder for all that it writes.
        sandbox: whether Chromium confines its pages; None means yes, unless run as root, where it cannot.
        frame_limit: whether it draws 60 times a second at most. Without, a picture takes half the time and more of the
            processor, and now and then the compositor draws on and on (`_Watch` of browser.py).
    """
    confined = os.geteuid() != 0 if sandbox is None else sandbox
    return [
        *_FLAGS,
        f"--user-data-dir={profile}",
        *([] if confined else ["--no-sandbox"]),
        *([] if frame_limit else ["--disable-frame-rate-limit"]),
    ]


class Remains:
    """The profile folder and the processes of one browser, and the way to end them for good."""

    def __init__(self) -> None:
        _sweep_profiles()
        unfinished = Path(tempfile.mkdtemp(prefix=_PROFILE_PREFIX, suffix=_UNFINISHED))
        # The lock says that the owner lives: the kernel drops it with the owner, however that ends.
        self._lock = os.open(unfinished / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.profile = unfinished.rename(unfinished.with_suffix(""))
        self.pid_file = self.profile / "pids"
        self._owner_pid = os.getpid()
        self._destroyed = False

    def environment(self) -> dict[str, str]:
        """Environment variables for Chromium: this process's, with temporary files inside the profile."""
        # Chromium makes a socket in a folder there, and a socket's path must not exceed 104 bytes.
        if len(os.fsencode(self.profile)) + len("/org.chromium.Chromium.XXXXXX/SingletonSocket") >= 104:
            return dict(os.environ)
        return {**os.environ, "TMPDIR": str(self.profile)}

    @property
    def pids(self) -> tuple[int, int] | None:
        """Process ids of Chromium and of Playwright's driver; None before Chromium was started."""
        try:
            chromium, driver = self.pid_file.read_text(encoding="ascii").split()
        except FileNotFoundError:
            return None
        return int(chromium), int(driver)

    def kill_chromium(self) -> None:
        """End Chromium and all its children now; nothing happens where they have ended."""
        if self.pids is not None and self._is_chromium(self.pids[0]):
            _kill(self.pids[0], group=True)

    def cpu_s(self) -> float | None:
        """Processor time that Chromium and its children have taken so far; None where the system does not tell."""
        pids = self.pids
        if pids is None or not Path("/proc/self").exists():
            return None
        known = [_status_of(process) for process in Path("/proc").glob("[0-9]*")]
        ours = [status for status in known if status is not None and int(status[2]) == pids[0]]
        return sum(int(status[11]) + int(status[12]) for status in ours) / os.sysconf("SC_CLK_TCK")

    def destroy(self) -> None:
        """Kill what still runs and remove the profile; in a process other than the maker's, do nothing."""
        if self._destroyed or os.getpid() != self._owner_pid:
            return
        self._destroyed = True
        self.kill_chromium()
        if self.pids is not None and _parent_of(self.pids[1]) == self._owner_pid:
            _kill(self.pids[1], group=False)
        _remove(self.profile)
        os.close(self._lock)

    def _is_chromium(self, pid: int) -> bool:
        """Whether the process is still ours: a process id may be given to another once ours has ended."""
        proc = Path("/proc", str(pid), "cmdline")
        if not Path("/proc/self").exists():
            return True
        try:
            return str(self.profile).encode() in proc.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False


def _kill(pid: int, *, group: bool) -> None:
    try:
        # Playwright makes Chromium the leader of a process group, which its children share.
        if group and os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended by itself in the meantime


def _parent_of(pid: int) -> int | None:
    """Process id of the parent; None where the process has ended or the system does not tell."""
    status = _status_of(Path("/proc", str(pid)))
    return None if status is None else int(status[1])


def _status_of(process: Path) -> list[str] | None:
    """The fields after the name in a process's `stat`; None where it has ended or the system does not tell."""
    try:
        status = (process / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return status.rpartition(")")[2].split()


def _sweep_profiles() -> None:
    """Remove the profile folders of owners that were killed: those whose lock nobody holds."""
    for profile in Path(tempfile.gettempdir()).glob(f"{_PROFILE_PREFIX}*"):
        if profile.suffix == _UNFINISHED:
            _remove_abandoned(profile)
            continue
        try:
            lock = os.open(profile / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            _remove_abandoned(profile)
            continue
        except OSError:
            continue  # another user's
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # its owner lives
        else:
            _remove(profile)
        finally:
            os.close(lock)


def _remove_abandoned(profile: Path) -> None:
    """Remove a folder that nobody can lock, unless it is being made or being removed by another process."""
    with contextlib.suppress(OSError):  # it is gone meanwhile
        if time.time() - profile.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(profile, ignore_errors=True)


def _remove(profile: Path) -> None:
    """Remove a folder whose lock is held, the lock last: the next sweep ends a removal that was cut short."""
    with contextlib.suppress(OSError):
        for path in profile.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink(missing_ok=True)
        if [path.name for path in profile.iterdir()] == [_LOCK]:
            shutil.rmtree(profile, ignore_errors=True)
