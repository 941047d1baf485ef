"""The VLM actor-critic as a LightningModule: one forward, token-level targets, advantage-filtered fine-tuning.

The update (arXiv 2505.03181; what differs is marked):

    h        = trunk(prompts and replies), at the agent's tokens only
    L_i      = lambda-return from R_i and the Polyak critic's V(next state), or a tree backup
    A_i      = mean_c Q_c(h_i, a_i) - V_c(h_i)
    f_i      = [A_i > margin], or 1 during warm-up             (ours: the margin, in units of the return range)
    loss     = mean over replies of mean over tokens of -f_i log pi(a_i | h_i)
               + w mean over tokens of (Q(h_i, a_i) - L_i)^2 / 2

Rewards are divided by the data's return range, so that Q, A and the margin mean the same on every task (ours).
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmq import ranges
from vlmq.api import ModelError, UserError
from vlmq.data.batch import Batch
from vlmq.loss import masked
from vlmq.model.actor_critic import ActorCritic, Output, own_part
from vlmq.model.attention import check_packable, looks_ahead
from vlmq.model.backbone import LoraSettings, family, layer_types
from vlmq.model.heads import CriticConfig
from vlmq.prompt.encode import Encoder
from vlmq.prompt.parse import ReplyFormat
from vlmq.prompt.window import History, Pictures, Turns
from vlmq.report.plots import Point
from vlmq.report.results import Row
from vlmq.rollout import sync
from vlmq.rollout.reading import REUSE_GB
from vlmq.train import acting, branch, build, checks, diagnostics, evaluate, objective, optimizers, terms
from vlmq.train import checkpoint as checkpoints
from vlmq.train.filtering import token_weights
from vlmq.train.health import MEASURE_EVERY
from vlmq.train.judge import spread
from vlmq.train.objective import Horizon, Traces
from vlmq.train.optimizers import OptimizerName
from vlmq.train.schedule import NO_CRITIC, Phase, Schedule


class VlmqModule(L.LightningModule):
    """A vision-language model that learns to act.

    Args:
        backbone: a model directory, a Hub id, or `pkg:module` for weights an installed package ships.
        phases: the run, phase by phase.
        weights: `pretrained`, or `random` for the architecture with new weights.
        dtype: precision of the trunk; adapters, heads and losses are float32, and so are the optimizer's copies of
            weights that are trained in bfloat16. In float16 nothing is trained.
        lora: train low-rank adapters instead of every weight.
        freeze_vision: keep the vision tower's weights.
        checkpoint_activations: keep of each layer its input alone, and run the layer again in the backward pass: less
            memory, for about a third more time.
        heads_gb: memory, in GB, for what the heads keep at once of states x vocabulary; where a batch has more, they
            read it in chunks, and again in the backward pass.
        trust_remote_code: let code that comes with the checkpoint run.
        reply_format: `plain`, `tagged` or `json`.
        thoughts: whether the prompt asks for thoughts before the action; they are allowed in any case.
        history: earlier turns in the context, their texts and the replies: none, a number, or all.
        history_pictures: earlier turns whose pictures are in it too: a number, or all of them.
        max_reply: longest reply in tokens, end token included.
        reuse_gb: memory, in GB and for each process that plays, for what acting has read and need not read again at the
            next turn, whose context begins with it; 0 reads every context from its beginning. It takes a history.
        critic: size of the critic.
        critic_weight: weight of the critic's loss. Squared errors are small in units of the return range: with a larger
            weight (200 in the quickstart) the trunk is quicker to see what decides the outcome, but slower to learn
            the form of the replies, so the warm-up must not be short.
        kl_weight: weight of KL(policy || the policy the run started from); above 0 the starting weights are kept in
            memory beside the trained ones, but for adapters.
        trunk_gradient: factor on the critic's gradient into the trunk.
        learning_rate: of the trunk (or its adapters).
        critic_learning_rate: of the critic head.
        optimizer: `adamw`, or `muon` for the trunk's inner matrices: fewer updates from untrained weights.
        weight_decay: of the optimizer.
        clip: largest gradient norm of each parameter group.
        warmup_updates: updates over which the learning rates rise from zero.
        gamma_token: discount from token to token inside a reply.
        gamma_turn: discount from turn to turn.
        lambda_token: lambda inside a reply.
        lambda_turn: lambda from turn to turn; above 0 it needs fragments of more than one turn.
        n_turns: targets of this many turns' rewards, then V, in place of lambda-returns; null for those.
        traces: `lambda`: targets follow what was done; `tree_backup`: only as far as the policy would have done it
            too, so that lambda above 0 does not teach the value of other people's mistakes.
        syntax_penalty: taken off the reward of every reply that does not parse or is not legal, in the environment's
            units; for environments that do not punish it themselves.
        tau: step of the Polyak copy towards the critic at each update.
    """

    return_range: Tensor
    return_median: Tensor
    return_best: Tensor

    def __init__(
        self,
        backbone: str,
        phases: list[Phase],
        weights: Literal["pretrained", "random"] = "pretrained",
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        lora: LoraSettings | None = None,
        freeze_vision: bool = False,
        checkpoint_activations: bool = False,
        heads_gb: float = 1.0,
        trust_remote_code: bool = False,
        reply_format: ReplyFormat = "json",
        thoughts: bool = False,
        history: Turns = "none",
        history_pictures: Pictures = "all",
        max_reply: int = 32,
        reuse_gb: float = REUSE_GB,
        critic: CriticConfig = CriticConfig(),
        critic_weight: float = 20.0,
        kl_weight: float = 0.0,
        trunk_gradient: float = 0.1,
        learning_rate: float = 1e-4,
        critic_learning_rate: float = 1e-3,
        optimizer: OptimizerName = "adamw",
        weight_decay: float = 0.01,
        clip: float = 1.0,
        warmup_updates: int = 20,
        gamma_token: float = 1.0,
        gamma_turn: float = 0.95,
        lambda_token: float = 1.0,
        lambda_turn: float = 0.0,
        n_turns: int | None = None,
        traces: Traces = "lambda",
        syntax_penalty: float = 0.0,
        tau: float = 0.005,
    ) -> None:
        super().__init__()
        reach = gamma_token, gamma_turn, lambda_token, lambda_turn
        self.horizon = Horizon(*reach, n_turns, traces, syntax_penalty)
        ranges.share(**{"model.tau": tau, "model.trunk_gradient": trunk_gradient})
        ranges.at_least(1, **{"model.max_reply": max_reply})
        ranges.above(0, **{"model.clip": clip, "model.heads_gb": heads_gb})
        ranges.at_least(
            0,
            **{
                "model.learning_rate": learning_rate, "model.critic_learning_rate": critic_learning_rate,
                "model.weight_decay": weight_decay, "model.warmup_updates": warmup_updates,
                "model.critic_weight": critic_weight, "model.kl_weight": kl_weight, "model.reuse_gb": reuse_gb,
                "model.syntax_penalty": syntax_penalty,
            },
        )  # fmt: skip
        if traces == "tree_backup" and (n_turns is not None or critic.value == "turn"):
            raise UserError(
                "model.traces tree_backup asks Q of the tokens on the way, which n_turns and critic.value 'turn' "
                "have not; choose traces: lambda."
            )
        if thoughts and reply_format == "plain":
            raise UserError(
                "model.thoughts needs a reply_format that tells them from the action: tagged or json."
            )
        self.settings: dict[str, Any] = {
            "backbone": backbone, "weights": weights, "dtype": dtype, "freeze_vision": freeze_vision,
            "trust_remote_code": trust_remote_code, "reply_format": reply_format, "thoughts": thoughts,
            "history": history, "history_pictures": history_pictures, "max_reply": max_reply,
            "trunk_gradient": trunk_gradient, "critic": asdict(critic),
            "checkpoint_activations": checkpoint_activations, "heads_gb": heads_gb,
            "lora": None if lora is None else asdict(lora),
        }  # fmt: skip
        self.schedule = Schedule(phases)
        self._history, self.max_reply = History(history, history_pictures), max_reply
        if kl_weight and weights == "random":
            raise UserError(
                "model.kl_weight keeps the policy near its start; weights: random start from nothing."
            )
        self.reuse_gb = reuse_gb
        self.critic_weight, self.kl_weight, self.clip, self.tau = critic_weight, kl_weight, clip, tau
        self.learning_rate, self.critic_learning_rate = learning_rate, critic_learning_rate
        self.optimizer, self.weight_decay, self.warmup_updates = optimizer, weight_decay, warmup_updates
        self.actor_critic: ActorCritic | None = None
        self._encoder: Encoder | None = None
        self.rows: list[Row] = []
        self.points: list[Point] = []
        self.started = time.monotonic()
        self.metrics: dict[str, float] = {}
        self._measured: dict[str, float] = {}
        self._begun = 0.0
        self.register_buffer("return_range", torch.tensor(1.0))
        self.register_buffer("return_median", torch.tensor(0.0))
        self.register_buffer("return_best", torch.tensor(0.0))
        # Frozen weights are not stored in checkpoints: they come back from the backbone.
        self.strict_loading = False

    # -- building --------------------------------------------------------------------------------------------

    @property
    def encoder(self) -> Encoder:
        """The one encoder of this model."""
        if self._encoder is None:
            self._encoder = build.encoder(self.settings)
        return self._encoder

    @cached_property
    def history(self) -> History:
        """What the agent remembers, and how its family can learn from it."""
        return replace(self._history, per_reply=looks_ahead(family(self.settings["backbone"])))

    def configure_model(self) -> None:
        """Load the backbone and add the critic; shard them where the strategy asks for it."""
        if self.actor_critic is not None:
            return
        self.actor_critic = build.actor_critic(self.settings)
        if self.kl_weight:
            self.actor_critic.keep_reference()
        if self.device_mesh is not None:
            if self.actor_critic.backbone.quantised():
                raise UserError(
                    "model.lora.quantize packs weights into bytes, which are not sharded; use trainer.strategy ddp, or "
                    "leave it out."
                )
            from vlmq.train.strategy import shard

            shard(self.actor_critic, self.device_mesh.device_type)

    def check_packable(self) -> None:
        """Refuse packed sequences where the model's family would let them see one another."""
        name = self.settings["backbone"]
        check_packable(family(name), layer_types(name))

    def untrained(self) -> ActorCritic:
        """The weights that the run started from."""
        return build.actor_critic(self.settings).to(self.device)

    @property
    def agent(self) -> ActorCritic:
        """The actor-critic, once it is built."""
        assert self.actor_critic is not None, "configure_model has not run"
        return self.actor_critic

    # -- learning --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Every so many updates, measure how much the critic explains of held-out returns; it may open the gate."""
        phase, data = self.schedule.phase, self.data
        self._measured, self._begun = {}, time.perf_counter()
        if phase is None or not phase.critic or not data.held_out or self.schedule.in_phase % MEASURE_EVERY:
            return
        parts = []
        for one in data.held_out_batches():
            apart = one.to(self.device)
            output = self.agent(apart.inputs, apart.state_row, apart.state_position, apart.tokens)
            returns, known = self.targets(apart, output, self.horizon.observed)
            parts.append(torch.stack([_critic(output.q).mean(0)[known], returns[known]], -1))
        explained = diagnostics.explained_variance(torch.cat(parts))
        self.schedule.gate_open |= phase.gate is not None and explained >= phase.gate
        self._measured = {"critic/held_out_explained_variance": explained}
        if phase.gate is not None:
            self._measured["critic/gate_open"] = float(self.schedule.gate_open)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        phase = self.schedule.phase
        assert phase is not None
        self._set_learning_rates(phase)
        output = self.agent(
            batch.inputs, batch.state_row, batch.state_position, batch.tokens, with_critic=phase.critic
        )
        targets, known = self.targets(batch, output) if phase.critic else (None, None)
        config = self._critic_config
        advantages = objective.advantages(batch, output, config, targets, known)
        if phase.observed:
            returns, seen = objective.observed(
                batch, output, config, self.horizon, float(self.return_range), self.schedule.made,
                phase.observed_until,
            )  # fmt: skip
            advantages = objective.lean_on_returns(
                advantages, batch, output, config, returns, seen, phase.observed
            )
        if phase.gate is not None and not self.schedule.gate_open:
            phase = replace(phase, filter="always")
        weights = token_weights(
            phase, self.schedule.in_phase, batch, output, advantages, float(self.return_median),
            of_turns=config.value == "turn",
        )  # fmt: skip
        if known is not None and (phase.filter not in NO_CRITIC or phase.objective != "filter"):
            weights = weights * objective.rated(batch, config, known)
        metrics: dict[str, float] = {}
        loss = terms.of_actor(phase, batch, output, weights, advantages, metrics)
        if phase.priority:
            gain = masked.mean_of_replies(advantages.clamp_min(0.0), batch.reply, batch.num_replies)
            metrics["priority_positive"] = self.data.rate(batch, gain)
        if output.kl is not None:
            loss = loss + self.kl_weight * terms.of_movement(batch, output.kl, metrics)
        if targets is not None and known is not None:
            # What was drawn by priority does not teach the critic.
            known = known & batch.uniform[batch.reply]
            weight = phase.critic_weight * self.critic_weight
            loss = loss + weight * terms.of_critic(batch, output, self.agent.critic, targets, known, metrics)
            targets = torch.where(known, targets, math.nan)
        else:
            # Every parameter takes part in every update, as DDP requires.
            loss = loss + 0.0 * sum(own_part(p).sum() for p in self.agent.critic.parameters())
        whole = sum(metrics.values())
        if not math.isfinite(whole):
            raise UserError(
                f"the loss is {whole} at update {self.schedule.made}; lower model.learning_rate, or look "
                "for broken rewards with `vlmq data info`. The last checkpoint is intact."
            )
        self._log(batch, output, weights, advantages, targets, metrics)
        # Processes average their gradients; the loss is already divided by the replies of all of them.
        return loss * sync.world_size()

    def targets(self, batch: Batch, output: Output, horizon: Horizon | None = None) -> tuple[Tensor, Tensor]:
        """Targets (A,) of the critic in units of the return range, and which of them are known and wanted."""
        reach = horizon or self.horizon
        return objective.targets(
            batch, output, self._critic_config, reach, float(self.return_range), self.schedule.made
        )

    @property
    def _critic_config(self) -> CriticConfig:
        return self.agent.critic.config

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """One update, whole: a checkpoint written at the batch's end holds its target and its count too."""
        super().optimizer_step(*args, **kwargs)
        phase = self.schedule.phase
        if phase is not None and phase.critic:
            self.agent.update_target(self.tau)
        self.schedule.advance()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.optimizer == "muon" and self.device_mesh is not None:
            raise UserError(
                "model.optimizer: muon needs whole matrices; choose adamw when weights are sharded."
            )
        rates = self.learning_rate, self.critic_learning_rate
        return optimizers.build(self.agent, self.optimizer, *rates, weight_decay=self.weight_decay)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: Any = None,
        gradient_clip_algorithm: Any = None,
    ) -> None:
        self.metrics |= optimizers.clip(optimizer, self.clip)

    def _set_learning_rates(self, phase: Phase) -> None:
        rise = min(1.0, (self.schedule.line + 1) / max(1, self.warmup_updates))
        optimizers.set_rates(self._optimizer, rise * phase.rate(self.schedule.in_phase))

    # -- phases ----------------------------------------------------------------------------------------------

    def enter_phase(self) -> Phase | None:
        """The phase of the next update, its starting state put in place; None when the run is over."""
        schedule = self.schedule
        while schedule.at_end_of_phase:
            assert schedule.phase is not None
            if schedule.phase.name in schedule.branch_points():
                file = self._branch_file(schedule.phase.name)
                branch.save(file, self.agent, self._optimizer, sharded=self.device_mesh is not None)
            schedule.finish_phase()
        phase = schedule.phase
        if phase is not None and not schedule.entered:
            if phase.start_from is not None:
                branch.load(self._branch_file(phase.start_from), self.agent, self._optimizer)
                schedule.branch_off(phase.start_from)
            schedule.entered = True
        return phase

    def _branch_file(self, phase: str) -> Path:
        return branch.file(Path(self.trainer.default_root_dir), phase, sharded=self.device_mesh is not None)

    @property
    def data(self) -> Any:
        """The run's data module; the trainer's type does not know that it has one."""
        return getattr(self.trainer, "datamodule")  # noqa: B009

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        return self.trainer.optimizers[0]

    # -- judging ---------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Measure the data's return range, and check that acting equals learning."""
        data = self.data
        checks.check_phases(self.schedule.phases, self.trainer.val_check_interval, data)
        if data.fragment_turns == 1 and (self.horizon.lambda_turn or (self.horizon.n_turns or 1) > 1):
            raise UserError(
                "model.lambda_turn and model.n_turns reach from turn to turn, but data.fragment_turns is 1; raise it, "
                "or leave them out."
            )
        if self.schedule.made == 0:
            if (episodes := data.episodes()) is not None:
                checks.check_kept(self.schedule.phases, episodes["success"], episodes["episode_return"])
            self._measure_returns(data.returns(self.horizon.gamma_turn))
            self.return_median.fill_(data.return_median())
            self.rows = data.first_rows()
        sharded = self.device_mesh is not None
        if data.env is None:
            self.trainer.val_check_interval = 1.0  # nothing is played, however often
            checks.check_reading(
                data.first_turn(), self.agent.backbone, self.encoder, self.device,
                packed=data.packed, sharded=sharded,
            )  # fmt: skip
            return
        policy = acting.policy(self, temperature=1.0, seed=data.seed)
        parts = data.evaluate(policy, range(max(2, sync.world_size())))
        episodes = [episode for part in parts for episode in part]
        checks.check_acting(
            episodes, self.agent, self.encoder, self.history, self.device,
            packed=data.packed, sharded=sharded, other_kernels=data.engine == "vllm",
        )  # fmt: skip

    def _measure_returns(self, seen: NDArray[np.float64]) -> None:
        """Take the units of rewards, and where the critic starts, from the returns of the data's turns."""
        self.return_range.fill_(spread(seen))
        self.return_best.fill_(float(seen.max()))
        scale = float(self.return_range)
        self.agent.start_at(float(seen.mean()) / scale)
        if self._critic_config.distributional:
            low, high = self._critic_config.support_over(float(seen.min()), float(seen.max()))
            self.agent.set_support(low / scale, max(high, low + 1e-3 * scale) / scale)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Play held-out episodes; every named policy in `vlmq validate`, the present weights during training."""
        if self.trainer.state.fn == "validate":
            self.rows = evaluate.named(self)
            found = {f"{row.name}/success": row.success for row in self.rows}
        else:
            phase = self.schedule.phase
            assert phase is not None
            row = evaluate.phase(self, phase)
            prefix = "baseline" if phase.baseline else "val"
            found = {
                f"{prefix}/success": row.success, f"{prefix}/syntax": row.syntax,
                f"{prefix}/return": row.episode_return,
            }  # fmt: skip
        bar = self.trainer.state.fn != "validate"
        for name, value in found.items():
            shown = bar and not name.endswith("/return")
            self.log(name, value, prog_bar=shown, batch_size=1, sync_dist=True)

    # -- logging ---------------------------------------------------------------------------------------------

    def _log(
        self,
        batch: Batch,
        output: Output,
        weights: Tensor,
        advantages: Tensor,
        targets: Tensor | None,
        metrics: dict[str, float],
    ) -> None:
        """Say what the whole batch shows, whichever process holds which part of it."""
        values = diagnostics.of_update(
            batch, output, weights, advantages, targets, float(self.return_range),
            of_turns=self._critic_config.value == "turn",
        )  # fmt: skip
        values |= {f"train/{name}": value for name, value in metrics.items()}
        values["phase"] = float(self.schedule.index)
        self.metrics = values
        self.log("pass_rate", self.metrics["pass_rate"], prog_bar=True, logger=False, batch_size=1)

    def log_update(self, batch: Batch) -> None:
        """Hand the update's metrics over: Lightning's own way would repeat old values of those it lacks."""
        seconds = time.perf_counter() - self._begun
        positions = sync.total(batch.positions)
        self.metrics |= self._measured | self.data.seconds | self.data.measured
        self.schedule.spend(int(positions), seconds + sum(self.data.seconds.values()))
        self.metrics |= {"seconds/update": seconds, "tokens_per_second": positions / seconds}
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by its logger connector
        if every and self.schedule.made % every == 0:
            for logger in self.loggers:
                logger.log_metrics(self.metrics, step=self.schedule.made - 1)

    # -- checkpoints -----------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Weights drawn at random cannot be loaded again: a checkpoint of a model made of them holds all of it.
        loaded = self.settings["weights"] == "pretrained"
        given = {f"actor_critic.{name}" for name in self.agent.given()} if loaded else set()
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k not in given}
        checkpoint["vlmq"] = {
            "settings": self.settings,
            "optimizer": self.optimizer,
            "horizon": asdict(self.horizon),
            "schedule": self.schedule.state_dict(),
            "phases": [phase.name for phase in self.schedule.phases],
            "fingerprint": self.encoder.fingerprint,
            "rows": [asdict(row) for row in self.rows],
            "points": [asdict(point) for point in self.points],
        }

    def check_fits(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another model or another schedule."""
        checkpoints.check_fits(
            checkpoint,
            backbone=self.settings["backbone"],
            fingerprint=self.encoder.fingerprint,
            own=self.state_dict(),
            phases=[phase.name for phase in self.schedule.phases],
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.check_fits(checkpoint)
        optimizer = checkpoint["vlmq"]["optimizer"]
        if self.trainer.state.fn == "fit" and optimizer != self.optimizer:
            raise ModelError(
                f"the checkpoint holds the state of {optimizer}, but model.optimizer is {self.optimizer}; "
                f"resume with --model.optimizer {optimizer}."
            )
        if self.trainer.state.fn == "fit":
            checkpoints.check_trains(checkpoint, self.settings)
        self.schedule.load_state_dict(checkpoint["vlmq"]["schedule"])
        if self.trainer.state.fn == "fit" and not self.schedule.over:
            # Lightning's loop of a run that had ended, and has been given more to do.
            checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"] = False
        self.rows = [Row(**row) for row in checkpoint["vlmq"]["rows"]]
        self.points = [Point(**point) for point in checkpoint["vlmq"]["points"]]


def _critic(value: Tensor | None) -> Tensor:
    assert value is not None, "this forward ran without the critic"
    return value
