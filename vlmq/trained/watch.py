"""Playing episodes one at a time with a loaded agent, for somebody who looks on; each turn is told as it happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vlmq.api import DataError, Episode, Turn, UserError
from vlmq.env.by_hand import ByHand
from vlmq.rollout.collector import episode_seed
from vlmq.train import checkpoint
from vlmq.trained.agent import Agent

_MOST_TURNS = 1000
"""After which an episode is cut, whatever its environment says."""


@dataclass(frozen=True)
class Task:
    """What an agent is shown playing.

    Attributes:
        env_id: of the environment.
        env_args: its arguments.
        run_seed: of the run, from which the held-out episodes' seeds follow.
        evaluation_seed: tells one set of held-out episodes from another.
    """

    env_id: str
    env_args: dict[str, Any] = field(default_factory=dict)
    run_seed: int = 0
    evaluation_seed: int = 0

    def held_out_seed(self, index: int) -> int:
        """The environment's seed of a held-out episode: the one that the run's evaluations play."""
        return episode_seed(self.run_seed, f"evaluation {self.evaluation_seed}")(index)


Watcher = Callable[[list[Turn]], None]
"""Told of the turns so far, after each one."""


def play(
    agent: Agent,
    env: ByHand,
    task: Task,
    seed: int,
    *,
    index: int = -1,
    temperature: float = 0.0,
    watcher: Watcher | None = None,
) -> Episode:
    """One episode from its beginning to its end.

    Args:
        agent: who plays.
        env: made of the task's environment.
        task: the environment and its arguments, kept with the episode.
        seed: of the environment, and of the sampling.
        index: number of the episode, kept with it.
        temperature: 0 is greedy.
        watcher: told of each turn.
    """
    agent.reset()
    moment, turns = env.reset(seed), list[Turn]()
    while not moment.ended and len(turns) < _MOST_TURNS:
        seen = moment.observation
        answer = agent.answer(seen.image, seen.text, temperature=temperature, seed=seed)
        # As in training: a reply without an action is executed as an illegal one, the empty text.
        moment = env.step(answer.action)
        turns.append(
            Turn(
                observation=seen, reply=answer.text, action=answer.action, reward=moment.reward,
                parsed=answer.parsed, action_ok=moment.action_ok, reply_ids=answer.ids,
                logprobs=answer.log_probs.astype(np.float32), source="model",
            )
        )  # fmt: skip
        if watcher is not None:
            watcher(turns)
    return Episode(
        env_id=task.env_id, seed=seed, turns=tuple(turns), final_observation=moment.observation,
        terminated=moment.terminated, truncated=not moment.terminated, success=moment.success, source="model",
        index=index, tokenizer=agent.encoder.fingerprint, env_args=json.dumps(task.env_args, sort_keys=True),
    )  # fmt: skip


def resolve(target: str | Path, name: str = "last") -> Path:
    """The checkpoint that a run's folder or a checkpoint file stands for.

    Raises:
        UserError: there is nothing of that name.
    """
    path = Path(target)
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(
            f"there is no run in {path}; give the folder that `vlmq fit` wrote (trainer.default_root_dir)."
        )
    return checkpoint.find(name, path)


def run_of(path: Path) -> Path:
    """The folder of the run that wrote a checkpoint."""
    return path.parent.parent if path.parent.name == checkpoint.FOLDER else path.parent


def config_of(run: Path) -> dict[str, Any]:
    """The run's configuration, where it was kept.

    Raises:
        DataError: it is no YAML file any more.
    """
    file = run / "config.yaml"
    if not file.is_file():
        return {}
    try:
        config: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} is no YAML file any more ({' '.join(str(error).split())[:120]}); mend or remove it."
        ) from error
    return config


def task_of(config: dict[str, Any]) -> Task | None:
    """What a run's evaluations play; None where its configuration names no environment."""
    data = config.get("data") or {}
    if not data.get("env"):
        return None
    evaluation = data.get("evaluation") or {}
    seed = config.get("seed_everything")
    return Task(
        str(data["env"]),
        {**(data.get("env_args") or {}), **(evaluation.get("env_args") or {})},
        int(seed) if isinstance(seed, int) and not isinstance(seed, bool) else int(data.get("seed") or 0),
        int(evaluation.get("seed") or 0),
    )
