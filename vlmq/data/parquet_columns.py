"""The columns of our Parquet files: episodes to Arrow tables, and rows back to episodes, bit for bit."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlmq.api import Episode, Observation, Turn, UserError
from vlmq.data.damage import Damage, Kind
from vlmq.data.identity import episode_hash
from vlmq.data.pictures import decode_picture, png_bytes
from vlmq.data.texts import plain, readable, storable

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_VERSION = 1
"""Version of the columns. A reader refuses a newer one and must go on reading every older one."""

METADATA_KEY = b"vlmq"
"""Where the schema's metadata says what we say of a file."""

TEXT_COLUMNS = ("env_id", "source", "tokenizer", "env_args")


def optional(name: str = "pyarrow") -> ModuleType:
    """A module of an optional package; UserError with what to install where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"Hugging Face datasets need the packages datasets and pyarrow ({error}): pip install 'vlmq[datasets]'"
        ) from error


def schema_of(provenance: Mapping[str, Any]) -> pa.Schema:
    """The columns, with what `datasets` and we read from the file's metadata."""
    datasets = optional("datasets")
    text, flag = datasets.Value("string"), datasets.Value("bool")
    part = {"type": text, "text": text}
    turn = {
        "text": text, "has_image": flag, "reply": text, "action": text, "reward": datasets.Value("float64"),
        "parsed": flag, "action_ok": flag, "digest": datasets.Value("uint64"), "source": text,
        "reply_ids": datasets.List(datasets.Value("int32")),
        "logprobs": datasets.List(datasets.Value("float32")),
    }  # fmt: skip
    whole = datasets.Value("int64")
    features = datasets.Features(
        {
            "messages": datasets.List({"role": text, "content": datasets.List(part)}),
            "images": datasets.List(datasets.Image()),
            "env_id": text, "seed": whole, "index": whole, "policy_version": whole,
            "success": flag, "terminated": flag, "truncated": flag,
            "source": text, "tokenizer": text, "env_args": text,
            "turns": datasets.List(turn),
            "final_text": text, "final_image": datasets.Image(), "hash": text,
        }
    )  # fmt: skip
    about = {"format": "vlmq-episodes", "version": PARQUET_VERSION, "provenance": dict(provenance)}
    arrow = features.arrow_schema
    schema: pa.Schema = arrow.with_metadata(
        {**(arrow.metadata or {}), METADATA_KEY: json.dumps(about).encode("ascii")}
    )
    return schema


def table_of(episodes: list[Episode], schema: pa.Schema) -> pa.Table:
    """Rows of these episodes."""
    pa = optional()
    columns: dict[str, Any] = {
        "messages": [_messages(e) for e in episodes],
        "images": [[_png(t.observation) for t in e.turns if t.observation.image is not None] for e in episodes],
        "final_image": [_png(e.final_observation) for e in episodes],
        "final_text": [None if e.final_observation is None else storable(e.final_observation.text) for e in episodes],
        "turns": _turns(episodes, schema.field("turns").type),
        "hash": [episode_hash(e) for e in episodes],
    }  # fmt: skip
    for name in TEXT_COLUMNS:
        columns[name] = [storable(getattr(e, name)) for e in episodes]
    for name in ("seed", "index", "policy_version"):
        columns[name] = [int(getattr(e, name)) for e in episodes]
    for name in ("success", "terminated", "truncated"):
        columns[name] = [bool(getattr(e, name)) for e in episodes]
    arrays = [columns[f.name] if f.name == "turns" else pa.array(columns[f.name], f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def episode_of(batch: Any, where: str) -> Episode:
    """The episode of a batch of one row; DataError, beginning with `where`, where it is damaged or was changed."""
    try:
        episode = _episode(batch, where)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Damage(
            Kind.FIELD, f"{where}: it does not hold what its version has ({one_line(error)}); export it again"
        ) from error
    stored = batch.column("hash")[0].as_py() if "hash" in batch.schema.names else None
    if stored is not None and stored != episode_hash(episode):
        raise Damage(
            Kind.CHECKSUM,
            f"{where}: it is damaged, or was changed since it was exported (its hash is not {stored}); restore the"
            " file, or drop the column 'hash' where the change was meant",
        )
    return episode


def one_line(error: Exception) -> str:
    """The text of a library's error without its line breaks."""
    return " ".join(str(error).split())[:200]


def _turns(episodes: list[Episode], kind: Any) -> pa.Array:
    """The column `turns`, from flat arrays: a float that became a Python number would lose what NaN it was."""
    pa = optional()
    turns = [turn for e in episodes for turn in e.turns]
    plain_columns: dict[str, Any] = {
        "text": [storable(t.observation.text) for t in turns],
        "has_image": [t.observation.image is not None for t in turns],
        "reply": [storable(t.reply) for t in turns],
        "action": [storable(t.action) for t in turns],
        "reward": np.array([t.reward for t in turns], np.float64),
        "parsed": [bool(t.parsed) for t in turns],
        "action_ok": [bool(t.action_ok) for t in turns],
        "digest": np.array([t.digest for t in turns], np.uint64),
        "source": [storable(t.source) for t in turns],
    }
    offsets = _offsets([len(t.reply_ids) for t in turns])
    arrays = []
    for field in kind.value_type:
        if field.name in plain_columns:
            arrays.append(pa.array(plain_columns[field.name], field.type))
            continue
        empty = np.zeros(0, np.int32 if field.name == "reply_ids" else np.float32)
        flat = np.concatenate([empty, *(getattr(t, field.name) for t in turns)])
        arrays.append(pa.ListArray.from_arrays(offsets, pa.array(flat), type=field.type))
    rows = pa.StructArray.from_arrays(arrays, fields=list(kind.value_type))
    return pa.ListArray.from_arrays(_offsets([e.num_turns for e in episodes]), rows, type=kind)


def _offsets(counts: list[int]) -> pa.Array:
    return optional().array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))


def _messages(episode: Episode) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for turn in episode.turns:
        parts = [] if turn.observation.image is None else [{"type": "image", "text": None}]
        parts.append({"type": "text", "text": readable(turn.observation.text)})
        messages.append({"role": "user", "content": parts})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": readable(turn.reply)}]})
    return messages


def _png(observation: Observation | None) -> dict[str, Any] | None:
    if observation is None or observation.image is None:
        return None
    return {"bytes": png_bytes(observation.image), "path": None}


def _episode(batch: Any, where: str) -> Episode:
    row: dict[str, Any] = {
        name: batch.column(name)[0].as_py()
        for name in batch.schema.names
        if name not in ("messages", "turns")
    }
    turns = batch.column("turns")[0].values
    pictures = iter(row["images"])
    made = tuple(_turn(turns, k, pictures, where) for k in range(len(turns)))
    if next(pictures, None) is not None:
        raise ValueError("there are more images than turns that have one")
    text, image = row["final_text"], row["final_image"]
    final = None if text is None else Observation(plain(text), _image(image, f"{where}, final_image"))
    return Episode(
        env_id=plain(row["env_id"]), seed=row["seed"], turns=made, final_observation=final,
        terminated=row["terminated"], truncated=row["truncated"], success=row["success"],
        source=plain(row["source"]), index=row["index"], policy_version=row["policy_version"],
        tokenizer=plain(row["tokenizer"]), env_args=plain(row["env_args"]),
    )  # fmt: skip


def _turn(turns: Any, k: int, pictures: Iterator[Any], where: str) -> Turn:
    def value(name: str) -> Any:
        return turns.field(name)[k].as_py()

    image = None
    if value("has_image"):
        picture = next(pictures, None)
        if picture is None:
            raise Damage(
                Kind.MISSING_PICTURE,
                f"{where}, turns[{k}]: its picture is missing; restore the column 'images'",
            )
        image = _image(picture, f"{where}, turns[{k}]")
    return Turn(
        observation=Observation(plain(value("text")), image),
        reply=plain(value("reply")),
        action=plain(value("action")),
        reward=float(_numbers(turns.field("reward").slice(k, 1), np.float64)[0]),
        parsed=value("parsed"),
        action_ok=value("action_ok"),
        reply_ids=_numbers(turns.field("reply_ids")[k].values, np.int32),
        logprobs=_numbers(turns.field("logprobs")[k].values, np.float32),
        digest=value("digest"),
        source=plain(value("source")),
    )


def _numbers(array: Any, dtype: type[np.generic]) -> NDArray[Any]:
    if array.null_count:
        raise ValueError("a number is missing")
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype)


def _image(picture: Any, where: str) -> NDArray[np.uint8] | None:
    if picture is None:
        return None
    content = picture.get("bytes")
    if not content:
        raise Damage(
            Kind.MISSING_PICTURE,
            f"{where}: the picture is not in the file; save the dataset with its pictures in it",
        )
    return decode_picture(content, "the picture", where)
