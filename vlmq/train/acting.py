"""A module's weights as an acting policy: in this process, or made anew in another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from vlmq.api import UserError
from vlmq.model.actor_critic import ActorCritic
from vlmq.model.backbone import Backbone
from vlmq.model.generate import Guide, Sampling
from vlmq.prompt.encode import Encoder
from vlmq.rollout import sync
from vlmq.rollout.collector import Player
from vlmq.rollout.host import Recipe, Weights
from vlmq.rollout.policies import ModelPolicy
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
) -> ModelPolicy:
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
    acting = _maker(
        learner,
        temperature=temperature,
        seed=seed,
        explore=explore,
        guide=_guide(learner, q_shift) if q_shift or best_of > 1 else None,
        best_of=best_of,
        anyone=sync.anyone if learner.device_mesh is not None else bool,
    )
    return acting((model or learner.agent).backbone, learner.encoder)


def elsewhere(
    learner: VlmqModule, *, temperature: float, seed: int, explore: tuple[float, float]
) -> tuple[Callable[[Backbone, Encoder], ModelPolicy], Weights]:
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
    learner: VlmqModule, *, temperature: float, **options: Any
) -> Callable[[Backbone, Encoder], ModelPolicy]:
    encoder = learner.encoder
    sampling = Sampling(learner.max_reply, temperature, encoder.end_id, encoder.pad_id, encoder.banned_ids)
    # Sharded processes run the same forwards, pictures included, whatever each of them has read.
    reuse_gb = 0.0 if learner.device_mesh is not None else learner.reuse_gb
    return partial(ModelPolicy, sampling=sampling, reuse_gb=reuse_gb, **options)


def _guide(learner: VlmqModule, q_shift: float) -> Guide:
    critic = learner.agent.critic
    if critic.config.value == "turn":
        raise UserError(
            "critic.value 'turn' knows no Q of tokens, so evaluation.policies may not name best_of or shifted."
        )
    return Guide(critic.of_candidates, q_shift, critic.config.top_k)
