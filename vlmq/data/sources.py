"""Where episodes come from: what a file or folder is, and the episodes in it one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from vlmq.api import DataError, Episode
from vlmq.data import minari, parquet
from vlmq.data.damage import Damage, Kind, kind_of
from vlmq.data.files import META
from vlmq.data.foreign.agentgym import read_agentgym
from vlmq.data.foreign.agentlab import read_agentlab, refuse_pickles
from vlmq.data.foreign.llava import read_llava
from vlmq.data.foreign.messages import read_messages
from vlmq.data.foreign.stream import objects
from vlmq.data.foreign.tally import Choices, LeftOut, Tally
from vlmq.data.jsonl import numbered as jsonl_numbered
from vlmq.data.jsonl import read_jsonl
from vlmq.data.salvage import undamaged
from vlmq.data.store import EpisodeStore

TARGETS = ("store", "jsonl", "hf", "minari")
"""The formats that are written, and read back exactly."""

FOREIGN: dict[str, Callable[[Path, Choices, Tally], Iterator[Episode]]] = {
    "llava": read_llava,
    "messages": read_messages,
    "agentgym": read_agentgym,
    "agentlab": read_agentlab,
}
"""Other projects' formats, which are only read."""

SOURCES = (*TARGETS, *FOREIGN)

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")

_MINARI_ID = re.compile(r"[-\w/]+-v\d+")


def guess_format(source: str | Path) -> str:
    """What a source is, by its files and the first object in them.

    Raises DataError where it is nothing that is known, a pickle, or an archive.
    """
    path = Path(source)
    if path.is_dir():
        return _guess_folder(path)
    if not path.exists():
        if _MINARI_ID.fullmatch(str(source)) and not path.suffix:
            return "minari"
        raise DataError(
            f"{source}: there is no such file or folder; give a store, a .jsonl or .json file, the folder of a Hugging"
            " Face dataset, or a Minari dataset id"
        )
    if path.name.endswith((".pkl", ".pickle", ".pkl.gz")):
        raise Damage(
            Kind.PICKLE,
            f"{path}: it is a pickle, which runs whatever its maker wrote, so vlmq never opens one",
        )
    if path.name.endswith(ARCHIVES):
        raise DataError(
            f"{path}: it is an archive; look at it with `vlmq data lint`, unpack it in a folder of its own, and convert"
            " what was in it"
        )
    if path.suffix not in (".json", ".jsonl"):
        raise DataError(
            f"{path}: a {path.suffix or 'nameless'} file is no format that is known; say which with --from"
        )
    return _guess_rows(path)


def read(source: str | Path, source_format: str, choices: Choices, tally: Tally) -> Iterator[Episode]:
    """The episodes of a source, one after the other."""
    if source_format == "store":
        return iter(EpisodeStore.open(source))
    if source_format == "jsonl":
        return read_jsonl(source)
    if source_format == "hf":
        return parquet.read_parquet(source)
    if source_format == "minari":
        return minari.read_minari(source)
    return FOREIGN[source_format](Path(source), choices, tally)


def read_undamaged(source: str | Path, source_format: str, tally: Tally) -> Iterator[Episode]:
    """The sound episodes of one of our own formats; the damaged ones are counted."""
    found: Iterable[Episode | DataError]
    if source_format == "store":
        found = undamaged(Path(source))
    elif source_format == "jsonl":
        found = (one for _, one in jsonl_numbered(source))
    elif source_format == "hf":
        found = (one for _, one in parquet.numbered(parquet.shards(Path(source))))
    else:
        found = (one for _, one in minari.numbered(source))
    indices: set[int] = set()
    for episode in found:
        if isinstance(episode, DataError):
            tally.leave_out(LeftOut(str(kind_of(episode)), str(episode)))
        elif episode.index >= 0 and episode.index in indices:
            tally.leave_out(
                LeftOut(
                    str(Kind.DUPLICATE), f"{source}: index {episode.index} was used by an earlier episode"
                )
            )
        else:
            indices.add(episode.index)
            yield episode


def provenance_of(source: str | Path, source_format: str) -> dict[str, Any]:
    """What a source says of itself, or where it came from."""
    if source_format == "store":
        with EpisodeStore.open(source) as store:
            return store.provenance
    if source_format == "hf":
        return parquet.provenance_of(source)
    if source_format == "minari":
        return minari.provenance_of(source)
    return {"source": "imported", "file": Path(source).name}


def _guess_folder(path: Path) -> str:
    if (path / META).is_file() or not any(path.iterdir()):
        return "store"  # an empty one is refused with a sentence of its own
    if minari.looks_like_minari(path):
        return "minari"
    if any(path.glob("*.parquet")) or any(path.glob("data/*.parquet")):
        return "hf" if parquet.is_ours(path) else "messages"
    refuse_pickles(path)
    if any(path.rglob("*.json")):
        return "agentlab"
    return "store"


def _guess_rows(path: Path) -> str:
    try:
        first = next((row for _, row in objects(path)), None)
    except DataError:
        if path.suffix == ".jsonl":
            return "jsonl"  # whose reader names the line
        raise
    for format_, fields in {
        "jsonl": {"turns"},
        "messages": {"messages"},
        "agentgym": {"conversations", "item_id"},
        "llava": {"conversations"},
        "agentlab": {"steps"},
    }.items():
        if first is not None and fields <= first.keys():
            return format_
    if path.suffix == ".jsonl":
        return "jsonl"
    raise DataError(
        f"{path}: its first object has the fields {', '.join(sorted(first or {})[:8]) or '(none)'}, which is no format"
        " that is known; say which with --from"
    )
