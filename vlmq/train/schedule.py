"""The phases of a run: warm-up, offline, online, and baselines that branch off on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from vlmq import ranges
from vlmq.api import UserError

FilterName = Literal[
    "always", "binary", "exp", "softmax", "top_fraction", "turn_and", "success", "above_median"
]
ObservedUntil = Literal["fragment", "episode"]
MarginScale = Literal["none", "likelihood"]
ObjectiveName = Literal["filter", "ppo_token", "ppo_reply"]
NO_CRITIC: tuple[FilterName, ...] = ("always", "success", "above_median")
"""Filters that ask nothing of the critic."""


@dataclass(frozen=True)
class Phase:
    """One stretch of training under one setting.

    Args:
        name: row of the results table.
        updates: optimizer steps.
        filter: which tokens are fine-tuned on. `always` is supervised fine-tuning; `binary` leaves out tokens
            whose advantage is at most `margin`, `turn_and` also those of replies whose whole advantage is;
            `exp` weights tokens by exp(advantage / temperature), at most 20; `softmax` by the same, divided by
            its mean over the batch; `top_fraction` keeps the best tokens of each batch; `success` keeps
            successful episodes, `above_median` those whose return exceeds the offline data's median.
        objective: `filter` is fine-tuning on the tokens the filter keeps. For comparison, on the agent's own play:
            `ppo_token`, PPO with one ratio a token, and `ppo_reply`, with one a reply.
        clip: how far PPO's ratio may move from 1.
        margin: threshold of `binary` and `turn_and`, as a fraction of the data's return range; slightly negative.
        margin_start: the margin at the phase's first update, from which it moves to `margin`; null keeps it.
        margin_updates: updates over which it moves.
        margin_scale: `likelihood` multiplies a token's margin by its probability under the policy (ours): the slack
            is for what the policy is certain of, and what it hardly ever says must be better to be learnt.
        gate: the filter waits, and every token passes, until the critic explains this share of the variance of
            returns that are held out (`data.held_out`); null does not wait.
        thought_weight: factor on the weight of tokens that belong to a reply's thoughts.
        observed: share in the Q of the advantage of what was observed after a reply (ours). What the critic does not
            see yet, the outcome may show. Luck counts too: 0 where the environment is a gamble.
        observed_until: `fragment` counts the rewards to the end of the drawn turns (`data.fragment_turns`), then V;
            `episode` those to the end of the stored episode, and nothing after it, also where it was cut off.
        temperature: of `exp` and `softmax`, in the same unit.
        fraction: of each batch's tokens that `top_fraction` keeps.
        priority: share of each batch that is drawn in proportion to the positive part of each reply's advantage
            as last seen; it teaches the actor only. For data that is mostly bad.
        online: share of each batch that comes from the agent's own play, 0 to 1.
        start_from: earlier phase whose end state this phase starts from; the phase before it by default.
        baseline: a branch for comparison: it never becomes the best checkpoint.
        critic: whether the critic is trained.
        critic_weight: factor on the weight of the critic's loss. A warm-up can let the critic teach the trunk what to
            look at, and a later phase let it be, so that it does not disturb the form of the replies.
        learning_rate: factor on the learning rates.
        decay: `cosine` lets the learning rates fall to zero over the phase.
        stop_at_success: ends the phase early once an evaluation reaches this success rate.
        evaluated: episodes of the evaluation that ends the phase; null for `data.evaluation.final_episodes`. A warm-up
            is no result: where its policy wanders, judging it takes longer than training it.
        policy: who is judged: `model`, or `shifted`, whose logits the critic's Q shifts, as `evaluation.q_shift` says.
    """

    name: str
    updates: int
    filter: FilterName = "binary"
    objective: ObjectiveName = "filter"
    clip: float = 0.2
    margin: float = -0.03
    margin_start: float | None = None
    margin_updates: int = 0
    margin_scale: MarginScale = "none"
    gate: float | None = None
    thought_weight: float = 1.0
    observed: float = 0.0
    observed_until: ObservedUntil = "fragment"
    temperature: float = 0.1
    fraction: float = 0.3
    priority: float = 0.0
    online: float = 0.0
    start_from: str | None = None
    baseline: bool = False
    critic: bool = True
    critic_weight: float = 1.0
    learning_rate: float = 1.0
    decay: Literal["none", "cosine"] = "none"
    stop_at_success: float | None = None
    evaluated: int | None = None
    policy: Literal["model", "shifted"] = "model"

    def rate(self, update: int) -> float:
        """Factor on the learning rates at an update of this phase."""
        if self.decay == "none":
            return self.learning_rate
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * update / self.updates))

    def own_fragments(self, batch_size: int) -> int:
        """Fragments of each batch that come from the agent's own play."""
        return round(batch_size * self.online)

    def margin_at(self, update: int) -> float:
        """The filter's threshold at an update of this phase."""
        if self.margin_start is None or update >= self.margin_updates:
            return self.margin
        return self.margin_start + (self.margin - self.margin_start) * update / self.margin_updates


@dataclass
class Schedule:
    """Where a run stands.

    Attributes:
        phases: all phases in order.
        index: the phase in progress; len(phases) when the run is over.
        in_phase: updates made in it.
        made: updates made by all phases, baselines included.
        line: updates behind the present weights; a phase that starts from an earlier one counts from there, so
            that branches see the same batches.
        tokens: positions that the updates behind the present weights were made of.
        seconds: what those updates took, with the play and the batches they waited for.
        entered: whether the phase in progress has been entered (its starting state put in place).
        lines: `line`, `tokens` and `seconds` at the end of each finished phase.
        updates: what each finished phase made; fewer than it was given where it stopped early.
        ended: whether the phase in progress stops here.
        gate_open: whether the phase in progress need not wait for its critic any more.
    """

    phases: Sequence[Phase]
    index: int = 0
    in_phase: int = 0
    made: int = 0
    line: int = 0
    tokens: int = 0
    seconds: float = 0.0
    entered: bool = False
    lines: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    updates: dict[str, int] = field(default_factory=dict)
    ended: bool = False
    gate_open: bool = False

    def __post_init__(self) -> None:
        _check(self.phases)

    @property
    def total(self) -> int:
        """Updates of all phases."""
        return sum(phase.updates for phase in self.phases)

    @property
    def phase(self) -> Phase | None:
        """The phase in progress."""
        return self.phases[self.index] if self.index < len(self.phases) else None

    @property
    def at_end_of_phase(self) -> bool:
        """Whether the phase in progress has made all its updates, or stops early."""
        return self.phase is not None and (self.ended or self.in_phase >= self.phase.updates)

    @property
    def over(self) -> bool:
        """Whether no update is left."""
        rest = self.phases[self.index :]
        return not rest or (len(rest) == 1 and self.at_end_of_phase)

    def round(self, every: int) -> int:
        """Number of the present round of own play: a pure function of where the run stands."""
        earlier = [self._made(phase) for phase in self.phases[: self.index] if phase.online > 0]
        return sum(-(-made // every) for made in earlier) + self.in_phase // every

    def trained_on_own(self, batch_size: int) -> int:
        """Fragments of own play that the updates so far were made of."""
        made = [*(self._made(phase) for phase in self.phases[: self.index]), self.in_phase]
        phases = self.phases[: self.index + 1]
        return sum(
            updates * phase.own_fragments(batch_size) for phase, updates in zip(phases, made, strict=False)
        )

    def _made(self, finished: Phase) -> int:
        return self.updates.get(finished.name, finished.updates)

    def advance(self) -> None:
        """One update was made."""
        self.in_phase += 1
        self.made += 1
        self.line += 1

    def spend(self, tokens: int, seconds: float) -> None:
        """What the last update was made of and took."""
        self.tokens += tokens
        self.seconds += seconds

    def branch_off(self, phase: str) -> None:
        """The present weights are those of the end of an earlier phase."""
        self.line, self.tokens, self.seconds = self.lines[phase]

    def finish_phase(self) -> None:
        """Go on to the next phase."""
        assert self.phase is not None
        self.lines[self.phase.name] = self.line, self.tokens, self.seconds
        self.updates[self.phase.name] = self.in_phase
        self.index, self.in_phase = self.index + 1, 0
        self.entered, self.ended, self.gate_open = False, False, False

    def branch_points(self) -> set[str]:
        """Phases whose end state a later phase starts from."""
        return {phase.start_from for phase in self.phases if phase.start_from is not None}

    def state_dict(self) -> dict[str, Any]:
        """Everything but the phases themselves."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "phases"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where `state_dict` was."""
        for name, value in state.items():
            setattr(self, name, dict(value) if isinstance(value, dict) else value)


def _check(phases: Sequence[Phase]) -> None:
    if not phases:
        raise UserError("model.phases is empty; give at least one phase with a name and updates.")
    seen: list[str] = []
    for phase in phases:
        where = f"phase '{phase.name}'"
        if phase.updates < 1:
            raise UserError(f"{where}: updates is {phase.updates}; give at least 1, or drop the phase.")
        if not 0.0 <= phase.online <= 1.0:
            raise UserError(f"{where}: online is {phase.online}; it is a share of the batch, from 0 to 1.")
        if phase.priority and not (0.0 < phase.priority < 1.0 and phase.filter not in NO_CRITIC):
            raise UserError(
                f"{where}: priority is {phase.priority}; it is a share of the batch, from 0 to below 1, and only a "
                "filter that asks the critic rates replies."
            )
        if phase.objective != "filter" and not (
            phase.online > 0.0 and phase.critic and phase.filter == "always"
        ):
            raise UserError(
                f"{where}: objective '{phase.objective}' learns from the agent's own play with a critic and without a "
                "filter; set online above 0 (1 for plain PPO), critic: true, filter: always."
            )
        ranges.above(0, **{f"{where}: {name}": getattr(phase, name) for name in ("clip", "temperature")})
        ranges.at_least(
            0,
            **{
                f"{where}: {name}": getattr(phase, name)
                for name in ("thought_weight", "critic_weight", "learning_rate", "margin_updates")
            },
        )
        ranges.at_least(1, **{f"{where}: evaluated": phase.evaluated})
        ranges.finite(**{f"{where}: {name}": getattr(phase, name) for name in ("margin", "margin_start")})
        ranges.share(**{f"{where}: stop_at_success": phase.stop_at_success})
        if phase.policy == "shifted" and not phase.critic:
            raise UserError(f"{where}: policy 'shifted' asks the critic; set critic: true, or policy: model.")
        if not (phase.observed == 0.0 or (0.0 < phase.observed <= 1.0 and phase.filter not in NO_CRITIC)):
            raise UserError(
                f"{where}: observed is {phase.observed}; it is a share of the advantage, from 0 to 1, and only a "
                "filter that asks the critic knows one."
            )
        if not 0.0 < phase.fraction <= 1.0:
            raise UserError(f"{where}: fraction is {phase.fraction}; it must be above 0 and at most 1.")
        if phase.margin_start is not None and phase.margin_updates < 1:
            raise UserError(f"{where}: margin_start needs margin_updates, the updates over which it moves.")
        if phase.gate is not None and not (0.0 < phase.gate < 1.0 and phase.filter not in NO_CRITIC):
            raise UserError(
                f"{where}: gate is {phase.gate}; it is a share of the variance, between 0 and 1, and only a filter "
                "that asks the critic waits for it."
            )
        if phase.filter not in NO_CRITIC and not phase.critic:
            raise UserError(
                f"{where}: the filter '{phase.filter}' needs the critic; set critic: true, or one of the filters "
                f"{', '.join(NO_CRITIC)}."
            )
        if phase.start_from is not None and phase.start_from not in seen:
            raise UserError(
                f"{where}: start_from '{phase.start_from}' is no earlier phase; choose among {seen}."
            )
        if phase.name in seen:
            raise UserError(f"two phases are named '{phase.name}'; give each its own name.")
        seen.append(phase.name)
