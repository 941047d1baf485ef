"""Playing held-out episodes with a policy that a setting names: the model, the base model, random, the expert."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from vlmq.report.results import Row
from vlmq.rollout import sync
from vlmq.rollout.policies import Compared, Policy, ScriptedPolicy
from vlmq.train import rollouts
from vlmq.train.judge import judge

if TYPE_CHECKING:
    from vlmq.train.module import VlmqModule


def play(learner: VlmqModule, name: str, who: str, episodes: int) -> Row:
    """One row of results, with the agreement with the environment's expert where it has one.

    Args:
        learner: whose weights, data and settings.
        name: of the row.
        who: one of `evaluation.policies`.
        episodes: how many.
    """
    data = learner.data
    compared = Compared(_policy(learner, who), learner.encoder)
    played = data.evaluate(compared, episodes, blank_images=data.evaluation.blank_images)
    if who == "model" or learner.trainer.state.fn == "validate":
        rollouts.show(learner.loggers, name, played[: data.evaluation.show], learner.schedule.made)
    row = judge(name, played, data.seed, data.evaluation.seed)
    if asked := sync.total(compared.asked):
        row = replace(row, extras={**row.extras, "agreement": sync.total(compared.agreed) / asked})
    return row


def _policy(learner: VlmqModule, who: str) -> Policy:
    seed, settings = learner.data.seed, learner.data.evaluation
    if who in ("random", "expert"):
        return ScriptedPolicy(learner.encoder, seed=seed, expert=float(who == "expert"))
    if who == "base":
        torch.manual_seed(seed)  # where its weights are drawn at random
        return learner.policy(temperature=0.0, seed=seed, model=learner.untrained())
    return learner.policy(
        temperature=float(who in ("sampled", "best_of")),
        seed=seed,
        q_shift=settings.q_shift if who == "shifted" else 0.0,
        best_of=settings.best_of if who == "best_of" else 1,
    )
