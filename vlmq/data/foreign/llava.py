"""LLaVA's fine-tuning JSON, which RL4VLM's supervised data is written in too.

The shape was read in haotian-liu/LLaVA, docs/Finetune_Custom_Data.md, and RL4VLM/RL4VLM, README.md and finetune.sh
(`--data_path` is this file, `--image_folder` what we call `pictures`):

    [{"id": "7", "image": "part-1/7.jpg", "conversations": [
        {"from": "human", "value": "<image>\\nYou are a card player ..."},
        {"from": "gpt", "value": "{\\"thoughts\\": ..., \\"action\\": \\"stand\\"}"}]}, ...]

Neither says how a trajectory ended, so the user must.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vlmq.api import Episode
from vlmq.data.foreign.chat import (
    USER,
    Outcome,
    episode,
    flag_or_none,
    number_or_none,
    role_of,
    with_placeholders,
)
from vlmq.data.foreign.stream import objects
from vlmq.data.foreign.tally import Choices, LeftOut, Tally


def read_llava(path: Path, choices: Choices, tally: Tally) -> Iterator[Episode]:
    """The samples of a file as episodes; what cannot be used is counted in the tally."""
    for where, row in objects(path):
        try:
            texts = conversation(row.get("conversations"), where)
            named = row.get("image", row.get("images"))
            pictures = [] if named is None else named if isinstance(named, list) else [named]
            yield episode(
                with_placeholders(texts, pictures, where),
                Outcome(flag_or_none(row.get("success")), number_or_none(row.get("reward"))),
                choices, tally, where, env_id="imported/llava", source="llava", folder=path.parent, action="json",
            )  # fmt: skip
        except LeftOut as why:
            tally.leave_out(why)


def conversation(found: object, where: str) -> list[tuple[str, str]]:
    """(role, text) of each of `conversations`."""
    if not isinstance(found, list) or not found:
        raise LeftOut("no conversation", f"{where}: 'conversations' is empty or missing")
    texts = []
    for message in found:
        if not isinstance(message, dict) or not isinstance(message.get("value"), str):
            raise LeftOut("a message without text", f"{where}: a message has no text in 'value'")
        texts.append((role_of(message.get("from"), where), message["value"]))
    if not any(role == USER for role, _ in texts):
        raise LeftOut("a reply to nothing", f"{where}: there is no message of the user")
    return texts
