"""`vlmq fit --dry-run`: the memory estimate against what is there, and one real update; nothing of it is kept."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch

from vlmq.data.batch import Batch
from vlmq.train import footprint
from vlmq.train.footprint import Need, shown

FLAG = "--dry-run"
_EPISODES = 16
"""Played for the batch where no dataset is there."""


def prepare(settings: Any, run_dir: Path, folder: Path) -> None:
    """Point a run's settings at a folder that will be gone, and at the dataset that is there, if any.

    Args:
        settings: of `fit`; changed in place.
        run_dir: where the run would have been written.
        folder: that takes its place.
    """
    data, trainer = settings.data, settings.trainer
    dataset = Path(data.dataset) if data.dataset else run_dir / "dataset"
    trainer.default_root_dir = str(folder)
    settings.ckpt_path = None
    if data.stream is not None:
        return
    if dataset.is_dir() and any(dataset.iterdir()):
        data.dataset, data.collect = str(dataset), None
    elif data.collect is not None:
        data.dataset = str(folder / "dataset")
        data.collect.episodes = min(data.collect.episodes, _EPISODES)
        if data.collect.policy == "model":
            data.collect.policy = "random"


def options(given: dict[str, Any]) -> dict[str, Any]:
    """Lightning's settings for one update on one device, of which no file remains."""
    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    once = {"max_steps": 1, "limit_val_batches": 0, "devices": 1, "strategy": "auto", "num_nodes": 1}
    return {**given, **silent, **once, "enable_model_summary": False, "callbacks": [DryRun()]}


class DryRun(L.Callback):
    """Prints the estimate before memory is taken, and what one update then took."""

    def __init__(self) -> None:
        self._needs: list[Need] = []
        self._begun = 0.0
        self._before = peak(torch.device("cpu"))

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        self._device = trainer.strategy.root_device
        self._there = footprint.there(self._device)
        self._needs = footprint.of_model(
            pl_module.settings, kl_weight=pl_module.kl_weight, optimizer=pl_module.optimizer
        )
        print(
            f"Memory that {pl_module.settings['backbone']} needs for learning, on one {self._device.type}:\n"
        )
        for need in self._needs:
            _line(need)

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        of_batch = footprint.of_batch(pl_module.agent, batch)
        data = pl_module.data
        replay = footprint.of_replay(data.dataset_dir, pl_module.agent, self._device)
        acting = (
            footprint.of_acting(pl_module.agent, pl_module.reuse_gb, pl_module.history)
            if data.engine == "transformers"
            else [footprint.of_vllm(self._device, data.vllm.memory)]
        )
        for need in [*of_batch, *acting, *replay]:
            _line(need)
        total = sum(need.size for need in [*self._needs, *of_batch, *acting])
        verdict = "it fits" if total < 0.9 * self._there else "that is too close, or too much"
        print(
            f"\n{'sum, replay apart':24}{shown(total):>12}   of {shown(self._there)} free: {verdict}",
            flush=True,
        )
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._begun = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        seconds = time.perf_counter() - self._begun
        loss = float(outputs["loss"])
        print(
            f"\nOne real update: {len(batch.valid)} replies of {len(batch.tokens)} tokens, forward, backward and "
            f"optimizer in {seconds:.2f} s, loss {loss:.4g}."
        )
        most = peak(self._device)
        if self._device.type == "cuda":
            print(f"Most that was allocated: {shown(most)}.")
        else:
            print(
                f"Most that this process held: {shown(most)}, {shown(self._before)} of it before the model was built."
            )

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        print("\nNothing was kept. Run it: the same command without --dry-run.")


def peak(device: torch.device) -> int:
    """The most memory so far, in bytes: allocated on a GPU, or held by this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # there it is bytes, elsewhere kilobytes


def _line(need: Need) -> None:
    print(f"{need.name:24}{shown(need.size):>12}   {need.note}".rstrip(), flush=True)
