"""Episodes as a Hugging Face dataset: Parquet shards that `datasets` loads, TRL trains on, and that come back exactly.

    DIR/README.md                  says what this is
    DIR/data/train-00000.parquet   one row an episode; a new shard about every half gigabyte

Two columns are for others, the rest is ours:

    messages   what was shown and said, as chat templates take it: role, and content parts of type image or text
    images     the pictures of the placeholders in `messages`, in order, as PNG
    turns, final_*, env_id, seed, ...    every field of `vlmq.api.Episode`, bit for bit
    hash       `vlmq.data.identity.episode_hash`: a row that was damaged or changed is noticed

Needs the extra `vlmq[datasets]`; reading and writing are streams, a row group (about 64 MiB) at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlmq.api import DataError, Episode, Observation, Turn, UserError
from vlmq.data.damage import Damage, Kind
from vlmq.data.identity import episode_hash
from vlmq.data.pictures import decode_picture, png_bytes
from vlmq.data.texts import plain, readable, storable

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_VERSION = 1
"""Version of the columns. A reader refuses a newer one and must go on reading every older one."""

SHARD_BYTES = 512 * 2**20
GROUP_BYTES = 64 * 2**20

_KEY = b"vlmq"
_CARD = """\
---
configs:
- config_name: default
  data_files: data/train-*.parquet
---
Episodes of an agent, written by vlmq. `messages` and `images` are what TRL and others train on; the other columns
hold everything else that was recorded: `vlmq data convert DIR STORE --from hf` brings it back bit for bit.
"""


def write_parquet(
    episodes: Iterable[Episode],
    folder: Path,
    provenance: Mapping[str, Any],
    *,
    shard_bytes: int = SHARD_BYTES,
) -> int:
    """Write a dataset into an empty folder; returns the number of episodes.

    Raises UserError without pyarrow or datasets.
    """
    pq = _arrow("pyarrow.parquet")
    schema = _schema(provenance)
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text(_CARD, encoding="utf-8")
    count = shards = 0
    writer: Any = None
    rows: list[Episode] = []
    held = written = 0
    try:
        for episode in episodes:
            rows.append(episode)
            held += _size(episode)
            count += 1
            if held < GROUP_BYTES:
                continue
            writer = writer or _writer(pq, folder, shards, schema)
            writer.write_table(_table(rows, schema))
            rows, written, held = [], written + held, 0
            if written >= shard_bytes:
                writer.close()
                writer, shards, written = None, shards + 1, 0
        if rows or not count:
            writer = writer or _writer(pq, folder, shards, schema)
            writer.write_table(_table(rows, schema))
    finally:
        if writer is not None:
            writer.close()
    return count


def read_parquet(folder: str | Path) -> Iterator[Episode]:
    """The episodes of a dataset that `write_parquet` wrote, in order, read as they are asked for.

    Raises DataError for a folder without such a dataset and, on reaching it, for a row that is damaged.
    """
    for _, row in numbered(shards(Path(folder))):
        if isinstance(row, DataError):
            raise row
        yield row


def provenance_of(folder: str | Path) -> dict[str, Any]:
    """What the dataset says of itself."""
    about = _about(shards(Path(folder))[0])
    found = about.get("provenance", {})
    return found if isinstance(found, dict) else {}


def shards(folder: Path) -> list[Path]:
    """The Parquet files of a dataset, in order; DataError where there are none."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; give that of a Hugging Face dataset in Parquet")
    found = sorted(p for p in (*folder.glob("data/*.parquet"), *folder.glob("*.parquet")) if p.is_file())
    if not found:
        raise DataError(
            f"{folder}: it holds no .parquet files; save the dataset with `to_parquet`, not with `save_to_disk`"
        )
    return found


def numbered(paths: Iterable[Path]) -> Iterator[tuple[str, Episode | DataError]]:
    """Each row with its place, as an episode or as what is wrong with it."""
    for path in paths:
        try:
            file = _open(path)
            groups = file.num_row_groups
        except DataError as error:
            yield str(path), error
            continue
        with file:
            number = 0
            for group in range(groups):
                try:
                    rows = file.read_row_group(group).to_batches(max_chunksize=1)
                except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
                    yield (
                        f"{path}, rows from {number}",
                        Damage(
                            Kind.CHECKSUM,
                            f"{path}: the rows from {number} on are damaged ({one_line(error)}); restore the file"
                            " from a copy",
                        ),
                    )
                    number += file.metadata.row_group(group).num_rows
                    continue
                for batch in rows:
                    where = f"{path}, row {number}"
                    number += 1
                    try:
                        yield where, _checked(batch, where)
                    except DataError as error:
                        yield where, error


def plain_rows(path: Path, names: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of anybody's Parquet file as plain Python, those of these columns that it has; one group at a time."""
    pq = _arrow("pyarrow.parquet")
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        columns = [name for name in names if name in file.schema_arrow.names]
        number = 0
        for batch in file.iter_batches(batch_size=16, columns=columns):
            for row in batch.to_pylist():
                yield f"{path}, row {number}", row
                number += 1


def is_ours(folder: Path) -> bool:
    """Whether vlmq wrote this dataset."""
    pq = _arrow("pyarrow.parquet")
    try:
        return _KEY in (pq.read_schema(shards(folder)[0]).metadata or {})
    except (OSError, ValueError):
        return True  # what cannot be read at all is reported as our own damage


def one_line(error: Exception) -> str:
    """The text of a library's error without its line breaks."""
    return " ".join(str(error).split())[:200]


def _arrow(name: str = "pyarrow") -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"Hugging Face datasets need the packages datasets and pyarrow ({error}): pip install 'vlmq[datasets]'"
        ) from error


def _schema(provenance: Mapping[str, Any]) -> pa.Schema:
    """The columns, with what `datasets` and we read from the file's metadata."""
    datasets = _arrow("datasets")
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
        {**(arrow.metadata or {}), _KEY: json.dumps(about).encode("ascii")}
    )
    return schema


def _writer(pq: ModuleType, folder: Path, number: int, schema: pa.Schema) -> Any:
    return pq.ParquetWriter(
        folder / "data" / f"train-{number:05d}.parquet",
        schema,
        compression="zstd",
        # a dictionary takes one NaN for another, and zero for minus zero
        use_dictionary=["env_id", "source", "tokenizer", "env_args"],
        write_page_checksum=True,
    )


def _size(episode: Episode) -> int:
    pictures = sum(o.image.nbytes for o in episode.observations if o.image is not None)
    texts = sum(2 * len(t.observation.text) + 2 * len(t.reply) + 8 * len(t.reply_ids) for t in episode.turns)
    return pictures + texts + 1000


def _table(episodes: list[Episode], schema: pa.Schema) -> pa.Table:
    pa = _arrow()
    columns: dict[str, Any] = {
        "messages": [_messages(e) for e in episodes],
        "images": [[_png(t.observation) for t in e.turns if t.observation.image is not None] for e in episodes],
        "final_image": [_png(e.final_observation) for e in episodes],
        "final_text": [None if e.final_observation is None else storable(e.final_observation.text) for e in episodes],
        "turns": _turns(episodes, schema.field("turns").type),
        "hash": [episode_hash(e) for e in episodes],
    }  # fmt: skip
    for name in ("env_id", "source", "tokenizer", "env_args"):
        columns[name] = [storable(getattr(e, name)) for e in episodes]
    for name in ("seed", "index", "policy_version"):
        columns[name] = [int(getattr(e, name)) for e in episodes]
    for name in ("success", "terminated", "truncated"):
        columns[name] = [bool(getattr(e, name)) for e in episodes]
    arrays = [columns[f.name] if f.name == "turns" else pa.array(columns[f.name], f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _turns(episodes: list[Episode], kind: Any) -> pa.Array:
    """The column `turns`, from flat arrays: a float that became a Python number would lose what NaN it was."""
    pa = _arrow()
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
    return _arrow().array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))


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


def _open(path: Path) -> Any:
    pq = _arrow("pyarrow.parquet")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except (OSError, ValueError) as error:
        raise Damage(
            Kind.TRUNCATED if _without_end(path) else Kind.CHECKSUM,
            f"{path}: it is cut short or damaged ({one_line(error)}); restore the file from a copy",
        ) from error
    about = _about(path, file)
    version = about.get("version")
    if not isinstance(version, int) or version > PARQUET_VERSION:
        raise Damage(
            Kind.VERSION,
            f"{path}: its columns have version {version}; this vlmq reads up to {PARQUET_VERSION}: upgrade it",
        )
    return file


def _without_end(path: Path) -> bool:
    """A Parquet file begins and ends with the same four bytes."""
    if path.stat().st_size < 12:
        return True
    with open(path, "rb") as file:
        file.seek(-4, 2)
        return file.read() != b"PAR1"


def _about(path: Path, file: Any = None) -> dict[str, Any]:
    pq = _arrow("pyarrow.parquet")
    try:
        metadata = (pq.read_schema(path) if file is None else file.schema_arrow).metadata or {}
        about = json.loads(metadata.get(_KEY, b"null"))
    except (OSError, ValueError) as error:
        raise Damage(
            Kind.TRUNCATED,
            f"{path}: it is cut short or damaged ({one_line(error)}); restore the file from a copy",
        ) from error
    if not isinstance(about, dict) or about.get("format") != "vlmq-episodes":
        raise DataError(
            f"{path}: vlmq did not write it; bring others' messages and images in with `vlmq data convert --from"
            " messages`"
        )
    return about


def _checked(batch: Any, where: str) -> Episode:
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
