"""Playing held-out episodes: with the policies that a setting names, or to see how far a phase has come."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vlmq.api import Episode
from vlmq.report.plots import Point
from vlmq.report.results import Row
from vlmq.rollout import sync
from vlmq.rollout.policies import Compared, Policy, ScriptedPolicy
from vlmq.train import acting, rollouts
from vlmq.train.journal import Journal
from vlmq.train.judge import Outcome, judge
from vlmq.train.schedule import Phase

if TYPE_CHECKING:
    from vlmq.train.module import VlmqModule


def named(learner: VlmqModule) -> list[Row]:
    """Of every policy that `evaluation.policies` names."""
    settings = learner.data.evaluation
    return [play(learner, name, name, settings.final_episodes) for name in settings.policies]


def phase(learner: VlmqModule, phase: Phase) -> Row:
    """Of the present weights: a point of the curve, and at the phase's end its row of results.

    A phase that has reached the success it was to stop at ends here.

    Args:
        learner: whose; `points` and `rows` grow.
        phase: that it is in.
    """
    settings, schedule = learner.data.evaluation, learner.schedule
    ends = schedule.at_end_of_phase
    final = phase.evaluated or settings.final_episodes
    row = play(learner, phase.name, phase.policy, final if ends else settings.episodes)
    if not ends and phase.stop_at_success is not None and row.success >= phase.stop_at_success:
        schedule.ended = ends = True
        row = play(learner, phase.name, phase.policy, final)
    spent = schedule.tokens, round(schedule.seconds, 1), learner.data.own_turns
    learner.points.append(Point(schedule.line, row.success, row.low, row.high, phase.name, *spent))
    if not ends:
        return row
    sampled = play(learner, phase.name, "sampled", final)
    extras = {
        "success_sampled": sampled.success, "syntax_sampled": sampled.syntax,
        "updates": schedule.line, "seconds": round(time.monotonic() - learner.started, 1),
        "curve": [
            {"updates": p.update, "success": p.success, "tokens": p.tokens, "seconds": p.seconds,
             "own_turns": p.own_turns}
            for p in learner.points if p.phase == phase.name
        ],
    }  # fmt: skip
    row = replace(row, extras={**row.extras, **extras})
    learner.rows.append(row)
    return row


def play(learner: VlmqModule, name: str, who: str, episodes: int) -> Row:
    """One row of results; `vlmq validate` keeps what each episode came to, and goes on where it was cut short.

    Args:
        learner: whose weights, data and settings.
        name: of the row.
        who: one of `evaluation.policies`.
        episodes: how many.
    """
    data, validates = learner.data, learner.trainer.state.fn == "validate"
    compared = Compared(_policy(learner, who), learner.encoder)
    journal = _journal(learner, who, episodes) if validates and sync.rank() == 0 else None
    outcomes = {
        outcome.index: outcome for outcome in sync.everyone(list(journal.known.values()) if journal else [])
    }
    missing = [index for index in range(episodes) if index not in outcomes]
    if journal is not None and outcomes:
        print(
            f"{who}: {len(outcomes)} of {episodes} episodes were played before ({journal.path}); now the others."
        )
    shown: dict[int, Episode] = {}
    title = f"validate {who}" if validates else None
    for part in data.evaluate(compared, missing, blank_images=data.evaluation.blank_images, title=title):
        ended = _outcomes(part, compared)
        outcomes |= {outcome.index: outcome for outcome in ended}
        shown |= {episode.index: episode for episode in part if episode.index < data.evaluation.show}
        if journal is not None:
            journal.append(ended)
    if journal is not None:
        journal.close()
    if who != "sampled" or validates:
        rollouts.show(learner.loggers, name, [shown[index] for index in sorted(shown)], learner.schedule.made)
    return judge(name, [outcomes[index] for index in sorted(outcomes)], data.seed, data.evaluation.seed)


def _outcomes(part: list[Episode], compared: Compared) -> list[Outcome]:
    """Of episodes that several processes may have played: who compared one's replies knows how many agreed."""
    ended = [episode.index for episode in part if episode.index in compared.asked]
    mine = [(index, compared.asked.pop(index), compared.agreed.pop(index)) for index in ended]
    found = {index: counts for index, *counts in sync.everyone(mine)}
    return [Outcome.of(episode, *found.get(episode.index, (0, 0))) for episode in part]


def _journal(learner: VlmqModule, who: str, episodes: int) -> Journal:
    """The file of this evaluation, which names all that its outcome depends on."""
    data = learner.data
    settings = {
        name: value
        for name, value in asdict(data.evaluation).items()
        if name not in ("episodes", "final_episodes", "policies", "show")
    }
    about = {
        "policy": who, "checkpoint": _fingerprint(learner.trainer.ckpt_path), "model": learner.settings,
        "env": data.env, "env_args": data.env_args, "seed": data.seed, "evaluation": settings,
        "history": str(learner.history), "tokenizer": learner.encoder.fingerprint,
        "reply_format": learner.encoder.reply_format,
        **({} if data.engine == "transformers" else {"engine": data.engine}),
    }  # fmt: skip
    told = json.loads(json.dumps(about, default=str))
    folder = Path(learner.trainer.default_root_dir) / "validate"
    return Journal(folder / f"{who}.jsonl", told, episodes)


def _fingerprint(path: str | Path | None) -> str | None:
    if path is None:
        return None
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def _policy(learner: VlmqModule, who: str) -> Policy:
    seed, settings = learner.data.seed, learner.data.evaluation
    if who in ("random", "expert"):
        return ScriptedPolicy(learner.encoder, seed=seed, expert=float(who == "expert"))
    if who == "base":
        torch.manual_seed(seed)  # where its weights are drawn at random
        return acting.policy(learner, temperature=settings.temperature, seed=seed, model=learner.untrained())
    return acting.policy(
        learner,
        temperature=1.0 if who in ("sampled", "best_of") else settings.temperature,
        seed=seed,
        q_shift=settings.q_shift if who == "shifted" else 0.0,
        best_of=settings.best_of if who == "best_of" else 1,
    )
