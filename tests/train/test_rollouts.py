"""Rollouts for the trackers: what TensorBoard then holds, how many, and that nothing said becomes markup."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vlmq.api import Episode, Observation, Turn
from vlmq.train import rollouts
from vlmq.train.cli import VlmqTrainer

SAID = "```\n</pre><script>alert(1)</script>\n# heading *bold* \udc80"


def _episode(seed: int) -> Episode:
    seen = Observation(SAID, np.full((8, 8, 3), seed, np.uint8))
    turn = Turn(seen, "a reply", "left", -0.5)
    return Episode("a/B-v0", seed, (turn, turn), seen, True, False, True)


def _held(folder: Path) -> EventAccumulator:
    held = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0})
    held.Reload()
    return held


def test_each_episode_is_a_picture_and_a_text_at_its_update(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="t", version=0)
    for update in (5, 10):
        rollouts.show([logger, CSVLogger(tmp_path)], "warmup", [_episode(1), _episode(2)], update)
    logger.experiment.close()
    held = _held(tmp_path / "t" / "version_0")
    assert held.Tags()["images"] == ["rollouts/warmup/0", "rollouts/warmup/1"]
    pictures = held.Images("rollouts/warmup/1")
    assert [picture.step for picture in pictures] == [5, 10]
    with Image.open(io.BytesIO(pictures[0].encoded_image_string)) as picture:
        assert picture.getpixel((100, 100)) == (2, 2, 2), "its first turn"
    text = held.Tensors("rollouts/warmup/0/text_summary")[0].tensor_proto.string_val[0].decode()
    lines = text.splitlines()
    assert all(line.startswith("    ") for line in lines), "a block of code, to its end"
    assert "    </pre><script>alert(1)</script>" in lines
    assert "    executed: left; reward -0.5" in lines
    assert lines[-1] == "    success; return -1"


class _LikeWandb(Logger):
    """Takes images as W&B's logger does."""

    name, version = "w", 0

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []

    def log_image(self, **given: Any) -> None:
        self.taken.append(given)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        pass

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


def test_a_logger_that_takes_images_gets_them_with_the_text_as_caption() -> None:
    logger = _LikeWandb()
    rollouts.show([logger], "afsft", [_episode(3)], 7)
    (given,) = logger.taken
    assert (given["key"], given["step"], len(given["images"])) == ("rollouts/afsft/0", 7, 1)
    assert given["images"][0].shape[2] == 3
    assert given["caption"][0].splitlines()[0] == "a/B-v0, seed 3"


def test_no_episodes_leave_nothing(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="t", version=0)
    rollouts.show([logger], "warmup", [], 5)
    assert not (tmp_path / "t").exists()


def test_csv_files_are_written_whatever_loggers_are_chosen(tmp_path: Path) -> None:
    def kinds(logger: Any) -> list[str]:
        quiet = {"accelerator": "cpu", "enable_progress_bar": False}
        trainer = VlmqTrainer(default_root_dir=str(tmp_path), logger=logger, **quiet)
        return [type(one).__name__ for one in trainer.loggers]

    assert kinds(TensorBoardLogger(tmp_path)) == ["TensorBoardLogger", "CSVLogger"]
    assert kinds([CSVLogger(tmp_path)]) == ["CSVLogger"]
    assert kinds(None) == ["CSVLogger", "TensorBoardLogger"]
    assert kinds(False) == []
