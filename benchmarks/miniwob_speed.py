"""Episodes a second on one task page: ours, the `miniwob` package's own environment, and BrowserGym's, side by side.

    python benchmarks/miniwob_speed.py [--rounds 5] [--browsergym PYTHON]

Everybody plays click-test-2 with pictures of every turn on the same Chromium, one click an episode, at random among
what can be clicked; a round gives each of them a process of its own, one after the other, and starting the browser
does not count. `--browsergym` names the Python of a virtual environment with `browsergym-miniwob`, whose pinned
Playwright could not be installed beside ours; it is left out without. The last lines are the ratios, the figure of two
workers, and what our environment costs beyond Chromium's own screenshot.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

TASK = "click-test-2"
PEERS = ("ours", "miniwob", "browsergym")
Episode = Callable[[int], None]


def main() -> None:
    """Play the rounds and print the ratios; with `--play` play one part of a round and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of play, each part of each round")
    parser.add_argument("--browsergym", metavar="PYTHON", help="an interpreter that has browsergym-miniwob")
    parser.add_argument("--chrome", default=shutil.which("chromium"))
    parser.add_argument("--chromedriver", default=shutil.which("chromedriver"))
    parser.add_argument("--pages", help=argparse.SUPPRESS)
    parser.add_argument("--play", choices=PEERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play:
        print(json.dumps(play(arguments)))
        return
    from vlmq_env_miniwob.places import find_pages

    arguments.pages = str(find_pages())
    peers = [peer for peer in PEERS if peer != "browsergym" or arguments.browsergym]
    rates: dict[str, list[float]] = {peer: [] for peer in (*peers, "two workers")}
    shares = []
    for _ in range(arguments.rounds):
        for peer in peers:
            (told,) = parts(arguments, peer)
            rates[peer].append(told["episodes_per_s"])
            if peer == "ours":
                shares.append(told["screenshot_share"])
        rates["two workers"].append(sum(told["episodes_per_s"] for told in parts(arguments, "ours", 2)))
    for name, found in rates.items():
        print(f"{name:12} {median(found):6.2f} episodes/s (range {min(found):.2f} to {max(found):.2f})")
    for peer in [*peers[1:], "two workers"]:
        ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates[peer], strict=True)]
        ratios = [1 / ratio for ratio in ratios] if peer == "two workers" else ratios
        what = "two workers over one" if peer == "two workers" else f"ours over {peer}"
        print(f"{what}: {median(ratios):.1f} times (range {min(ratios):.1f} to {max(ratios):.1f})")
    beyond = [1 / share - 1 for share in shares]
    print(
        f"ours beyond Chromium's screenshots: {100 * median(beyond):.0f} % of their time "
        f"(range {100 * min(beyond):.0f} to {100 * max(beyond):.0f})"
    )


def parts(arguments: argparse.Namespace, peer: str, workers: int = 1) -> list[dict[str, float]]:
    """What so many processes at once report."""
    python = arguments.browsergym if peer == "browsergym" else sys.executable
    told = ("--seconds", "--chrome", "--chromedriver", "--pages")
    options = [text for name in told for text in (name, str(getattr(arguments, name[2:])))]
    command = [python, str(Path(__file__).resolve()), "--play", peer, *options]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]


def play(arguments: argparse.Namespace) -> dict[str, float]:
    """Episodes a second of one peer, and for ours the share of its time that went into screenshots."""
    spent = {"screenshots": 0.0}
    episode: Episode = globals()[f"_{arguments.play}"](arguments, spent)
    for seed in range(3):
        episode(seed)
    spent["screenshots"] = 0.0
    started, episodes = time.perf_counter(), 0
    while (taken := time.perf_counter() - started) < arguments.seconds:
        episode(1000 + episodes)
        episodes += 1
    return {"episodes_per_s": episodes / taken, "screenshot_share": spent["screenshots"] / taken}


def _ours(arguments: argparse.Namespace, spent: dict[str, float]) -> Episode:
    from vlmq_env_miniwob.env import MiniWobEnv

    class Timed:
        """The DevTools session of a tab, with the seconds that Chromium takes for a screenshot."""

        def __init__(self, session: Any) -> None:
            self.session = session

        def send(self, method: str, wish: Any) -> Any:
            started = time.perf_counter()
            reply = self.session.send(method, wish)
            spent["screenshots"] += time.perf_counter() - started
            return reply

    env = MiniWobEnv(TASK, chrome=arguments.chrome)

    def episode(seed: int) -> None:
        _, info = env.reset(seed=seed)
        tab = env._page._tab  # type: ignore[union-attr]
        if not isinstance(tab._devtools, Timed):
            tab._devtools = Timed(tab._devtools)  # type: ignore[assignment]
        env.step(random.choice(info["legal_actions"]))

    return episode


def _miniwob(arguments: argparse.Namespace, spent: dict[str, float]) -> Episode:
    os.environ |= {
        "MINIWOB_CHROME_BINARY": arguments.chrome, "MINIWOB_CHROMEDRIVER": arguments.chromedriver,
        "SE_OFFLINE": "true", "SE_AVOID_STATS": "true",
    }  # fmt: skip
    from miniwob.action import ActionTypes
    from miniwob.environment import MiniWoBEnvironment

    env = MiniWoBEnvironment(subdomain=TASK)

    def episode(seed: int) -> None:
        observation, _ = env.reset(seed=seed)
        buttons = [element["ref"] for element in observation["dom_elements"] if element["tag"] == "button"]
        env.step(env.unwrapped.create_action(ActionTypes.CLICK_ELEMENT, ref=random.choice(buttons)))

    return episode


def _browsergym(arguments: argparse.Namespace, spent: dict[str, float]) -> Episode:
    import playwright

    # It takes no path of a browser: this one is put where its Playwright looks for the one it would download.
    known = json.loads((Path(playwright.__file__).parent / "driver/package/browsers.json").read_text())
    revision = next(b["revision"] for b in known["browsers"] if b["name"] == "chromium")
    folder = Path(tempfile.mkdtemp(prefix="vlmq-browsergym-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    place = folder / f"chromium-{revision}" / "chrome-linux"
    place.mkdir(parents=True)
    (place / "chrome").symlink_to(arguments.chrome)
    (place.parent / "INSTALLATION_COMPLETE").touch()
    os.environ |= {
        "PLAYWRIGHT_BROWSERS_PATH": str(folder), "PLAYWRIGHT_SKIP_VALIDATE_HOST_REQUIREMENTS": "1",
        "MINIWOB_URL": f"{Path(arguments.pages, 'miniwob').as_uri()}/",
    }  # fmt: skip
    import browsergym.miniwob  # noqa: F401  # registers the ids
    import gymnasium

    env = gymnasium.make(f"browsergym/miniwob.{TASK}")

    def episode(seed: int) -> None:
        observation, _ = env.reset(seed=seed)
        nodes = observation["axtree_object"]["nodes"]
        buttons = [
            node["browsergym_id"]
            for node in nodes
            if node.get("role", {}).get("value") == "button" and "browsergym_id" in node
        ]
        env.step(f"click('{random.choice(buttons)}')")

    return episode


if __name__ == "__main__":
    main()
