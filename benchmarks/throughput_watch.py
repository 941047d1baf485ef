"""The callback of `throughput.py` in our own trainer: which replies an update learns from, its loss, when it ended."""

from __future__ import annotations

import time
from typing import Any

import lightning as L

from vlmq.data.batch import Batch


class Watch(L.Callback):
    """Notes every update; the lists belong to the class, for the command line makes the object."""

    places: list[list[int]] = []  # noqa: RUF012
    losses: list[float] = []  # noqa: RUF012
    tokens: list[int] = []  # noqa: RUF012
    positions: list[int] = []  # noqa: RUF012
    ended: list[float] = []  # noqa: RUF012

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.ended.append(time.perf_counter())
        self.places.append(batch.place.tolist())
        self.losses.append(pl_module.metrics["train/actor_loss"])
        self.tokens.append(len(batch.tokens))
        self.positions.append(batch.positions)
