"""The checks at the start of every run: the phases fit together, and the learner sees what the actor saw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlmq.api import Episode, ModelError, Observation, Turn, UserError
from vlmq.data.batch import Fragment, build_batch, context_row, reply_ids
from vlmq.model.actor_critic import ActorCritic
from vlmq.model.attention import looks_ahead
from vlmq.model.backbone import Backbone
from vlmq.prompt.encode import Encoder, Row, digest
from vlmq.prompt.pack import collate_packed
from vlmq.prompt.window import History
from vlmq.train.schedule import Phase

_PLACES = 32
"""About so many positions of a sequence at which what is said in two ways is compared."""
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.15, torch.float16: 0.05}
_OTHER_KERNELS = {**_TOLERANCE, torch.float32: 1e-3}
"""Where another library has computed what the actor said."""


def check_phases(phases: Sequence[Phase], interval: Any, data: Any) -> None:
    """Every phase ends with an evaluation, has somewhere to play, and what it draws and waits for is there.

    Args:
        phases: of the run.
        interval: `trainer.val_check_interval`.
        data: the run's data module.

    Raises:
        UserError: it does not, or cannot.
    """
    held_out, env, batch_size = data.held_out, data.env, data.batch_size
    updates = [phase.updates for phase in phases]
    every = int(interval * sum(updates)) if isinstance(interval, float) else interval
    if env is not None and (not isinstance(every, int) or every < 1):
        raise UserError(
            f"trainer.val_check_interval is {interval}; give a number of updates, of which every phase is a multiple: "
            f"{math.gcd(*updates)} or a divisor of it."
        )
    for phase in phases:
        if env is None and phase.online:
            raise UserError(
                f"phase '{phase.name}' learns from own play (online: {phase.online}), but data.env is not set; name an "
                "environment, or leave the phase out of model.phases."
            )
        if env is not None and phase.updates % every:
            share = f", which is {every} updates" if every != interval else ""
            raise UserError(
                f"phase '{phase.name}' has {phase.updates} updates, not a multiple of trainer.val_check_interval "
                f"({interval}{share}); every phase ends with an evaluation, so make it one, or set it to "
                f"{math.gcd(*updates)} or a divisor of it."
            )
        own = phase.own_fragments(batch_size)
        for name, part, count in (
            ("online", phase.online, own),
            ("priority", phase.priority, round(max(own, batch_size - own) * phase.priority)),
        ):
            if part and not count:
                raise UserError(
                    f"phase '{phase.name}': {name} is {part}, which is no fragment of a batch of {batch_size}; raise "
                    "it, or data.batch_size, or leave it out."
                )
        if phase.priority and data.stream is not None:
            raise UserError(
                f"phase '{phase.name}' draws by priority, but data.stream shows every episode once; leave priority out."
            )
        if phase.gate is not None and not held_out:
            raise UserError(
                f"phase '{phase.name}' waits for its critic (gate: {phase.gate}), which is measured on held-out "
                "episodes; set data.held_out, to 0.1 for instance."
            )


def check_kept(phases: Sequence[Phase], success: NDArray[np.bool_], returns: NDArray[np.float64]) -> None:
    """Phases that learn from whole episodes of the dataset find some.

    Args:
        phases: of the run.
        success: of each of the dataset's episodes.
        returns: likewise, undiscounted.

    Raises:
        UserError: one finds none.
    """
    wanted = {
        "success": (success.any(), "none succeeds"),
        "above_median": ((returns > np.median(returns)).any(), "none has a return above the median"),
    }
    for phase in phases:
        some, why = wanted.get(phase.filter, (True, ""))
        if not some and not phase.online:
            raise UserError(
                f"phase '{phase.name}' has nothing to learn: of the {len(returns)} episodes that its filter "
                f"'{phase.filter}' chooses from, {why}; collect others, or choose another filter."
            )


def check_acting(
    episodes: Sequence[Episode],
    model: ActorCritic,
    encoder: Encoder,
    history: History,
    device: torch.device,
    *,
    packed: bool,
    sharded: bool,
    other_kernels: bool = False,
) -> None:
    """The learner sees what the actor saw, and says of it what the actor said.

    Args:
        episodes: that the model has just played at temperature 1.
        model: before its next update.
        encoder: of both.
        history: likewise.
        device: the model's.
        packed: whether it learns from packed sequences.
        sharded: whether its weights are, so that its family's own forward cannot be asked.
        other_kernels: whether it has played by another library's.

    Raises:
        ModelError: it does not.
    """
    check_encoding(episodes, encoder, history)
    check_reading(episodes[0].turns[0], model.backbone, encoder, device, packed=packed, sharded=sharded)
    check_log_probs(episodes, model, encoder, history, device, packed=packed, other_kernels=other_kernels)


def check_reading(
    turn: Turn, backbone: Backbone, encoder: Encoder, device: torch.device, *, packed: bool, sharded: bool
) -> None:
    """What can be asked of a model where nothing is played: does it read as its family does, and packed as alone?

    Args:
        turn: of the data.
        backbone: the model's.
        encoder: likewise.
        device: likewise.
        packed: whether it learns from packed sequences.
        sharded: whether its weights are, so that its family's own forward cannot be asked.

    Raises:
        ModelError: it does not.
    """
    if not sharded:
        check_own_forward(turn.observation, backbone, encoder, device)
    if packed:
        check_packed(turn, backbone, encoder, device)


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
def check_own_forward(
    observation: Observation, backbone: Backbone, encoder: Encoder, device: torch.device
) -> float:
    """Of a prompt the model's own processor and forward say what is said here; gives the largest difference.

    A family that nobody has looked at may read its prompts otherwise: let pictures look ahead, or shape its logits.

    Raises:
        ModelError: they differ by more than the precision explains.
    """
    if observation.image is None and looks_ahead(backbone.model_type):
        return 0.0  # their own processors know no prompt without a picture
    was_training = backbone.training
    backbone.eval()
    row = context_row([encoder.prompt(observation, first=True)], [])
    places = _places(len(row.ids), device)
    theirs = {name: value.to(device) for name, value in encoder.own_inputs(observation).items()}
    own = backbone.own_log_probs(theirs, places)
    ours = _hidden(backbone, encoder.collate([row], left=False), device)[:, places]
    said = backbone.logits(ours).float().log_softmax(-1)
    backbone.train(was_training)
    if own is None:
        return 0.0
    worst = float((own - said).abs().max())
    tolerance = _TOLERANCE.get(next(backbone.parameters()).dtype, 1e-4)
    if not worst <= tolerance:
        raise ModelError(
            "the model's own processor and forward say something else of a prompt than is computed here: "
            f"log-probabilities differ by up to {worst:.2g} (at most {tolerance:g} is expected); {backbone.model_type} "
            "models read their prompts in a way that is not handled, so no training was started: choose another "
            "family, or write an adapter (docs/models.md)."
        )
    return worst


@torch.no_grad()
def check_packed(turn: Turn, backbone: Backbone, encoder: Encoder, device: torch.device) -> float:
    """Sequences that share a row say what each says alone; gives the largest difference.

    It is that of the log-probabilities of what may follow a token, in the mean over what is likely to.

    Raises:
        ModelError: they differ by more than the precision explains.
    """
    prompt, reply = encoder.prompt(turn.observation, first=True), reply_ids(turn, encoder)
    # One is longer than the other two together, so these share a row. They begin differently: a sequence that saw its
    # own double would say what it says alone.
    long, short = context_row([prompt] * 2, [reply] * 2), context_row([prompt], [])
    rows = [long, short, Row(np.concatenate([reply, short.ids]), short.pixels)]
    inputs, packed = collate_packed(rows, encoder)
    assert len(packed.rows) < len(rows), "no two sequences share a row"
    was_training = backbone.training
    backbone.eval()
    together = _hidden(backbone, inputs, device)
    apart = []
    for row, place, start in zip(rows, packed.row, packed.start, strict=True):
        places = _places(len(row.ids), device)
        alone = _hidden(backbone, encoder.collate([row], left=False), device)[0, places]
        ours, own = (
            backbone.logits(h).float().log_softmax(-1) for h in (together[place, places + int(start)], alone)
        )
        apart.append(((ours - own).abs() * own.exp()).sum(-1).max())
    backbone.train(was_training)
    worst = float(torch.stack(apart).max())
    tolerance = _TOLERANCE.get(next(backbone.parameters()).dtype, 1e-4)
    if not worst <= tolerance:
        raise ModelError(
            f"data.packed is true, but sequences of {backbone.model_type} models that share a row see one another: "
            f"log-probabilities differ by {worst:.2g} from those of each alone (at most {tolerance:g} is expected); "
            "set data.packed false."
        )
    return worst


def _hidden(backbone: Backbone, inputs: dict[str, torch.Tensor], device: torch.device) -> torch.Tensor:
    """(R, L, D) of a batch that may lie elsewhere."""
    return backbone.hidden({name: value.to(device) for name, value in inputs.items()})


def _places(count: int, device: torch.device) -> torch.Tensor:
    """Some of so many positions, the first among them."""
    return torch.arange(0, count, max(1, count // _PLACES), device=device)


@torch.no_grad()
def check_log_probs(
    episodes: Sequence[Episode],
    model: ActorCritic,
    encoder: Encoder,
    history: History,
    device: torch.device,
    *,
    packed: bool = False,
    other_kernels: bool = False,
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
    most = (_OTHER_KERNELS if other_kernels else _TOLERANCE).get(dtype, 1e-4)
    if not worst <= most:
        raise ModelError(
            f"the learner's log-probabilities differ from the actor's by up to {worst:.2g} before the first update "
            f"(at most {most:g} is expected in {dtype}); acting and learning do not see the "
            "same tokens, pixels or positions, so no training was started."
            + (" Perhaps this model family cannot pack sequences: try data.packed false." if packed else "")
        )
    return worst
