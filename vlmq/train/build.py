"""A run's model and encoder from a module's settings: the same in the trainer, in a loaded agent and in a collector."""

from __future__ import annotations

from typing import Any

from vlmq.model import backbone as backbones
from vlmq.model.actor_critic import ActorCritic
from vlmq.model.backbone import Backbone, LoraSettings, locate
from vlmq.model.heads import CriticConfig
from vlmq.prompt.encode import Encoder

Settings = dict[str, Any]
"""See `VlmqModule.settings`."""


def encoder(settings: Settings) -> Encoder:
    """What turns observations and replies into tokens and pixels."""
    return Encoder.load(
        locate(settings["backbone"]),
        settings["reply_format"],
        thoughts=settings["thoughts"],
        trust_remote_code=settings["trust_remote_code"],
    )


def backbone(settings: Settings) -> Backbone:
    """Trunk and language head, as they are before training."""
    lora = settings["lora"]
    made = backbones.load_backbone(
        settings["backbone"],
        weights=settings["weights"],
        dtype=settings["dtype"],
        lora=None if lora is None else LoraSettings(**lora),
        freeze_vision=settings["freeze_vision"],
        trust_remote_code=settings["trust_remote_code"],
    )
    if settings.get("checkpoint_activations", False):
        made.checkpoint_activations()
    return made


def actor_critic(settings: Settings) -> ActorCritic:
    """The backbone and a new critic."""
    critic = CriticConfig(**settings["critic"])
    return ActorCritic(
        backbone(settings),
        critic,
        trunk_gradient=settings["trunk_gradient"],
        heads_bytes=int(1e9 * settings.get("heads_gb", 1.0)),
    )
