"""The one way in and out for episodes: any format that can be read, into any format that can be written.

Nothing is held in memory but what is being copied, a target appears whole or not at all, and a source is only read.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vlmq.api import DataError, Episode, Turn
from vlmq.data import minari, parquet
from vlmq.data.damage import Damage, Kind
from vlmq.data.files import META, full_disk
from vlmq.data.foreign.agentgym import read_agentgym
from vlmq.data.foreign.agentlab import read_agentlab, refuse_pickles
from vlmq.data.foreign.llava import read_llava
from vlmq.data.foreign.messages import read_messages
from vlmq.data.foreign.stream import objects
from vlmq.data.foreign.tally import Choices, Tally
from vlmq.data.jsonl import read_jsonl, write_jsonl
from vlmq.data.store import EpisodeStore
from vlmq.data.texts import counted

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

MIXED = "mixed"
"""A store's tokenizer where its episodes name several."""

_MINARI_ID = re.compile(r"[-\w/]+-v\d+")


@dataclass
class Report:
    """What a conversion wrote.

    Attributes:
        source_format: what the source turned out to be.
        target_format: what was written.
        episodes: number of episodes.
        turns: number of turns.
        successes: number of episodes that succeeded.
        images: number of observations with a picture.
        dropped_tokens: number of replies whose recorded tokens were dropped.
        tally: what was left out or changed, by reason.
    """

    source_format: str
    target_format: str
    episodes: int = 0
    turns: int = 0
    successes: int = 0
    images: int = 0
    dropped_tokens: int = 0
    tally: Tally = field(default_factory=Tally)

    def lines(self) -> list[str]:
        """For a person."""
        found = [
            f"{counted(self.episodes, 'episode')} ({self.successes:,} succeeded), {counted(self.turns, 'turn')},"
            f" {counted(self.images, 'picture')}"
        ]
        if self.dropped_tokens:
            found.append(
                f"replies whose recorded tokens were dropped, for the trainer to tokenise: {self.dropped_tokens:,}"
            )
        return found + self.tally.lines()


def convert(
    source: str | Path,
    target: str | Path,
    *,
    source_format: str | None = None,
    target_format: str | None = None,
    choices: Choices | None = None,
    drop_tokens: bool = False,
    provenance: dict[str, Any] | None = None,
) -> Report:
    """Copy the episodes of one format to another.

    Args:
        source: a file or folder, or a Minari dataset id.
        target: a file or folder that is not there yet, or a new Minari dataset id.
        source_format: one of SOURCES; None finds out.
        target_format: one of TARGETS; None is a JSONL file where the name ends so, else a store.
        choices: what a foreign format does not say.
        drop_tokens: forget recorded token ids, log-probabilities and digests, which belong to the tokenizer of
            another model; the trainer then tokenises the replies.
        provenance: added to what the target says of itself, where it says anything.

    Raises:
        DataError: the source is missing, damaged or of no known format, the target is there already, or nothing
            could be imported; the target is then as it was.
        UserError: an optional package is missing.
    """
    target_format = _known(target_format, TARGETS) if target_format else guess_target(target)
    source_format = _known(source_format, SOURCES) if source_format else guess_format(source)
    if target_format != "minari":
        _require_new(Path(target))
    report = Report(source_format, target_format)
    about = {**provenance_of(source, source_format), **(provenance or {})}
    if drop_tokens:
        about["tokenizer"] = ""
    if choices is not None and choices.rewrite is not None:
        about["reply_format"] = choices.rewrite
    episodes = _seen(read(source, source_format, choices or Choices(), report.tally), report, drop_tokens)
    if target_format == "minari":
        with (
            _workshop(minari.root() / "store") as folder,
            _fill_store(folder / "made", episodes, about, source) as store,
        ):
            _require_some(report, source)
            minari.write_minari(store, str(target))
        return report
    target = Path(target)
    with _workshop(target) as folder:
        if target_format == "store":
            _fill_store(folder / "made", episodes, about, source).close()
        elif target_format == "hf":
            parquet.write_parquet(episodes, folder / "made", about)
        else:
            write_jsonl(episodes, folder / target.name)
        _require_some(report, source)
        if target_format == "jsonl":
            pictures = folder / f"{target.stem}_images"
            if pictures.exists():
                _require_new(target.parent / pictures.name)
                os.rename(pictures, target.parent / pictures.name)
            os.rename(folder / target.name, target)
        else:
            if target.exists():
                target.rmdir()  # empty, as was seen
            os.rename(folder / "made", target)
    return report


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


def guess_target(target: str | Path) -> str:
    """The format that a target's name asks for."""
    return "jsonl" if str(target).endswith(".jsonl") else "store"


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


def _known(name: str, among: tuple[str, ...]) -> str:
    if name not in among:
        raise DataError(f"there is no format {name!r}; choose one of {', '.join(among)}")
    return name


def _require_new(target: Path) -> None:
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(f"{target}: there is something here already; choose another name")


def _require_some(report: Report, source: str | Path) -> None:
    if report.episodes:
        return
    reasons = "; ".join(f"{n:,} {reason}" for reason, n in report.tally.left_out.most_common())
    if not reasons:
        raise DataError(f"{source}: it holds no episodes; give a file or folder that does")
    first = next(iter(report.tally.first.values()))
    raise DataError(f"{source}: nothing could be imported, {reasons} (first: {first})")


@contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """A folder beside the target, so that what is made there can be renamed into place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.converting-", dir=target.parent))
    try:
        yield folder
    except OSError as error:
        full = full_disk(target, error)
        raise full if full is not None else error from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill_store(
    path: Path, episodes: Iterable[Episode], about: dict[str, Any], source: str | Path
) -> EpisodeStore:
    """A new store, open, that says which tokenizer its tokens are of."""
    store = EpisodeStore.create(path, about)
    try:
        tokenizers: set[str] = set()
        for episode in episodes:
            if episode.index >= 0 and store.position_of(episode.index) is not None:
                raise Damage(
                    Kind.DUPLICATE,
                    f"{source}: two episodes have the index {episode.index}; number each once, or leave it out",
                )
            store.append(episode)
            if any(len(turn.reply_ids) for turn in episode.turns):
                tokenizers.add(episode.tokenizer)
        if tokenizers - {""}:
            store.update_provenance({"tokenizer": tokenizers.pop() if len(tokenizers) == 1 else MIXED})
    except BaseException:
        store.close()
        raise
    return store


def _seen(episodes: Iterable[Episode], report: Report, drop_tokens: bool) -> Iterator[Episode]:
    for episode in episodes:
        if drop_tokens:
            report.dropped_tokens += sum(len(turn.reply_ids) > 0 for turn in episode.turns)
            episode = replace(episode, tokenizer="", turns=tuple(map(_without_tokens, episode.turns)))
        report.episodes += 1
        report.turns += episode.num_turns
        report.successes += episode.success
        report.images += sum(observation.image is not None for observation in episode.observations)
        yield episode


def _without_tokens(turn: Turn) -> Turn:
    return replace(turn, reply_ids=np.zeros(0, np.int32), logprobs=np.zeros(0, np.float32), digest=0)
