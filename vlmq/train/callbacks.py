"""What a run leaves behind and says: results, curve, table, checkpoints."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_only

from vlmq.report.plots import Band, learning_curve
from vlmq.report.results import Row, format_table, format_tasks, write_results
from vlmq.train.checkpoint import FOLDER


class Interrupts(L.Callback):
    """Ctrl-C and SIGTERM that cannot get lost: what is raised in a finaliser is dropped, so the next batch asks again.

    Lightning answers SIGTERM with a broadcast from inside the signal's handler: processes that were all told to
    stop, as a cluster tells them, then wait for each other for ever. Here each stops by itself. Where Slurm is to
    queue the job again, Lightning's way is kept.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._before: Any = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._stop)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if signal.getsignal(signal.SIGINT) == self._stop:
            signal.signal(signal.SIGINT, self._before)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._take_sigterm(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._take_sigterm(trainer)

    def on_train_batch_start(self, *args: Any) -> None:
        self._ask()

    def on_validation_batch_start(self, *args: Any) -> None:
        self._ask()

    def _take_sigterm(self, trainer: L.Trainer) -> None:
        """In place of Lightning's handler, which it sets after `setup`; at the end it sets back what was before."""
        cluster = trainer._accelerator_connector.cluster_environment
        requeued = isinstance(cluster, SLURMEnvironment) and cluster.auto_requeue
        if threading.current_thread() is threading.main_thread() and not requeued:
            signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, frame: Any) -> None:
        self._signal = number
        raise KeyboardInterrupt(number)

    def _ask(self) -> None:
        if self._signal is not None:
            raise KeyboardInterrupt(self._signal)


class UpdateLog(L.Callback):
    """Has each update logged before a checkpoint may say that it was made.

    The module's own hook comes after those of all callbacks: a run killed in between would never log that update.
    """

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        pl_module.log_update(batch)


class Reporter(L.Callback):
    """Writes `results.json` and `curve.png` after every evaluation, and prints the table at the end."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @rank_zero_only
    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """A run that has nothing to do says why."""
        if pl_module.schedule.over:
            print("Every phase of this run is finished; to train on, add one at the end of model.phases.")

    @rank_zero_only
    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.state.fn != "validate":
            self._write(Path(trainer.default_root_dir), pl_module)

    @rank_zero_only
    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        run_dir = Path(trainer.default_root_dir)
        self._write(run_dir, pl_module)
        if pl_module.rows:
            print(f"\n{_tables(pl_module.rows)}")
        minutes = (time.monotonic() - self._started) / 60
        given_up = pl_module.trainer.datamodule.discarded
        lost = f"; {given_up} episodes were given up because their environment broke" if given_up else ""
        left = "Results and curve" if pl_module.points else "Results"
        print(f"\n{pl_module.schedule.made} updates in {minutes:.1f} minutes{lost}. {left}: {run_dir}")
        validate = f"vlmq validate --config {run_dir}/config.yaml --ckpt_path last"
        # Where nothing was played, there is nothing to play in.
        print(f"Next: {validate if pl_module.points else f'vlmq report {run_dir}'}")

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Whoever stops a run learns how to go on."""
        run_dir = Path(trainer.default_root_dir)
        if isinstance(exception, KeyboardInterrupt) and trainer.state.fn == "fit":
            there = (run_dir / FOLDER / "last.ckpt").is_file()
            go_on = f"go on with: vlmq fit --config {run_dir / 'config.yaml'} --ckpt_path last"
            exception.add_note(
                go_on if there else "there is no checkpoint yet: the same command starts the run again"
            )

    @rank_zero_only
    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.state.fn == "validate":
            path = Path(trainer.default_root_dir) / "validate.json"
            write_results(path, pl_module.rows)
            print(f"\n{_tables(pl_module.rows)}\n\nWritten to {path}")

    def _write(self, run_dir: Path, module: Any) -> None:
        if module.rows:
            write_results(run_dir / "results.json", module.rows)
        if not module.points:
            return
        start, bands = 0, []
        for phase in module.schedule.phases:
            if not phase.baseline:
                bands.append(Band(phase.name, start, start + phase.updates))
                start += phase.updates
        data = next((row.success for row in module.rows if row.name == "data"), None)
        title = str(module.trainer.datamodule.env)
        learning_curve(module.points, run_dir / "curve.png", title=title, bands=bands, data_success=data)


def _tables(rows: Sequence[Row]) -> str:
    """All rows, and below them what each reached in each task where there are several."""
    tasks = format_tasks(rows)
    return format_table(rows) + (f"\n\n{tasks}" if tasks else "")


class SaveConfig(SaveConfigCallback):
    """Keeps the run's whole configuration as `config.yaml` in the run's folder."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "overwrite": True, "save_to_log_dir": False})

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit":
            path = Path(trainer.default_root_dir) / "config.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.parser.save(self.config, path, skip_none=False, overwrite=True, multifile=False)


class LastCheckpoint(Checkpoint):
    """Writes `last.ckpt` every so many updates and at the last one; where an evaluation follows, after it.

    A run that goes on from between the two would never make up for the evaluation, nor would one go on that was
    written at the end of Lightning's epoch. A `Checkpoint`, so that Lightning calls it after the other
    callbacks, and what it writes holds what they know.

    Args:
        path: the file.
        every: updates between writes.
    """

    def __init__(self, path: Path, every: int) -> None:
        super().__init__()
        self._path, self._every = path, every

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        interval = trainer.val_check_batch or math.inf
        evaluated = sum(trainer.num_val_batches) > 0 and (batch_idx + 1) % interval == 0
        schedule = pl_module.schedule
        stops = trainer.should_stop or schedule.at_end_of_phase or trainer.global_step == trainer.max_steps
        if (stops or schedule.made % self._every == 0) and not evaluated:
            trainer.save_checkpoint(self._path)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.state.fn == "fit":
            trainer.save_checkpoint(self._path)


class BestCheckpoint(ModelCheckpoint):
    """Writes `best.ckpt` where held-out success is the highest so far; baselines are left out."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            filename="best",
            monitor="val/success",
            mode="max",
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        )

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        # A baseline's evaluation has no such metric, and the one before it may have been another process's.
        if pl_module.schedule.phase is not None and not pl_module.schedule.phase.baseline:
            super().on_validation_end(trainer, pl_module)


def checkpoint_callbacks(run_dir: str | Path, every: int) -> list[L.Callback]:
    """`best.ckpt` and `last.ckpt`, in this order: the last one knows of the best."""
    folder = Path(run_dir) / FOLDER
    return [BestCheckpoint(folder), LastCheckpoint(folder / "last.ckpt", every)]
