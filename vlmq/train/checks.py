"""The checks at the start of every run: the phases fit together, and the learner sees what the actor saw."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vlmq.api import Episode, ModelError, UserError
from vlmq.data.batch import Fragment, build_batch, reply_ids
from vlmq.model.actor_critic import ActorCritic
from vlmq.prompt.encode import Encoder, digest
from vlmq.prompt.window import History
from vlmq.train.schedule import Phase

_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.15, torch.float16: 0.05}


def check_phases(phases: Sequence[Phase], interval: int | float | None, held_out: float) -> None:
    """Every phase ends with an evaluation, and what opens its gate can be measured.

    Args:
        phases: of the run.
        interval: `trainer.val_check_interval`; None where nothing is played.
        held_out: share of the episodes that is kept apart.

    Raises:
        UserError: it does not, or cannot.
    """
    for phase in phases:
        if isinstance(interval, int) and phase.updates % interval:
            raise UserError(
                f"phase '{phase.name}' has {phase.updates} updates, not a multiple of trainer.val_check_interval "
                f"({interval}); every phase ends with an evaluation, so make it one."
            )
        if phase.gate is not None and not held_out:
            raise UserError(
                f"phase '{phase.name}' waits for its critic (gate: {phase.gate}), which is measured on held-out "
                "episodes; set data.held_out, to 0.1 for instance."
            )


def check_encoding(episodes: Sequence[Episode], encoder: Encoder, history: History) -> None:
    """Encoding the stored observations around the stored reply ids gives the actor's ids and pixels.

    Raises:
        ModelError: it does not, naming the episode and the turn.
    """
    for episode in episodes:
        for index, turn in enumerate(episode.turns):
            segments = encoder.prompts(history.context([t.observation for t in episode.turns], index))
            replies = [reply_ids(t, encoder) for t in episode.turns[history.start(index) : index]]
            if digest(segments, replies) != turn.digest:
                raise ModelError(
                    f"episode {episode.index}, turn {index}: encoding the stored observation does not give the ids "
                    "and pixels that the actor saw; the processor or the stored pictures differ between acting and "
                    "learning, so no training was started."
                )


@torch.no_grad()
def check_log_probs(
    episodes: Sequence[Episode],
    model: ActorCritic,
    encoder: Encoder,
    history: History,
    device: torch.device,
    *,
    packed: bool = False,
) -> float:
    """The learner's log-probabilities equal the actor's; gives the largest difference.

    Raises:
        ModelError: they differ by more than the precision explains.
    """
    fragments = [Fragment(e.turns, 0, 0, e.final_observation, e.terminated) for e in episodes]
    batch = build_batch(fragments, encoder, history, packed=packed).to(device)
    was_training = model.training
    model.eval()
    output = model(batch.inputs, batch.state_row, batch.state_position, batch.tokens, with_critic=False)
    model.train(was_training)
    known = ~batch.behaviour.isnan()
    difference = (output.log_probs - batch.behaviour)[known].abs()
    worst = float(difference.max()) if len(difference) else 0.0
    dtype = next(model.backbone.parameters()).dtype
    if not worst <= _TOLERANCE.get(dtype, 1e-4):
        raise ModelError(
            f"the learner's log-probabilities differ from the actor's by up to {worst:.2g} before the first update "
            f"(at most {_TOLERANCE.get(dtype, 1e-4):g} is expected in {dtype}); acting and learning do not see the "
            "same tokens, pixels or positions, so no training was started."
            + (" Perhaps this model family cannot pack sequences: try data.packed false." if packed else "")
        )
    return worst
