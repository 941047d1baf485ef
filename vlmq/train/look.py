"""`vlmq report RUN`: the run's episodes as its last checkpoint sees them, token by token, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from vlmq.api import DataError, Episode, UserError
from vlmq.data.batch import Fragment, build_batch
from vlmq.data.store import EpisodeStore
from vlmq.report.page import SeenEpisode, SeenTurn, Token, page
from vlmq.report.results import read_results
from vlmq.train import checkpoint, objective
from vlmq.train.agent import Agent
from vlmq.train.objective import Horizon

_END = "⏎"
"""How a reply's end token is shown."""


def write_page(run: str | Path, *, checkpoint_name: str = "last", episodes: int = 12) -> Path:
    """Write `report.html` into a run's folder; gives its path.

    Args:
        run: the run's folder.
        checkpoint_name: `last`, `best` or a file: whose critic judges, and whose policy speaks.
        episodes: how many of the agent's own play (the latest), and how many of the dataset (evenly spread).

    Raises:
        UserError: the folder is no run's, or holds no checkpoint.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise UserError(
            f"there is no run in {folder}; give the folder that `vlmq fit` wrote (trainer.default_root_dir)."
        )
    if episodes < 1:
        raise UserError(f"--episodes is {episodes}; give at least 1.")
    path = checkpoint.find(checkpoint_name, folder)
    config = _config(folder)
    last = _last_filter(config)
    scaled = last.get("margin_scale") == "likelihood"
    judge = _Judge(path, observed=float(last.get("observed", 0.0)), scaled=scaled)
    dataset = dataset_of(folder)
    shown = [
        judge.see(episode, origin)
        for origin, store, latest in (("own play", folder / "replay", True), ("dataset", dataset, False))
        for episode in _some(store, episodes, latest=latest)
        if judge.can_read(episode)
    ]
    results = folder / "results.json"
    text = page(
        f"{folder.name}: {(config.get('data') or {}).get('env') or 'episodes'}, checkpoint {path.name}",
        shown,
        margin=float(last.get("margin", -0.03)),
        rows=read_results(results) if results.is_file() else (),
        curve=folder / "curve.png",
    )
    target = folder / "report.html"
    part = target.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(target)
    return target


def dataset_of(run: Path) -> Path:
    """The folder of the episodes that a run learnt from."""
    return Path((_config(run).get("data") or {}).get("dataset") or run / "dataset")


class _Judge:
    """A checkpoint that says what each token of an episode is worth, as the filter asked it.

    Args:
        path: of the checkpoint.
        observed: share of the observed return in Q.
        scaled: whether the margin is scaled by likelihood.
    """

    def __init__(self, path: Path, *, observed: float, scaled: bool) -> None:
        self._observed, self._scaled = observed, scaled
        content = checkpoint.read(path)
        self._agent = Agent(path)
        self._return_range = float(content["state_dict"].get("return_range", 1.0))
        self._horizon = Horizon(**content["vlmq"]["horizon"])

    def can_read(self, episode: Episode) -> bool:
        """Whether the episode's replies are tokens of this model."""
        return bool(episode.turns) and episode.tokenizer in ("", None, self._agent.encoder.fingerprint)

    @torch.no_grad()
    def see(self, episode: Episode, origin: str) -> SeenEpisode:
        """The episode with A, Q, V and log-probability of every token."""
        agent = self._agent
        fragment = Fragment(episode.turns, 0, 0, episode.final_observation, episode.terminated)
        batch = build_batch([fragment], agent.encoder, agent.history)
        output = agent.model(batch.inputs, batch.state_row, batch.state_position, batch.tokens)
        config = agent.model.critic.config
        scale = self._return_range
        targets, _ = objective.targets(batch, output, config, self._horizon, scale, 0)
        advantages = objective.advantages(batch, output, config, targets)
        if self._observed:
            returns, known = objective.targets(batch, output, config, self._horizon.observed, scale, 0)
            advantages = objective.lean_on_returns(advantages, output, returns, known, self._observed)
        q, value = output.q.mean(0), output.value[:, : len(batch.tokens)].mean(0)
        slack = output.log_probs.exp() if self._scaled else torch.ones_like(value)
        columns = torch.stack([advantages, q, value, output.log_probs, slack], -1).tolist()
        turns = []
        for number, turn in enumerate(episode.turns):
            places = (batch.reply == number).nonzero().squeeze(-1).tolist()
            tokens = [Token(self._spelt(int(batch.tokens[place])), *columns[place]) for place in places]
            seen = turn.observation
            turns.append(
                SeenTurn(
                    seen.image,
                    seen.text,
                    tokens,
                    turn.action,
                    turn.reward,
                    turn.valid,
                    turn.source or "unknown",
                )
            )
        return SeenEpisode(
            origin, int(episode.index), bool(episode.success), float(episode.episode_return), turns
        )

    def _spelt(self, token: int) -> str:
        encoder = self._agent.encoder
        return _END if token == encoder.end_id else encoder.decode(np.array([token], np.int32))


def _some(folder: Path, count: int, *, latest: bool) -> list[Episode]:
    """The latest episodes of a store, or some that are evenly spread; none where there is no store."""
    if not (folder / "meta.json").is_file():
        return []
    with EpisodeStore.open(folder) as store:
        order = np.argsort(store.table["index"], kind="stable")
        if latest:
            chosen = order[::-1][:count]
        else:
            chosen = (
                order[np.unique(np.linspace(0, len(order) - 1, count).astype(int))] if len(order) else order
            )
        return [store[int(position)] for position in chosen]


def _config(folder: Path) -> dict[str, Any]:
    """The run's configuration, where it was kept."""
    file = folder / "config.yaml"
    if not file.is_file():
        return {}
    try:
        config: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} is no YAML file any more ({' '.join(str(error).split())[:120]}); mend or remove it."
        ) from error
    return config


def _last_filter(config: dict[str, Any]) -> dict[str, Any]:
    """The run's last phase with a margin; nothing where there is none."""
    phases = (config.get("model") or {}).get("phases") or []
    found: list[dict[str, Any]] = [p for p in phases if p.get("filter") in ("binary", "turn_and")]
    return found[-1] if found else {}
