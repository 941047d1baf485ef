"""Played episodes for the trackers: as pictures and text, through whichever of Lightning's loggers can show them."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.fabric.loggers.logger import Logger
from lightning.pytorch.loggers import TensorBoardLogger

from vlmq.api import Episode
from vlmq.report.film import strip
from vlmq.rollout import sync


def show(loggers: Sequence[Logger], name: str, episodes: Sequence[Episode], update: int) -> None:
    """Hand episodes to TensorBoard, and to every logger that takes images as W&B's does; the others get none.

    Args:
        loggers: of the trainer.
        name: of the policy or the phase that played.
        episodes: in order; each keeps its place over the run's evaluations.
        update: optimizer updates made so far.
    """
    if sync.rank() != 0:
        return
    for logger in loggers:
        takes_images = getattr(logger, "log_image", None)
        if not isinstance(logger, TensorBoardLogger) and takes_images is None:
            continue
        for number, episode in enumerate(episodes):
            tag = f"rollouts/{name}/{number}"
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(tag, strip(episode), update, dataformats="HWC")
                logger.experiment.add_text(tag, _as_literal(told(episode)), update)
            elif takes_images is not None:
                takes_images(key=tag, images=[strip(episode)], step=update, caption=[told(episode)])


def told(episode: Episode) -> str:
    """An episode as lines of text."""
    lines = [f"{episode.env_id}, seed {episode.seed}"]
    for number, turn in enumerate(episode.turns, 1):
        done = f"executed: {turn.action}" if turn.parsed else "nothing executed: the reply did not parse"
        lines += ["", f"--- turn {number} ---", turn.observation.text, f"reply: {turn.reply}"]
        lines.append(f"{done}; reward {turn.reward:g}")
    outcome = "success" if episode.success else "no success"
    return "\n".join([*lines, "", f"{outcome}; return {episode.episode_return:g}"])


def _as_literal(text: str) -> str:
    """Markdown that shows a text as it is: a block of code, indented, so that nothing inside can end it."""
    plain = text.encode("utf-8", "replace").decode("utf-8")
    return "\n".join(f"    {line}" for line in plain.splitlines())
