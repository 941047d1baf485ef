"""What a run leaves behind and says: results, curve, table, checkpoints."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_only

from vlmq.report.plots import Band, learning_curve
from vlmq.report.results import format_table, write_results
from vlmq.train.checkpoint import FOLDER


class Reporter(L.Callback):
    """Writes `results.json` and `curve.png` after every evaluation, and prints the table at the end."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @rank_zero_only
    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.state.fn != "validate":
            self._write(Path(trainer.default_root_dir), pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Whatever the interval between checkpoints, the last one holds the end."""
        trainer.save_checkpoint(Path(trainer.default_root_dir) / FOLDER / "last.ckpt")

    @rank_zero_only
    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        run_dir = Path(trainer.default_root_dir)
        self._write(run_dir, pl_module)
        if pl_module.rows:
            print(f"\n{format_table(pl_module.rows)}")
        minutes = (time.monotonic() - self._started) / 60
        given_up = pl_module.trainer.datamodule.discarded
        lost = f"; {given_up} episodes were given up because their environment broke" if given_up else ""
        print(
            f"\n{pl_module.schedule.made} updates in {minutes:.1f} minutes{lost}. Results and curve: {run_dir}"
        )
        if pl_module.points:
            print(f"Next: vlmq validate --config {run_dir}/config.yaml --ckpt_path last")

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Whoever presses Ctrl-C learns how to go on."""
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
            print(f"\n{format_table(pl_module.rows)}\n\nWritten to {path}")

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


class SaveConfig(SaveConfigCallback):
    """Keeps the run's whole configuration as `config.yaml` in the run's folder."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "overwrite": True, "save_to_log_dir": False})

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit":
            path = Path(trainer.default_root_dir) / "config.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.parser.save(self.config, path, skip_none=False, overwrite=True, multifile=False)


def checkpoint_callbacks(run_dir: str | Path, every: int) -> list[L.Callback]:
    """`last.ckpt` every so many updates, and `best.ckpt` by held-out success, baselines left out."""
    folder = Path(run_dir) / FOLDER
    last = ModelCheckpoint(
        folder,
        filename="last",
        every_n_train_steps=every,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
    best = ModelCheckpoint(
        folder,
        filename="best",
        monitor="val/success",
        mode="max",
        enable_version_counter=False,
        save_on_train_epoch_end=False,
    )
    return [last, best]
