"""The terms of an update's loss, each a mean over the replies or tokens that all processes hold together.

Each is this process's part of that mean, so that the parts add up to it; what it came to is noted in `metrics`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlmq.data.batch import Batch
from vlmq.loss import bins, masked
from vlmq.model.actor_critic import Output
from vlmq.model.heads import CriticHead
from vlmq.rollout import sync
from vlmq.train import objective
from vlmq.train.schedule import Phase


def of_actor(
    phase: Phase, batch: Batch, output: Output, weights: Tensor, advantages: Tensor, metrics: dict[str, float]
) -> Tensor:
    """Mean over replies of the mean over their tokens of the actor's loss.

    Args:
        phase: names the objective.
        batch: this process's part.
        output: of its forward.
        weights: f(A_i), (A,).
        advantages: A_i, (A,).
        metrics: gets `actor_loss`.
    """
    loss = _over_replies(objective.actor_loss(phase, batch, output, weights, advantages), batch)
    metrics["actor_loss"] = sync.total(float(loss.detach()))
    return loss


def of_movement(batch: Batch, kl: Tensor, metrics: dict[str, float]) -> Tensor:
    """The same mean of how far the policy has moved from where it started.

    Args:
        batch: this process's part.
        kl: of each of the agent's tokens (A,).
        metrics: gets `kl`.
    """
    moved = _over_replies(kl, batch)
    metrics["kl"] = sync.total(float(moved.detach()))
    return moved


def of_critic(
    batch: Batch, output: Output, head: CriticHead, targets: Tensor, known: Tensor, metrics: dict[str, float]
) -> Tensor:
    """Mean over tokens of the critic's loss.

    Every token weighs the same: weights that depend on a reply's length would bias its targets, which depend on how
    the reply goes on. A critic of turns is asked once a reply.

    Args:
        batch: this process's part.
        output: of its forward, critic included.
        head: the critic.
        targets: (A,) in units of the return range.
        known: (A,) whether each is to be learnt.
        metrics: gets `critic_loss`, and of a critic of bins `outside_bins`.
    """
    loss = torch.where(known, objective.critic_loss(batch, output, head, targets), 0.0)
    teaching = batch.uniform if head.config.value == "turn" else batch.uniform[batch.reply]
    mean = loss.sum() / max(1.0, sync.total(int(teaching.sum())))
    metrics["critic_loss"] = sync.total(float(mean.detach()))
    if head.config.distributional:
        cut = bins.outside(targets, head.centres)
        metrics["outside_bins"] = sync.total(float(cut)) / sync.world_size()
    return mean


def _over_replies(values: Tensor, batch: Batch) -> Tensor:
    replies = sync.total(batch.num_replies)
    return masked.sum_over_replies(values, batch.reply, batch.num_replies) / replies
