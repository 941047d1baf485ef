"""`messages` with pictures: the JSON lines that ms-swift, TRL and OpenAI-like tools train on.

The shapes were read in modelscope/ms-swift, docs/source_en/Customization/Custom-dataset.md (text with `<image>` marks
and a list `images`; `label` true or false in KTO data), and huggingface/trl, trl/data_utils.py,
`prepare_multimodal_messages` (content as parts of type image and text, pictures in `images` or in the part):

    {"messages": [{"role": "user", "content": "<image>What now?"}, {"role": "assistant", "content": "up"}],
     "images": ["shots/0.png"], "label": true}

A picture is a path, a data URI, or an object with `bytes` or `path`. Nothing is fetched from the net.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmq.api import DataError, Episode
from vlmq.data.foreign.chat import (
    ASSISTANT,
    Message,
    Outcome,
    episode,
    flag_or_none,
    number_or_none,
    role_of,
    with_placeholders,
)
from vlmq.data.foreign.stream import objects
from vlmq.data.foreign.tally import Choices, LeftOut, Tally


def read_messages(path: Path, choices: Choices, tally: Tally) -> Iterator[Episode]:
    """The rows of a JSON or JSONL file, or of a folder of Parquet files, as episodes; the rest is counted."""
    rows = _parquet_rows(path) if path.is_dir() else objects(path)
    folder = path if path.is_dir() else path.parent
    for where, row in rows:
        try:
            yield _episode(row, choices, tally, where, folder)
        except LeftOut as why:
            tally.leave_out(why)


def _episode(row: Mapping[str, Any], choices: Choices, tally: Tally, where: str, folder: Path) -> Episode:
    said = flag_or_none(row.get("success"))
    return episode(
        _messages(row, where),
        Outcome(
            said if said is not None else flag_or_none(row.get("label")),
            number_or_none(row.get("reward")),
            bool(flag_or_none(row.get("truncated"))),
        ),
        choices, tally, where,
        env_id=row["env"] if isinstance(row.get("env"), str) else "imported/messages",
        source="messages", folder=folder, action="auto",
    )  # fmt: skip


def _messages(row: Mapping[str, Any], where: str) -> list[Message]:
    found = row.get("messages")
    if not isinstance(found, list) or not found:
        raise LeftOut("no messages", f"{where}: 'messages' is empty or missing")
    pictures = row.get("images") or []
    if not isinstance(pictures, list):
        pictures = [pictures]
    if any(isinstance(message, dict) and isinstance(message.get("content"), list) for message in found):
        return _from_parts(found, list(pictures), where)
    texts = []
    for message in found:
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, str):
            raise LeftOut("a message without text", f"{where}: a message has no text (a tool call?)")
        texts.append((role_of(message.get("role"), where), content))
    return with_placeholders(texts, pictures, where)


def _from_parts(found: list[Any], pictures: list[Any], where: str) -> list[Message]:
    rest = iter(pictures)
    made = []
    for message in found:
        if not isinstance(message, dict):
            raise LeftOut("a message without text", f"{where}: a message is no object")
        role, content = role_of(message.get("role"), where), message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        texts: list[str] = []
        mine: list[Any] = []
        for part in parts if isinstance(parts, list) else [None]:
            if not isinstance(part, dict):
                raise LeftOut("a message without text", f"{where}: a message has no text (a tool call?)")
            if part.get("type") == "text":
                texts.append(str(part.get("text") or ""))
            elif part.get("type") in ("image", "image_url"):
                inside = part.get("image") or part.get("image_url") or part.get("url") or part.get("path")
                picture = inside if inside is not None else next(rest, None)
                if picture is None:
                    raise LeftOut("pictures and marks do not match", f"{where}: more image parts than images")
                mine.append(picture)
            else:
                raise LeftOut(
                    "a part that is neither text nor picture", f"{where}: a part is {part.get('type')!r}"
                )
        if role == ASSISTANT and mine:
            raise LeftOut("a picture in a reply", f"{where}: the assistant's message has a picture")
        made.append(Message(role, "\n".join(texts), tuple(mine)))
    if next(rest, None) is not None:
        raise LeftOut("pictures and marks do not match", f"{where}: more images than image parts")
    return made


def _parquet_rows(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from vlmq.data.parquet import plain_rows, shards
    from vlmq.data.parquet_columns import one_line

    for path in shards(folder):
        try:
            yield from plain_rows(
                path, ("messages", "images", "success", "label", "reward", "truncated", "env")
            )
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: it is cut short or damaged ({one_line(error)}); restore the file"
            ) from error
