"""The one way in and out for episodes: any format that can be read, into any format that can be written.

Nothing is held in memory but what is being copied, a target appears whole or not at all, and a source is only read.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vlmq.api import DataError, Episode, Turn
from vlmq.data import files, minari, parquet
from vlmq.data.damage import Damage, Kind
from vlmq.data.foreign.tally import Choices, Tally
from vlmq.data.jsonl import write_jsonl
from vlmq.data.sources import SOURCES, TARGETS, guess_format, provenance_of, read, read_undamaged
from vlmq.data.store import EpisodeStore
from vlmq.data.texts import counted

MIXED = "mixed"
"""A store's tokenizer where its episodes name several."""


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
    skip_damaged: bool = False,
    provenance: dict[str, Any] | None = None,
    progress: bool = False,
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
        skip_damaged: leave out and count the episodes of our own formats that are damaged, rather than refuse the
            source; other formats always do so.
        provenance: added to what the target says of itself, where it says anything.
        progress: count the episodes on a terminal, where it takes longer than a second.

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
    about = {**_about(source, source_format, skip_damaged), **(provenance or {})}
    if drop_tokens:
        about["tokenizer"] = ""
    if choices is not None and choices.rewrite is not None:
        about["reply_format"] = choices.rewrite
    if skip_damaged and source_format in TARGETS:
        read_from = read_undamaged(source, source_format, report.tally)
    else:
        read_from = read(source, source_format, choices or Choices(), report.tally)
    episodes = _seen(read_from, report, drop_tokens)
    if progress:
        # disable=None: where nobody looks, nothing is drawn
        episodes = iter(tqdm(episodes, unit=" episodes", delay=1, leave=False, disable=None))
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


def _about(source: str | Path, source_format: str, skip_damaged: bool) -> dict[str, Any]:
    try:
        return provenance_of(source, source_format)
    except DataError as error:
        if not skip_damaged:
            raise
        return {"provenance_lost": str(error)}


def guess_target(target: str | Path) -> str:
    """The format that a target's name asks for."""
    return "jsonl" if str(target).endswith(".jsonl") else "store"


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
        raise files.trouble(target, error) or error from error
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
