"""The command line over real browsers: collect, 20 updates, validate; browsers die on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from vlmq.data.store import EpisodeStore

CONFIG = """\
trainer: {default_root_dir: RUN, accelerator: cpu, devices: 1, val_check_interval: 10, enable_progress_bar: false}
model:
  backbone: pkg:vlmq_model_tiny
  max_reply: 16
  critic: {members: 1, width: 16, dim: 8}
  phases:
    - {name: warmup, updates: 10, filter: always}
    - {name: afsft_online, updates: 10, online: 0.5}
data:
  env: miniwob/click-test-v1
  num_envs: 2
  timeout_s: 30
  batch_size: 4
  collect: {policy: mixture, expert: 0.5, episodes: 16, corruption: 0.1}
  online: {episodes: 4, every: 5}
  evaluation: {episodes: 2, final_episodes: 4}
"""


def _browsers(process: psutil.Process) -> list[psutil.Process]:
    """The main process of each Chromium that runs under this one."""
    found = []
    for child in process.children(recursive=True):
        try:
            line = child.cmdline()
        except psutil.Error:
            continue
        if any("remote-debugging" in word for word in line) and not any(
            w.startswith("--type=") for w in line
        ):
            found.append(child)
    return found


def test_a_run_outlives_its_browsers(chromium: None, tmp_path: Path) -> None:
    config = tmp_path / "miniwob.yaml"
    config.write_text(CONFIG.replace("RUN", str(tmp_path / "run")))
    command = [str(Path(sys.executable).with_name("vlmq")), "fit", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        tree = psutil.Process(run.pid)
        killed = 0
        stores = [tmp_path / "run" / name for name in ("dataset", "replay")]
        while run.poll() is None and killed < 2:
            # One dies while the dataset is collected, one while the agent plays.
            if (stores[killed] / "meta.json").is_file() and (browsers := _browsers(tree)):
                browsers[0].send_signal(signal.SIGKILL)
                killed += 1
            time.sleep(0.2)
        said, _ = run.communicate()
    assert run.returncode == 0, said
    assert killed == 2, said
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["data", "warmup", "afsft_online"]
    # Nothing is lost: the episodes whose browser died were played again.
    assert len(EpisodeStore.open(stores[0])) == 16
    assert len(EpisodeStore.open(stores[1])) == 8
    assert not any(not episode.turns for episode in EpisodeStore.open(stores[0]))


@pytest.mark.slow
def test_a_run_over_browsers_that_is_killed_again_and_again_loses_and_doubles_nothing(
    chromium: None, tmp_path: Path
) -> None:
    config, run_dir = tmp_path / "miniwob.yaml", tmp_path / "run"
    config.write_text(CONFIG.replace("RUN", str(run_dir)))
    command = [str(Path(sys.executable).with_name("vlmq")), "fit", "--config", str(config)]
    last = run_dir / "checkpoints" / "last.ckpt"
    moments = [
        run_dir / "dataset" / "episodes.bin",
        last,
        run_dir / "replay" / "episodes.bin",
    ]
    for moment in moments:
        more = ["--ckpt_path", "last"] if last.is_file() else []
        with (
            (tmp_path / "said").open("w") as said,
            subprocess.Popen([*command, *more], stdout=said, stderr=said) as run,
        ):
            while not (moment.is_file() and moment.stat().st_size):
                assert run.poll() is None, (moment.name, (tmp_path / "said").read_text())
                time.sleep(0.05)
            browsers = _browsers(psutil.Process(run.pid))
            run.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(browsers, timeout=30)
        assert not alive, "a browser outlives its trainer"
    done = subprocess.run([*command, "--ckpt_path", "last"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, count in (("dataset", 16), ("replay", 8)):
        store = EpisodeStore.open(run_dir / name)
        assert store.verify() == []
        assert sorted(store.table["index"].tolist()) == list(range(count)), "none lost, none twice"
        assert all(episode.turns for episode in store)
    rows = json.loads((run_dir / "results.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["data", "warmup", "afsft_online"]
    assert rows[-1]["updates"] == 20
    assert rows[-1]["curve"][-1]["own_turns"] == sum(
        len(e.turns) for e in EpisodeStore.open(run_dir / "replay")
    )
    dataset = EpisodeStore.open(run_dir / "dataset")
    assert rows[0]["success"] == sum(bool(episode.success) for episode in dataset) / 16
