"""A module's weights as an acting policy: in this process, or made anew in another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning.pytorch.strategies import ModelParallelStrategy

from vlmq.api import UserError, adapter_for
from vlmq.model.actor_critic import ActorCritic
from vlmq.model.backbone import Backbone, family
from vlmq.model.generate import Guide, Sampling
from vlmq.prompt.encode import Encoder
from vlmq.rollout import sync
from vlmq.rollout.collector import Player
from vlmq.rollout.host import Recipe, Weights
from vlmq.rollout.policies import ModelPolicy, Policy
from vlmq.rollout.vllm_policy import Engine, VllmPolicy
from vlmq.rollout.vllm_policy import check as check_vllm
from vlmq.train import build

if TYPE_CHECKING:
    from vlmq.train.module import VlmqModule


def policy(
    learner: VlmqModule,
    *,
    temperature: float,
    seed: int,
    explore: tuple[float, float] = (0.0, 0.0),
    q_shift: float = 0.0,
    best_of: int = 1,
    model: ActorCritic | None = None,
) -> Policy:
    """Weights as an acting policy; the critic's too with a shift or several replies to choose from.

    Args:
        learner: whose weights, encoder and critic.
        temperature: of the sampling; 0 is greedy.
        seed: of the sampling.
        explore: lowest and highest rate of random legal actions.
        q_shift: added to a log-probability for each return range of Q.
        best_of: replies drawn, of which the critic chooses.
        model: other weights than the learner's present ones.
    """
    guide = _guide(learner, q_shift) if q_shift or best_of > 1 else None
    if guide is not None and learner.data.engine == "vllm":
        print("the critic has a say in these replies: transformers samples them, not vLLM")
    acting = _maker(
        learner, temperature=temperature, seed=seed, explore=explore, guide=guide, best_of=best_of
    )
    return acting((model or learner.agent).backbone, learner.encoder)


def check(learner: VlmqModule) -> None:
    """That what `data.engine` names can play this run.

    Raises:
        UserError: it cannot, and why.
    """
    if learner.data.engine != "vllm":
        return
    settings, trainer = learner.settings, learner.trainer
    kind = family(settings["backbone"])
    if settings["lora"] is not None and settings["lora"]["quantize"] is not None:
        raise UserError(
            "data.engine vllm takes whole weights, and model.lora.quantize "
            f"{settings['lora']['quantize']} packs them; leave one of them out."
        )
    if isinstance(trainer.strategy, ModelParallelStrategy):
        raise UserError(
            "data.engine vllm takes whole weights, and trainer.strategy shards them; set data.engine to transformers, "
            "or train on one device."
        )
    if trainer.world_size > 1:
        raise UserError(
            f"data.engine vllm plays inside the trainer's process, of which there are {trainer.world_size}; set "
            "trainer.devices to 1, or data.engine to transformers."
        )
    if adapter_for(kind) is not None:
        raise UserError(
            f"data.engine vllm does not play {kind} models, which an adapter loads; set data.engine to transformers."
        )
    check_vllm(kind)


def elsewhere(
    learner: VlmqModule, *, temperature: float, seed: int, explore: tuple[float, float]
) -> tuple[Callable[[Backbone, Encoder], Policy], Weights]:
    """What makes the acting policy in another process, and the present weights. See `policy`.

    Where the model is sharded, every process must call this.
    """
    weights = Weights.of(learner.agent.backbone, frozen_too=learner.settings["weights"] == "random")
    return _maker(learner, temperature=temperature, seed=seed, explore=explore), weights


def recipe(learner: VlmqModule, player: Callable[[Encoder], Player], device: str) -> Recipe:
    """What a collector elsewhere is made of.

    Args:
        learner: whose model it has a copy of.
        player: makes its environments.
        device: where its copy of the model is.
    """
    settings = learner.settings
    return Recipe(partial(build.encoder, settings), partial(build.backbone, settings), player, device)


def _maker(
    learner: VlmqModule, *, temperature: float, guide: Guide | None = None, best_of: int = 1, **options: Any
) -> Callable[[Backbone, Encoder], Policy]:
    encoder = learner.encoder
    sampling = Sampling(learner.max_reply, temperature, encoder.end_id, encoder.pad_id, encoder.banned_ids)
    if learner.data.engine == "vllm" and guide is None:
        settings = learner.settings
        engine = Engine(settings["backbone"], settings["dtype"], **asdict(learner.data.vllm))
        return partial(VllmPolicy, sampling=sampling, engine=engine, **options)
    options |= {"guide": guide, "best_of": best_of}
    # Sharded processes run the same forwards, pictures included, whatever each of them has read.
    if learner.device_mesh is not None:
        return partial(ModelPolicy, sampling=sampling, reuse_gb=0.0, anyone=sync.anyone, **options)
    return partial(ModelPolicy, sampling=sampling, reuse_gb=learner.reuse_gb, **options)


def _guide(learner: VlmqModule, q_shift: float) -> Guide:
    critic = learner.agent.critic
    if critic.config.value == "turn":
        raise UserError(
            "critic.value 'turn' knows no Q of tokens, so evaluation.policies may not name best_of or shifted."
        )
    return Guide(critic.of_candidates, q_shift, critic.config.top_k)
