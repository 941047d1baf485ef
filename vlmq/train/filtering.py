"""Which filter a phase asks for: the weight of each agent token in the fine-tuning loss."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vlmq.data.batch import Batch
from vlmq.loss import filters
from vlmq.model.actor_critic import Output
from vlmq.rollout import sync
from vlmq.train.schedule import Phase

LARGEST_WEIGHT = 20.0
"""Cap of the `exp` filter."""


def token_weights(
    phase: Phase,
    update: int,
    batch: Batch,
    output: Output,
    advantages: Float[Tensor, " A"],
    return_median: float,
    *,
    of_turns: bool = False,
) -> Float[Tensor, " A"]:
    """f of each agent token of this process's part of the batch, times the phase's weight of thoughts.

    Thoughts with a weight of their own: RL4VLM, arXiv 2405.10292.

    Args:
        phase: names the filter and its settings.
        update: of the phase.
        batch: this process's part.
        output: of its forward.
        advantages: A_i, in units of the return range.
        return_median: of the offline data's episodes, in the environment's units.
        of_turns: whether the critic is one of turns, whose advantages are whole replies' already.
    """
    thoughts = torch.where(batch.thought, phase.thought_weight, 1.0)
    return thoughts * _filtered(phase, update, batch, output, advantages, return_median, of_turns)


def _filtered(
    phase: Phase,
    update: int,
    batch: Batch,
    output: Output,
    advantages: Tensor,
    return_median: float,
    of_turns: bool,
) -> Tensor:
    match phase.filter:
        case "always":
            return filters.always(advantages)
        case "binary":
            return filters.binary(advantages, _margin(phase, update, output))
        case "exp":
            return filters.exponential(advantages, phase.temperature, LARGEST_WEIGHT)
        case "softmax":
            return filters.softmax(advantages, phase.temperature, sync.joined(advantages))
        case "top_fraction":
            return filters.top_fraction(advantages, phase.fraction, sync.joined(advantages))
        case "turn_and":
            assert output.q is not None, "the filter needs the critic"
            assert output.value is not None, "the filter needs the critic"
            q, value = output.q.mean(0), output.value[:, : output.q.shape[1]].mean(0)
            whole = advantages if of_turns else filters.reply_advantages(q, value, batch.last)
            return filters.turn_and(
                advantages, whole, _margin(phase, update, output), phase.margin_at(update)
            )
        case "success":
            return filters.of_replies(batch.success, batch.reply)
        case "above_median":
            return filters.of_replies(batch.episode_return > return_median, batch.reply)


def _margin(phase: Phase, update: int, output: Output) -> float | Tensor:
    """The tokens' threshold: one for all, or one each."""
    margin = phase.margin_at(update)
    return margin if phase.margin_scale == "none" else margin * output.log_probs.detach().exp()
