"""A dataset played by a server is the one played here, also where the server dies in the middle and comes back."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_run import SmallRun, episode_bits

from vlmq.data.store import EpisodeStore
from vlmq.report.results import read_results

EPISODES = 300


def serve(port: int = 0) -> tuple[subprocess.Popen[str], int]:
    """`vlmq serve` as a person starts it, and the port it listens at."""
    program = str(Path(sys.executable).with_name("vlmq"))
    process = subprocess.Popen(
        [program, "serve", "line/Walk-v0", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith("serving remote://127.0.0.1:"), said
    return process, int(said.split(":")[2].split("/")[0])


def collect(folder: Path, env: str) -> tuple[str, ...]:
    return "--data.env", env, "--data.dataset", str(folder), "--data.collect.episodes", str(EPISODES)


def episodes(folder: Path) -> dict[int, list[object]]:
    store = EpisodeStore.open(folder)
    found = {episode.index: episode_bits(episode) for episode in store}
    assert len(found) == len(store), "none twice"
    return found


def test_a_server_that_dies_while_episodes_are_collected_costs_none(small: SmallRun, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    assert small.vlmq("collect", tmp_path / "run", *collect(here, "line/Walk-v0")) == 0
    server, port = serve()
    url = f"remote://127.0.0.1:{port}/line/Walk-v0"
    collecting = small.start("collect", tmp_path / "run", *collect(there, url))
    stored = there / "episodes.bin"
    deadline = time.monotonic() + 300  # only ends a test whose collection never begins
    while not (stored.is_file() and stored.stat().st_size) and time.monotonic() < deadline:
        assert collecting.poll() is None, collecting.communicate()
        time.sleep(0.01)
    server.send_signal(signal.SIGKILL)
    server.wait()
    assert len(EpisodeStore.open(there)) < EPISODES, "it was killed in the middle"
    server, _ = serve(port)
    try:
        out, err = collecting.communicate(timeout=300)
    finally:
        server.terminate()
        server.wait()
    assert collecting.returncode == 0, err
    assert "given up" not in out + err, out + err
    assert episodes(there) == episodes(here)


def test_a_run_in_environments_elsewhere_learns_from_the_dataset_made_here(
    small: SmallRun, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    server, port = serve()
    try:
        env = "--data.env", f"remote://127.0.0.1:{port}/line/Walk-v0"
        assert small.vlmq("fit", run_dir, *env) == 0
        own = EpisodeStore.open(run_dir / "replay")
        assert {own[place].env_id for place in range(len(own))} == {"line/Walk-v0"}
        assert len(own) == 16
        policies = "--data.evaluation.policies", "[model, random, expert]"
        assert small.vlmq("validate", run_dir, *env, *policies, "--ckpt_path", "last") == 0
        assert read_results(run_dir / "validate.json")[-1].success == 1.0, "the expert's"
    finally:
        server.terminate()
        server.wait()


def test_a_server_that_is_not_there_is_one_sentence(
    small: SmallRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert small.vlmq("fit", tmp_path / "run", "--data.env", "remote://127.0.0.1:1/line/Walk-v0") == 2
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith("vlmq: ")
    assert "no environment server answers at 127.0.0.1:1 (Connection refused)" in said
