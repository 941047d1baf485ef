"""A critic and its Polyak copy as files beside an exported model, and back on such a model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from vlmq.api import ModelError
from vlmq.model.actor_critic import ActorCritic
from vlmq.model.backbone import load_backbone
from vlmq.model.heads import COPIES, CriticConfig

WEIGHTS, SETTINGS = "critic.safetensors", "critic.json"
_HEADS = ("critic", "target_critic")


def write(folder: str | Path, model: ActorCritic, *, return_range: float) -> None:
    """Write both heads; what they copy from the model they stand on is left out where it still is the model's.

    Args:
        folder: of the exported model.
        model: whose heads.
        return_range: what one unit of Q is worth in the environment's returns.
    """
    state, table = model.state_dict(), model.backbone.input_embedding().float()
    left_out = {f"target_critic.{copy}" for copy in COPIES}  # the critic's own
    left_out |= {
        f"critic.{copy}" for copy in COPIES if torch.equal(state.get(f"critic.{copy}", table), table)
    }
    heads = {
        name: value.detach().cpu().contiguous()
        for name, value in state.items()
        if name.startswith(tuple(f"{head}." for head in _HEADS)) and name not in left_out
    }
    save_file(heads, Path(folder) / WEIGHTS)
    said = {"critic": asdict(model.critic.config), "return_range": return_range}
    (Path(folder) / SETTINGS).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def read(folder: str | Path) -> tuple[ActorCritic, float]:
    """An exported model with its critic, and what one unit of Q is worth in the environment's returns.

    Raises:
        ModelError: the folder holds no critic, or a damaged one.
    """
    try:
        said = json.loads((Path(folder) / SETTINGS).read_text(encoding="utf-8"))
        heads = load_file(Path(folder) / WEIGHTS)
        config = CriticConfig(**said["critic"])
    except Exception as error:  # safetensors raises a class of its own that derives from Exception alone
        raise ModelError(
            f"{folder} holds no critic that can be read ({type(error).__name__}); export it with `vlmq export`."
        ) from error
    for copy in COPIES:
        if f"critic.{copy}" in heads:
            heads[f"target_critic.{copy}"] = heads[f"critic.{copy}"]
    model = ActorCritic(load_backbone(str(folder)), config, trunk_gradient=0.0)
    missing, unknown = model.load_state_dict(heads, strict=False)
    lacking = [name for name in missing if name.startswith(_HEADS) and name.rpartition(".")[2] not in COPIES]
    if lacking or unknown:
        raise ModelError(
            f"the critic in {folder} is of another model: {(lacking + unknown)[0]} does not fit."
        )
    return model.eval(), float(said["return_range"])
