"""A whole run in a few seconds: one configuration, the command line in this process, and what a run wrote."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch

from vlmq.api import Episode
from vlmq.cli import main
from vlmq.data.batch import Batch
from vlmq.data.store import EpisodeStore
from vlmq.train import cli as _heavy  # noqa: F401  # imported here: its loggers keep the stream they find

CONFIG = """\
seed_everything: 1
trainer:
  accelerator: cpu
  devices: 1
  val_check_interval: 4
  checkpoint_every: 2
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
model:
  backbone: {model}
  max_reply: 10
  learning_rate: 1.0e-3
  warmup_updates: 2
  critic: {{members: 2, width: 16, dim: 8}}
  phases:
    - {{name: warmup, updates: 4, filter: always}}
    - {{name: sft, updates: 4, filter: always, critic: false, start_from: warmup, baseline: true}}
    - {{name: afsft_offline, updates: 4, start_from: warmup}}
    - {{name: afsft_online, updates: 8, priority: 0.25, online: 0.5, observed: 0.5, observed_until: episode}}
data:
  env: line/Walk-v0
  env_args: {{variation: false, turns: 6}}
  num_envs: 4
  batch_size: 8
  dataset: {dataset}
  collect: {{policy: random, episodes: 24, corruption: 0.3}}
  online: {{episodes: 4, every: 2, explore: 0.2}}
  evaluation: {{episodes: 4, final_episodes: 6}}
"""
_TIMES = ("seconds/", "tokens_per_second")
PHASES = {"warmup": 4, "sft": 4, "afsft_offline": 4, "afsft_online": 8}
UPDATES = sum(PHASES.values())


def write_config(path: Path, model: Path) -> Path:
    """The configuration, its dataset beside it."""
    path.write_text(CONFIG.format(model=model, dataset=path.parent / "dataset"))
    return path


@dataclass(frozen=True)
class SmallRun:
    """The configuration's file, and its folder with the dataset."""

    config: Path
    folder: Path

    def arguments(self, verb: str, run_dir: Path, *options: str) -> list[str]:
        """What follows `vlmq` on the command line."""
        return [verb, "--config", str(self.config), "--trainer.default_root_dir", str(run_dir), *options]

    def vlmq(self, verb: str, run_dir: Path, *options: str) -> int:
        """Run a verb in this process; gives the exit code."""
        before = list(sys.argv)
        try:
            return main(self.arguments(verb, run_dir, *options))
        finally:
            sys.argv[:] = before

    def start(self, verb: str, run_dir: Path, *options: str) -> subprocess.Popen[str]:
        """Run a verb as a person would, in a process of its own."""
        program = str(Path(sys.executable).with_name("vlmq"))
        return subprocess.Popen(
            [program, *self.arguments(verb, run_dir, *options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def logged(run_dir: Path) -> dict[int, dict[str, float]]:
    """What was logged of each update but its times, by its number; a later part of a resumed run wins."""
    found: dict[int, dict[str, float]] = {}
    for path in sorted(run_dir.glob("logs/version_*/metrics.csv")):
        with path.open() as file:
            for row in csv.DictReader(file):
                if row.get("train/actor_loss"):
                    found[int(row["step"])] = {
                        name: float(value)
                        for name, value in row.items()
                        if value and name not in ("step", "epoch") and not name.startswith(_TIMES)
                    }
    return found


def check_same(run_dir: Path, whole: Path, updates: int = UPDATES) -> None:
    """Every loss of a run, and every episode it played, is that of another, to the last digit."""
    expected, actual = logged(whole), logged(run_dir)
    assert sorted(expected) == list(range(updates))
    assert actual == expected, "to the last digit"
    stores = [EpisodeStore.open(folder / "replay") for folder in (whole, run_dir)]
    assert stores[1].verify() == []
    episodes = [{episode.index: episode_bits(episode) for episode in store} for store in stores]
    assert [len(store) for store in stores] == [len(episodes[0])] * 2, "nothing is doubled"
    assert episodes[1] == episodes[0]


def episode_bits(episode: Episode) -> list[object]:
    """All that an episode holds but where it is stored."""
    seen = [None if o.image is None else o.image.tobytes() for o in episode.observations]
    turns = [
        (
            t.observation.text,
            t.reply,
            t.action,
            t.reward,
            t.reply_ids.tobytes(),
            t.logprobs.tobytes(),
            t.source,
        )
        for t in episode.turns
    ]
    return [episode.seed, episode.success, episode.policy_version, seen, turns]


@dataclass(frozen=True)
class Seen:
    """One update as it began: the phase, the weights' fingerprint, the batch's, and how many later turns it knows."""

    phase: str
    weights: str
    batch: str
    later: int


class Recorder(L.Callback):
    """Notes what every update starts from and is shown."""

    seen: list[Seen] = []  # noqa: RUF012  # the command line builds the callback, a test reads this

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        state = dict(pl_module.actor_critic.named_parameters())
        later = batch.later_reward.shape[1]
        self.seen.append(Seen(pl_module.schedule.phase.name, fingerprint(state), _shown(batch), later))


def _shown(batch: Batch) -> str:
    """Of what the replies of a batch are learnt from; rows that only bootstrap a value are left out."""
    rows = batch.state_row[: len(batch.tokens)].unique()
    mask = batch.inputs["attention_mask"][rows].bool()
    shown = {"ids": batch.inputs["input_ids"][rows][mask], "pictures": batch.inputs["pixel_values"][rows]}
    return fingerprint({**shown, "tokens": batch.tokens, "reward": batch.reward, "reply": batch.reply})


def fingerprint(tensors: dict[str, torch.Tensor]) -> str:
    """Of names and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].detach().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
