"""Which filter a phase asks for: the weight of each agent token in the fine-tuning loss."""

from __future__ import annotations

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
) -> Float[Tensor, " A"]:
    """f of each agent token of this process's part of the batch.

    Args:
        phase: names the filter and its settings.
        update: of the phase.
        batch: this process's part.
        output: of its forward.
        advantages: A_i, in units of the return range.
        return_median: of the offline data's episodes, in the environment's units.
    """
    match phase.filter:
        case "always":
            return filters.always(advantages)
        case "binary":
            return filters.binary(advantages, phase.margin_at(update))
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
            whole = filters.reply_advantages(q, value, batch.last)
            return filters.turn_and(advantages, whole, phase.margin_at(update))
        case "success":
            return filters.of_replies(batch.success, batch.reply)
        case "above_median":
            return filters.of_replies(batch.episode_return > return_median, batch.reply)
