"""Known failures of a run, recognised from what it logs, each said once and in plain words.

Which number shows which failure, and what to do about it, is told at length in `docs/troubleshooting.md`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_only
from tqdm.auto import tqdm

from vlmq.train.schedule import NO_CRITIC, Phase

WINDOW = 50
"""Updates over which a number is averaged before anything is concluded from it."""
MEASURE_EVERY = 20
"""Updates between two measurements of the critic on held-out episodes."""
GROWN_UP = 200
"""Updates of the critic after which it should explain something."""
FORM_LEARNT = 0.9
"""Share of well-formed replies from which on the filter may begin."""
_PAGE = "docs/troubleshooting.md"


class Health:
    """Watches one run.

    Args:
        best_return: largest discounted return of the data, in the environment's units.
        return_range: of the data, in the same units.
    """

    def __init__(self, best_return: float, return_range: float) -> None:
        self._best_return, self._return_range = best_return, return_range
        self._recent: dict[str, deque[float]] = {}
        self._phase = ""
        self._critic_updates = 0
        self._best_syntax = 0.0
        self._last_syntax = 1.0
        self._said: set[str] = set()

    def see_update(self, phase: Phase, metrics: Mapping[str, float]) -> list[str]:
        """What an update's metrics give reason to say."""
        found: list[str | None] = []
        if phase.name != self._phase:
            self._phase, self._recent = phase.name, {}
            found.append(self._too_early(phase))
        self._critic_updates += phase.critic
        for name, value in metrics.items():
            self._recent.setdefault(name, deque(maxlen=WINDOW)).append(value)
        found += [self._critic(phase), self._gate(phase)]
        if phase.filter != "always":
            found.append(self._nothing_left(phase))
        if phase.filter not in NO_CRITIC:
            found += [self._inverted(), self._locked_out(), self._no_priority()]
            if not phase.observed:  # what half of the outcomes fall short of is no coin's doing
                found.append(self._coin_flip())
        return [said for said in found if said is not None]

    def see_evaluation(self, syntax: float) -> list[str]:
        """What the share of well-formed replies in an evaluation gives reason to say."""
        fell = self._best_syntax - syntax
        self._last_syntax = syntax
        self._best_syntax = max(self._best_syntax, syntax)
        if fell <= 0.03:
            return []
        return self._once(
            "syntax falls",
            f"well-formed replies fell from {100 * (syntax + fell):.0f} to {100 * syntax:.0f} %: lower "
            "model.trunk_gradient, or let the filter's margin be further below zero",
        )

    def _mean(self, name: str) -> float | None:
        """Over the window; None where it is not full."""
        seen = self._recent.get(name, ())
        return fmean(seen) if len(seen) == WINDOW else None

    def _pass_rates(self) -> dict[str, float]:
        prefix = "pass_rate/"
        rates = {
            name.removeprefix(prefix): self._mean(name) for name in self._recent if name.startswith(prefix)
        }
        return {source: rate for source, rate in rates.items() if rate is not None}

    def _critic(self, phase: Phase) -> str | None:
        explained, highest = self._mean("critic/explained_variance"), self._mean("critic/q_max")
        if not phase.critic or explained is None or highest is None or self._critic_updates < GROWN_UP:
            return None
        cut = self._mean("train/outside_bins")
        if cut is not None and cut > 0.01:
            return self._one(
                "outside bins",
                f"{100 * cut:.0f} % of the critic's targets lie outside its bins and are cut: widen "
                "model.critic.support beyond the returns of the data, or set model.critic.loss: mse",
            )
        if highest > self._best_return + self._return_range:
            return self._one(
                "overestimation",
                f"the critic promises {highest:.3g}, but the data's best return is {self._best_return:.3g}: lower "
                "model.tau, or set model.critic.conservative or model.critic.loss: hl_gauss",
            )
        if explained < 0.05:
            return self._one(
                "dead critic",
                f"after {self._critic_updates} updates the critic explains {100 * max(explained, 0.0):.0f} % of the "
                "variance of its targets: raise model.critic_learning_rate or model.lambda_turn, or set "
                "model.trunk_gradient: 1; can the picture be told from the others at all?",
            )
        return None

    def _too_early(self, phase: Phase) -> str | None:
        if phase.filter in NO_CRITIC or self._last_syntax >= FORM_LEARNT:
            return None
        return self._one(
            "too early",
            f"the filter begins while {100 * self._last_syntax:.0f} % of the replies are well-formed, and what it "
            "leaves out the policy may never learn to say: make the warm-up phase longer",
        )

    def _coin_flip(self) -> str | None:
        explained, rates = self._mean("critic/explained_variance"), self._pass_rates()
        if explained is None or not rates or explained >= 0.2:
            return None
        if all(0.35 < rate < 0.65 for rate in rates.values()):
            return self._one(
                "coin flip",
                "the filter passes about half of the tokens of every source while the critic explains little: make "
                "the warm-up phase longer, or the margin further below zero",
            )
        return None

    def _inverted(self) -> str | None:
        rates = self._pass_rates()
        if "expert" in rates and "random" in rates and rates["expert"] < rates["random"] - 0.02:
            return self._one(
                "inverted",
                f"the filter keeps {100 * rates['random']:.0f} % of the random tokens but "
                f"{100 * rates['expert']:.0f} % of the expert's: are the rewards' signs right?",
            )
        return None

    def _locked_out(self) -> str | None:
        """Data of an expert alone have no worse token in them: one that the policy hardly says must not be dropped."""
        kept = self._mean("pass_rate_at_pi/0_to_0.1")
        if kept is None or kept > 0.5 or self._pass_rates().keys() != {"expert"}:
            return None
        return self._one(
            "locked out",
            f"the filter keeps {100 * kept:.0f} % of those expert tokens that the policy hardly says: it counts on "
            "replies that the data never show, and cannot come back; set model.critic.conservative (0.001), or a "
            "margin further below zero",
        )

    def _nothing_left(self, phase: Phase) -> str | None:
        kept = self._mean("pass_rate")
        if kept is None or kept > 0.02:
            return None
        mend = (
            "choose another filter, or data in which more episodes pass it"
            if phase.filter in NO_CRITIC
            else "set the phase's margin further below zero"
        )
        return self._one(
            "nothing left",
            f"the filter keeps {100 * kept:.1f} % of the tokens, so hardly anything is learnt: {mend}",
        )

    def _gate(self, phase: Phase) -> str | None:
        seen = self._recent.get("critic/gate_open", ())
        if phase.gate is None or len(seen) * MEASURE_EVERY < GROWN_UP or any(seen):
            return None
        explained = self._recent["critic/held_out_explained_variance"][-1]
        return self._one(
            "gate shut",
            f"phase '{phase.name}' still imitates everything: its gate opens where the critic explains "
            f"{100 * phase.gate:.0f} % of the variance of held-out returns, and it explains {100 * explained:.0f} %: "
            "lower the phase's gate, or train the critic for longer before it",
        )

    def _no_priority(self) -> str | None:
        positive = self._mean("train/priority_positive")
        if positive is None or positive > 0.0:
            return None
        return self._one(
            "no priority",
            "no reply has a positive advantage, so nothing tells replies apart and all are drawn alike: train the "
            "critic for longer before the phase with priority, or drop priority",
        )

    def _once(self, failure: str, sentence: str) -> list[str]:
        if failure in self._said:
            return []
        self._said.add(failure)
        return [f"{failure}: {sentence} ({_PAGE})."]

    def _one(self, failure: str, sentence: str) -> str | None:
        return next(iter(self._once(failure, sentence)), None)


class HealthWatch(L.Callback):
    """Says what `Health` finds, beside the progress bar."""

    def __init__(self) -> None:
        self._health: Health | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._health = Health(float(pl_module.return_best), float(pl_module.return_range))

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.schedule.phase is not None:
            self._say(self._watched.see_update(pl_module.schedule.phase, pl_module.metrics))

    @rank_zero_only
    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.state.fn == "fit" and self._health is not None:
            syntax = trainer.callback_metrics.get("val/syntax")
            if syntax is not None:
                self._say(self._watched.see_evaluation(float(syntax)))

    @property
    def _watched(self) -> Health:
        assert self._health is not None, "training has not started"
        return self._health

    def _say(self, sentences: list[str]) -> None:
        for sentence in sentences:
            tqdm.write(f"Warning: {sentence}")
