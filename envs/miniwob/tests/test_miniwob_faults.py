"""A thousand episodes while browsers are killed, frozen and crashed: each is whole and right, or counted."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from vlmq.data.store import EpisodeStore
from vlmq.train.arena import settle_lost

CONFIG = """\
trainer: {default_root_dir: RUN, accelerator: cpu, devices: 1, enable_progress_bar: false}
model:
  backbone: pkg:vlmq_model_tiny
  reply_format: plain
  max_reply: 24
  phases: [{name: warmup, updates: 10, filter: always}]
data:
  env: miniwob/Starter-v1
  num_envs: 3
  timeout_s: 6
  collect: {policy: expert, episodes: EPISODES}
"""
EVERY_S = 3.0
"""From one fault to the next."""


def _chromium(tree: psutil.Process) -> dict[str, list[psutil.Process]]:
    """The processes of all browsers under this one, by kind: browser, renderer, gpu-process, utility ..."""
    found: dict[str, list[psutil.Process]] = {}
    for child in tree.children(recursive=True):
        try:
            line = child.cmdline()
        except psutil.Error:
            continue
        if any("remote-debugging" in word or word.startswith("--type=") for word in line):
            kind = next((word[7:] for word in line if word.startswith("--type=")), "browser")
            found.setdefault(kind, []).append(child)
    return found


def _strike(tree: psutil.Process, chance: random.Random, done: Counter[str]) -> None:
    """One fault somewhere."""
    kind, sent = chance.choice(
        [
            ("browser", signal.SIGKILL),
            ("renderer", signal.SIGKILL),
            ("gpu-process", signal.SIGKILL),
            ("browser", signal.SIGSTOP),
            ("renderer", signal.SIGSTOP),
        ]
    )
    processes = _chromium(tree).get(kind, [])
    if processes:
        try:
            chance.choice(processes).send_signal(sent)
        except psutil.NoSuchProcess:
            return
        done[f"{sent.name} {kind}"] += 1


def _collect(
    folder: Path, episodes: int, chance: random.Random | None
) -> tuple[EpisodeStore, Counter[str], str, set[int]]:
    config = folder / "faults.yaml"
    config.write_text(CONFIG.replace("RUN", str(folder / "run")).replace("EPISODES", str(episodes)))
    command = [str(Path(sys.executable).with_name("vlmq")), "collect", "--config", str(config)]
    done: Counter[str] = Counter()
    ours: set[int] = set()
    with (folder / "said").open("w") as said, subprocess.Popen(command, stdout=said, stderr=said) as run:
        tree = psutil.Process(run.pid)
        while run.poll() is None:
            time.sleep(EVERY_S)
            if run.poll() is None:
                ours |= {child.pid for child in tree.children(recursive=True)}
                if chance is not None:
                    _strike(tree, chance, done)
    text = (folder / "said").read_text()
    assert run.returncode == 0, text
    return EpisodeStore.open(folder / "run" / "dataset"), done, text, ours


def _num_given_up(said: str) -> int:
    return sum(int(number) for number in re.findall(r"(\d+) episodes? (?:was|were) given up", said))


def test_the_episodes_that_collect_gives_up_are_counted(capfd: pytest.CaptureFixture[str]) -> None:
    settle_lost([(12, "Chromium was killed"), (31, "Chromium failed"), (40, "Chromium was killed")])
    assert _num_given_up("".join(capfd.readouterr())) == 3


@pytest.mark.slow
def test_episodes_are_whole_and_right_or_counted_while_browsers_die(chromium: None, tmp_path: Path) -> None:
    (tmp_path / "calm").mkdir()
    store, done, said, pids = _collect(tmp_path, 1000, random.Random(0))
    assert done.total() >= 20
    assert len(done) == 5, done
    assert len(store) + _num_given_up(said) == 1000
    assert len(store) >= 950
    calm, *_ = _collect(tmp_path / "calm", 60, None)
    assert float(calm.table["success"].mean()) >= 0.95
    failed = [(e.env_id, e.seed, [turn.action for turn in e.turns]) for e in store if not e.success]
    assert len(failed) <= 0.05 * len(store), (done, failed[:5])
    assert all(e.terminated or e.turns for e in store)
    deadline = time.monotonic() + 20
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
