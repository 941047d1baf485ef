"""Test fixture: two hosts of their own network namespaces, joined by a switch whose cable can be pulled.

They share this machine's files and processors. It needs root and `ip`; whatever was started on them ends with them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ADDRESSES = "10.99.0.1", "10.99.0.2"
INTERFACE = "eth0"
GCS = f"{ADDRESSES[0]}:6379"


@dataclass(frozen=True)
class TwoHosts:
    """Commands on either host, 0 or 1.

    Attributes:
        spaces: namespaces of both hosts and of the switch.
        folder: of its own, with a short name.
        environment: of whatever is started.
    """

    spaces: tuple[str, str, str]
    folder: Path
    environment: dict[str, str]

    def start(self, host: int, program: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a program of this virtual environment."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.spaces[host], program, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**self.environment, **variables},
        )  # fmt: skip

    def start_ray(self, *, cpus: tuple[int, int], **variables: str) -> None:
        """A Ray cluster over both, its head on the first; with so many places for actors on each."""
        for host in (0, 1):
            self.add_to_ray(host, cpus[host], **variables)

    def add_to_ray(self, host: int, cpus: int, **variables: str) -> None:
        """`ray start` on one of them."""
        role = ["--head", "--port", "6379", "--include-dashboard", "false", "--temp-dir", str(self.folder)]
        # in files: what it starts keeps its output open
        said = self.folder.with_name(f"{self.folder.name}-{host}.txt")
        with said.open("w") as file:
            done = subprocess.run(
                [
                    *("ip", "netns", "exec", self.spaces[host], "ray", "start"),
                    *(["--address", GCS] if host else role), "--node-ip-address", ADDRESSES[host],
                    "--num-cpus", str(cpus), "--object-store-memory", "80000000",
                ],
                stdout=file, stderr=file, env={**self.environment, **variables},
            )  # fmt: skip
        assert done.returncode == 0, said.read_text()

    def pids(self, host: int, started_as: bytes = b"") -> list[int]:
        """Processes of a host whose command line holds this."""
        found = []
        listed = subprocess.run(["ip", "netns", "pids", self.spaces[host]], capture_output=True, text=True)
        for pid in listed.stdout.split():
            with suppress(OSError):
                if started_as in Path("/proc", pid, "cmdline").read_bytes():
                    found.append(int(pid))
        return found

    def cut(self) -> None:
        """Pull the cable between the second host and the switch."""
        ip("-n", self.spaces[2], "link", "set", "port1", "down")

    def mend(self) -> None:
        """Plug it in again."""
        ip("-n", self.spaces[2], "link", "set", "port1", "up")


def ip(*arguments: str) -> None:
    """Run `ip`, which must work."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """Make them, and remove them whatever happens; skips where that cannot be done."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("two hosts are made of network namespaces, which takes root and `ip` (Debian: iproute2)")
    name = f"vlmq{os.getpid()}"
    spaces = (f"{name}a", f"{name}b", f"{name}s")
    folder = Path(tempfile.mkdtemp(prefix="vq", dir="/tmp"))  # a socket's path is at most 107 characters
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        **os.environ, "PATH": path, "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # Ray's own 15 starves them where other work keeps the processors busy
    }  # fmt: skip
    hosts = TwoHosts(spaces, folder, environment)
    try:
        try:
            for space in spaces:
                ip("netns", "add", space)
            ip("-n", spaces[2], "link", "add", "switch", "type", "bridge")
            for host, address in enumerate(ADDRESSES):
                port, own = f"port{host}", spaces[host]
                ip(
                    "link",
                    "add",
                    port,
                    "netns",
                    spaces[2],
                    "type",
                    "veth",
                    "peer",
                    "name",
                    INTERFACE,
                    "netns",
                    own,
                )
                ip("-n", spaces[2], "link", "set", port, "master", "switch", "up")
                ip("-n", own, "addr", "add", f"{address}/24", "dev", INTERFACE)
                ip("-n", own, "link", "set", INTERFACE, "up")
                ip("-n", own, "link", "set", "lo", "up")
            ip("-n", spaces[2], "link", "set", "switch", "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this machine makes no network namespaces: {error.stderr.strip()}")
        yield hosts
    finally:
        for end in (signal.SIGTERM, signal.SIGKILL):
            for pid in hosts.pids(0) + hosts.pids(1):
                with suppress(ProcessLookupError):
                    os.kill(pid, end)
            deadline = time.monotonic() + 5
            while hosts.pids(0) + hosts.pids(1) and time.monotonic() < deadline:
                time.sleep(0.1)
        for space in spaces:
            subprocess.run(["ip", "netns", "del", space], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
        for said in folder.parent.glob(f"{folder.name}-*.txt"):
            said.unlink()
