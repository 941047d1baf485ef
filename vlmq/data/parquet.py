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

from vlmq.api import DataError, Episode
from vlmq.data.damage import Damage, Kind
from vlmq.data.parquet_columns import (
    METADATA_KEY,
    PARQUET_VERSION,
    TEXT_COLUMNS,
    episode_of,
    one_line,
    optional,
    schema_of,
    table_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

SHARD_BYTES = 512 * 2**20
GROUP_BYTES = 64 * 2**20

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
    pq = optional("pyarrow.parquet")
    schema = schema_of(provenance)
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
            writer.write_table(table_of(rows, schema))
            rows, written, held = [], written + held, 0
            if written >= shard_bytes:
                writer.close()
                writer, shards, written = None, shards + 1, 0
        if rows or not count:
            writer = writer or _writer(pq, folder, shards, schema)
            writer.write_table(table_of(rows, schema))
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
                        yield where, episode_of(batch, where)
                    except DataError as error:
                        yield where, error


def plain_rows(path: Path, names: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of anybody's Parquet file as plain Python, those of these columns that it has; one group at a time."""
    pq = optional("pyarrow.parquet")
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        columns = [name for name in names if name in file.schema_arrow.names]
        number = 0
        for batch in file.iter_batches(batch_size=16, columns=columns):
            for row in batch.to_pylist():
                yield f"{path}, row {number}", row
                number += 1


def is_ours(folder: Path) -> bool:
    """Whether vlmq wrote this dataset."""
    pq = optional("pyarrow.parquet")
    try:
        return METADATA_KEY in (pq.read_schema(shards(folder)[0]).metadata or {})
    except (OSError, ValueError):
        return True  # what cannot be read at all is reported as our own damage


def _writer(pq: ModuleType, folder: Path, number: int, schema: pa.Schema) -> Any:
    return pq.ParquetWriter(
        folder / "data" / f"train-{number:05d}.parquet",
        schema,
        compression="zstd",
        # a dictionary takes one NaN for another, and zero for minus zero
        use_dictionary=list(TEXT_COLUMNS),
        write_page_checksum=True,
    )


def _size(episode: Episode) -> int:
    pictures = sum(o.image.nbytes for o in episode.observations if o.image is not None)
    texts = sum(2 * len(t.observation.text) + 2 * len(t.reply) + 8 * len(t.reply_ids) for t in episode.turns)
    return pictures + texts + 1000


def _open(path: Path) -> Any:
    pq = optional("pyarrow.parquet")
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
    pq = optional("pyarrow.parquet")
    try:
        metadata = (pq.read_schema(path) if file is None else file.schema_arrow).metadata or {}
        about = json.loads(metadata.get(METADATA_KEY, b"null"))
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
