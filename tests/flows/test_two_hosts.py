"""Two hosts and a cable: play and learning over both are those of one, whoever dies and though the cable is pulled.

The hosts are network namespaces: real sockets, real interfaces, one machine's files.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hosts import ADDRESSES, GCS, INTERFACE, TwoHosts, two_hosts
from small_run import SmallRun, check_same, episode_bits, logged

from vlmq.data.store import EpisodeStore
from vlmq.report.results import read_results

pytestmark = pytest.mark.slow

CUT_S = 30.0
UPDATES = 6
SHORT = (
    *("--model.phases", "[{name: online, updates: 6, filter: always, online: 0.5}]"),
    *("--data.online.every", "1", "--trainer.val_check_interval", "6"),
    *("--data.evaluation.episodes", "2", "--data.evaluation.final_episodes", "2"),
)
RAY = ("--data.collectors.backend", "ray", "--data.collectors.address", GCS)
PATIENT = {"RAY_health_check_failure_threshold": "60"}
QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
LEAST_SUCCESS = 0.95
"""Of the quickstart's tasks, after own play."""


@pytest.fixture
def hosts() -> Iterator[TwoHosts]:
    with two_hosts() as made:
        yield made


@pytest.fixture(scope="module")
def played(small: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run on one host, its play by two processes."""
    run_dir = tmp_path_factory.mktemp("one_host") / "run"
    assert small.vlmq("fit", run_dir, *SHORT, "--data.collectors.backend", "process") == 0
    return run_dir


def _in_the_middle(file: Path, running: subprocess.Popen[str], then: Callable[[], None]) -> None:
    """Do something as soon as a file has content."""
    while not (file.is_file() and file.stat().st_size):
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    then()


def _finished(running: subprocess.Popen[str]) -> str:
    out, err = running.communicate(timeout=3600)  # the limit only ends a deadlock
    assert running.returncode == 0, out + err
    return out + err


def _cut_for_a_while(hosts: TwoHosts) -> None:
    hosts.cut()
    threading.Timer(CUT_S, hosts.mend).start()


def test_ray_spreads_collectors_over_both_hosts_and_waits_while_the_cable_is_pulled(
    hosts: TwoHosts, small: SmallRun, played: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    hosts.start_ray(cpus=(1, 1), **PATIENT)
    run_dir = tmp_path / "run"
    running = hosts.start(0, "vlmq", *small.arguments("fit", run_dir, *SHORT, *RAY))
    where: list[list[int]] = []

    def cut() -> None:
        where.extend(hosts.pids(host, b"ray::_RayHost") for host in (0, 1))
        _cut_for_a_while(hosts)

    _in_the_middle(run_dir / "replay" / "episodes.bin", running, cut)
    said = _finished(running)
    check_same(run_dir, played, UPDATES)
    assert [len(pids) for pids in where] == [1, 1], "one collector on each host"
    assert f"of 2: its machine, {ADDRESSES[1]}, cannot be reached" in said


def test_a_host_that_dies_in_the_middle_changes_nothing(
    hosts: TwoHosts, small: SmallRun, played: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    hosts.start_ray(cpus=(2, 1))
    run_dir = tmp_path / "run"
    running = hosts.start(0, "vlmq", *small.arguments("fit", run_dir, *SHORT, *RAY))
    killed: list[int] = []

    def kill_all() -> None:
        killed.extend(hosts.pids(1))
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    _in_the_middle(run_dir / "replay" / "episodes.bin", running, kill_all)
    said = _finished(running)
    assert killed
    assert "of 2 is replaced" in said
    check_same(run_dir, played, UPDATES)


def test_environments_elsewhere_are_waited_for_while_the_cable_is_pulled(
    hosts: TwoHosts, small: SmallRun, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    token = tmp_path / "token"
    token.write_text("a line of our choice\n")
    wanted = ("--data.collect.episodes", "300")
    assert small.vlmq("collect", tmp_path / "run", *wanted, "--data.dataset", str(here)) == 0
    server = hosts.start(
        1, "vlmq", "serve", "line/Walk-v0", "--host", ADDRESSES[1], "--token-file", str(token)
    )
    assert server.stdout is not None
    assert server.stdout.readline().startswith(f"serving remote://{ADDRESSES[1]}:7777")
    url = f"remote://{ADDRESSES[1]}:7777/line/Walk-v0"
    collecting = hosts.start(
        0, "vlmq", *small.arguments("collect", tmp_path / "run", *wanted, "--data.dataset", str(there)),
        "--data.env", url, VLMQ_TOKEN_FILE=str(token),
    )  # fmt: skip
    _in_the_middle(there / "episodes.bin", collecting, lambda: _cut_for_a_while(hosts))
    assert len(EpisodeStore.open(there)) < 300, "it was cut in the middle"
    said = _finished(collecting)
    assert f"waiting for the environment server {ADDRESSES[1]}:7777: it cannot be reached" in said
    assert "given up" not in said
    assert _episodes(there) == _episodes(here)


def test_torchrun_over_both_hosts_gives_the_losses_and_episodes_of_one_process(
    hosts: TwoHosts, small: SmallRun, tmp_path: Path
) -> None:
    one, both = tmp_path / "one", tmp_path / "both"
    assert small.vlmq("fit", one, *SHORT) == 0
    for running in _torchrun(hosts, *small.arguments("fit", both, *SHORT)):
        _finished(running)
    expected, actual = logged(one), logged(both)
    assert sorted(actual) == sorted(expected) == list(range(UPDATES))
    for update, line in expected.items():
        for name in ("train/actor_loss", "train/critic_loss", "pass_rate"):
            assert actual[update][name] == pytest.approx(line[name], abs=1e-5), (update, name)
    stores = [EpisodeStore.open(run_dir / "replay") for run_dir in (one, both)]
    replies = [{e.index: [turn.reply_ids.tolist() for turn in e.turns] for e in store} for store in stores]
    assert len(replies[0]) == 4 * UPDATES
    assert replies[1] == replies[0]


def test_ray_over_both_hosts_learns_what_the_quickstart_learns(hosts: TwoHosts, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    hosts.start_ray(cpus=(0, 1))
    running = hosts.start(0, "vlmq", *_quickstart(tmp_path / "run"), *RAY, "--data.collectors.count", "1")
    _finished(running)
    _check_learnt(tmp_path / "run")


def test_torchrun_over_both_hosts_learns_what_the_quickstart_learns(hosts: TwoHosts, tmp_path: Path) -> None:
    for running in _torchrun(hosts, *_quickstart(tmp_path / "run")):
        _finished(running)
    _check_learnt(tmp_path / "run")


def _quickstart(run_dir: Path) -> list[str]:
    """Its command, without the baseline and the bars."""
    phases = [
        phase for phase in yaml.safe_load(QUICKSTART.read_text())["model"]["phases"] if phase["name"] != "sft"
    ]
    changed = yaml.safe_dump(phases, default_flow_style=True)
    return [
        *("fit", "--config", str(QUICKSTART), "--model.phases", changed),
        *("--trainer.default_root_dir", str(run_dir), "--trainer.enable_progress_bar", "false"),
    ]


def _check_learnt(run_dir: Path) -> None:
    rows = {row.name: row for row in read_results(run_dir / "results.json")}
    online = rows["afsft_online"]
    assert online.low > rows["warmup"].high, "the intervals are apart"
    assert online.success >= LEAST_SUCCESS
    with EpisodeStore.open(run_dir / "replay") as own_play:
        assert {episode.index for episode in own_play} == set(range(len(own_play)))
        assert len(own_play) == 20 * 32, "twenty rounds, none lost and none twice"


def _torchrun(hosts: TwoHosts, *fit: str) -> list[subprocess.Popen[str]]:
    """`vlmq fit` by one process on each host."""
    return [
        hosts.start(
            host, "torchrun", "--nnodes", "2", "--node-rank", str(host), "--nproc-per-node", "1",
            "--master-addr", ADDRESSES[0], "--master-port", "29500", "--local-addr", ADDRESSES[host],
            "--no-python", "vlmq", *fit, "--trainer.num_nodes", "2", "--trainer.strategy", "ddp",
            GLOO_SOCKET_IFNAME=INTERFACE,
        )
        for host in (0, 1)
    ]  # fmt: skip


def _episodes(folder: Path) -> dict[int, list[object]]:
    store = EpisodeStore.open(folder)
    found = {episode.index: episode_bits(episode) for episode in store}
    assert len(found) == len(store), "none twice"
    return found
