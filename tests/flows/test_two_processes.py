"""Training on two processes is training on one: the same episodes, the same losses, sharded or not."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vlmq.data.store import EpisodeStore
from vlmq.report.results import read_results

UPDATES = 20
CONFIG = """
seed_everything: 1
trainer:
  accelerator: cpu
  devices: 1
  val_check_interval: 5
  checkpoint_every: 5
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
model:
  backbone: {model}
  max_reply: 6
  learning_rate: 1.0e-3
  critic: {{members: 2, width: 32, dim: 8}}
  phases:
    - {{name: warmup, updates: 5, filter: always}}
    - {{name: sft, updates: 5, filter: always, critic: false, start_from: warmup, baseline: true}}
    - {{name: online, updates: 10, online: 0.5, priority: 0.25, start_from: warmup}}
data:
  env: line/Walk-v0
  num_envs: 4
  workers: false
  batch_size: 8
  collect: {{policy: random, episodes: 24, corruption: 0.3}}
  # Five episodes over two processes: one of them ends up with nothing to play while the other still acts.
  online: {{episodes: 5, every: 5, explore: 0.2}}
  evaluation: {{episodes: 2, final_episodes: 3}}
"""
DDP = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
FSDP2 = ("--trainer.devices", "2", "--trainer.strategy", "fsdp2")
MODEL_PARALLEL = (
    *("--trainer.devices", "2"),
    *("--trainer.strategy.class_path", "lightning.pytorch.strategies.ModelParallelStrategy"),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = pytest.importorskip("vlmq_model_tiny.build")
    folder = tmp_path_factory.mktemp("two_processes")
    build.build(folder / "model")
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(model=folder / "model"))
    return path


@pytest.fixture(scope="module")
def one(config: Path) -> Path:
    return fit(config, "one")


def fit(config: Path, name: str, *options: str) -> Path:
    """Run `vlmq fit` as a person would; gives the run's folder."""
    run_dir = config.parent / name
    vlmq("fit", config, run_dir, *options)
    return run_dir


def vlmq(verb: str, config: Path, run_dir: Path, *options: str) -> None:
    # The limit only ends a deadlock.
    done = subprocess.run(
        _command(verb, config, run_dir, *options), capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _command(verb: str, config: Path, run_dir: Path, *options: str) -> list[str]:
    return [
        str(Path(sys.executable).with_name("vlmq")), verb, "--config", str(config),
        "--trainer.default_root_dir", str(run_dir), *options,
    ]  # fmt: skip


def logged(run_dir: Path) -> list[dict[str, float]]:
    """Losses and pass rate of each update, resumed parts one after the other."""
    lines = []
    for path in sorted(run_dir.glob("logs/version_*/metrics.csv")):
        with path.open() as file:
            rows = [row for row in csv.DictReader(file) if row.get("train/actor_loss")]
        # A validation of the run has logged no update.
        wanted = (
            [name for name in rows[0] if name.startswith("train/") or name == "pass_rate"] if rows else []
        )
        lines += [{name: float(row[name]) for name in wanted if row[name]} for row in rows]
    return lines


def played(run_dir: Path) -> list[tuple[int, int, list[list[int]]]]:
    """Index, seed and reply ids of the agent's own episodes."""
    store = EpisodeStore.open(run_dir / "replay")
    episodes = [store[position] for position in range(len(store))]
    return sorted((e.index, e.seed, [turn.reply_ids.tolist() for turn in e.turns]) for e in episodes)


def assert_same_run(run_dir: Path, one: Path) -> None:
    expected = logged(one)
    assert len(expected) == UPDATES
    losses = [line["train/actor_loss"] for line in expected]
    assert max(losses) - min(losses) > 0.1, "nothing was learnt, so nothing was compared"
    actual = logged(run_dir)
    assert len(actual) == UPDATES
    for update, (line, other) in enumerate(zip(actual, expected, strict=True)):
        assert line == pytest.approx(other, abs=1e-5), f"update {update}"
    assert len(played(one)) == 10
    assert played(run_dir) == played(one)


def test_ddp_gives_the_losses_and_episodes_of_one_process(config: Path, one: Path) -> None:
    assert_same_run(fit(config, "ddp", *DDP), one)


@pytest.mark.parametrize("sharding", [DDP, pytest.param(FSDP2, marks=pytest.mark.slow)], ids=["ddp", "fsdp2"])
def test_words_alone_are_learnt_by_two_processes_as_by_one(config: Path, sharding: tuple[str, ...]) -> None:
    """Without a picture nothing of the update passes through the vision tower, of which both hold a copy."""
    told = (
        "--data.env_args",
        "{told: true}",
        "--model.phases",
        "[{name: warmup, updates: 10, filter: always}]",
    )
    actual, expected = (
        logged(fit(config, f"told {name} {sharding[-1]}", *told, *o))
        for name, o in (("two", sharding), ("one", ()))
    )
    assert len(actual) == len(expected) == 10
    for line, other in zip(actual, expected, strict=True):
        assert line == pytest.approx(other, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("told", ["first", "all"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_processes_that_are_told_to_stop_end_and_say_how_to_go_on(
    config: Path, told: str, how: signal.Signals
) -> None:
    """A scheduler tells the first process, or every one."""
    run_dir = config.parent / f"stopped {told} {how.name}"
    phases = "[{name: long, updates: 5000, filter: always}]"
    command = _command("fit", config, run_dir, "--model.phases", phases, *DDP)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        last, end = run_dir / "checkpoints" / "last.ckpt", time.monotonic() + 300
        while not last.is_file() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        (os.kill if told == "first" else os.killpg)(process.pid, how)
        try:
            said, _ = process.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 128 + how
    assert "Traceback" not in said, said
    assert f"--config {run_dir / 'config.yaml'} --ckpt_path last" in said


@pytest.mark.slow
def test_validate_shares_the_very_episodes_of_one_process_out(config: Path, one: Path) -> None:
    policies = (
        "--data.evaluation.policies",
        "[model,random,expert]",
        "--data.evaluation.final_episodes",
        "7",
    )
    tables, outcomes = [], []
    for options in ((), DDP):
        shutil.rmtree(one / "validate", ignore_errors=True)
        vlmq("validate", config, one, "--ckpt_path", "last", *policies, *options)
        tables.append(read_results(one / "validate.json"))
        outcomes.append(
            {file.name: sorted(file.read_text().splitlines()) for file in one.glob("validate/*.jsonl")}
        )
    assert sorted(outcomes[0]) == ["expert.jsonl", "model.jsonl", "random.jsonl"]
    assert [len(lines) for lines in outcomes[0].values()] == [1 + 7] * 3
    assert outcomes[1] == outcomes[0]
    assert tables[1] == tables[0]


@pytest.mark.slow
def test_fsdp2_gives_the_losses_and_episodes_of_one_process(config: Path, one: Path) -> None:
    assert_same_run(fit(config, "fsdp2", *FSDP2), one)


@pytest.mark.slow
def test_a_sharded_run_goes_on_from_its_last_checkpoint(config: Path, one: Path) -> None:
    run_dir = fit(config, "interrupted", *MODEL_PARALLEL, "--trainer.max_steps", "15")
    assert len(logged(run_dir)) == 15
    assert (run_dir / "checkpoints" / "last.ckpt").is_file(), "one file, that one process can read too"
    assert_same_run(fit(config, "interrupted", *MODEL_PARALLEL, "--ckpt_path", "last"), one)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", [DDP, FSDP2], ids=["ddp", "fsdp2"])
@pytest.mark.parametrize("processes", [1, 3])
def test_any_number_of_processes_goes_on_from_the_checkpoint_of_two(
    config: Path, one: Path, sharding: tuple[str, ...], processes: int
) -> None:
    name = f"moved_{sharding[-1]}_{processes}"
    run_dir = fit(config, name, *sharding, "--trainer.max_steps", "15")
    options = () if processes == 1 else (*sharding, "--trainer.devices", str(processes))
    assert_same_run(fit(config, name, "--ckpt_path", "last", *options), one)
    assert len(list(run_dir.glob("logs/version_*"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [DDP, FSDP2], ids=["ddp", "fsdp2"])
def test_collectors_play_for_all_processes_what_they_play_for_one(
    config: Path, strategy: tuple[str, ...]
) -> None:
    name = f"collectors_{strategy[-1]}"
    beside = ("--data.collectors.backend", "process")
    whole = fit(config, f"{name}_one", *beside)
    assert_same_run(fit(config, name, *strategy, *beside), whole)
