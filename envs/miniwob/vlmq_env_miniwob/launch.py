"""Starts Chromium so that it cannot outlive its owner: run as a script, it becomes the browser by exec.

Usage: `python -I -S launch.py PIDFILE CHROMIUM FLAG...`. It asks the kernel to kill this process when its
parent (Playwright's driver) dies, writes its own and its parent's process id to PIDFILE, and then replaces
itself with Chromium, which keeps the process id, the request and the open pipes. Only the standard library:
it must start in milliseconds.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Tie this process to its parent, tell who we are, become the browser."""
    pid_file, chromium = argv[0], argv[1]
    if sys.platform == "linux":
        # Elsewhere Chromium still ends when its debugging pipe closes; the kernel's promise is Linux only.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    partial = f"{pid_file}.partial"
    with open(partial, "w", encoding="ascii") as file:
        file.write(f"{os.getpid()} {os.getppid()}")
    os.replace(partial, pid_file)
    try:
        os.execv(chromium, [chromium, *argv[2:]])
    except OSError as error:
        sys.exit(str(error.strerror))


if __name__ == "__main__":
    main(sys.argv[1:])
