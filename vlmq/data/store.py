"""The episode store: an append-only directory of episodes that survives being killed at any moment.

    meta.json     format, schema version, who made it, provenance, how many bytes are safely on disk
    episodes.bin  one record per episode (layout: `vlmq.data.schema`)
    images.bin    every distinct picture once (layout: `vlmq.data.images`), written before what refers to it
    lock          held by the one writer

An append is handed to the operating system before it returns: a killed process loses nothing that was
appended. `flush` and `close` also make it durable against a power cut, and note in meta.json how far the
files then reach, so that a file cut short later is told from a write that a crash interrupted.
"""

from __future__ import annotations

import os
import struct
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmq.api import DataError, Episode, Observation, Turn
from vlmq.data import files
from vlmq.data.damage import Damage, Kind
from vlmq.data.images import (
    IMAGE_HEADER_BYTES,
    ImageReader,
    NewImages,
    parse_image_header,
    short_key,
)
from vlmq.data.schema import (
    HEADER_BYTES,
    SCHEMA_VERSION,
    TABLE_DTYPE,
    ImageRef,
    Record,
    encode,
    is_intact,
    parse_header,
)


class EpisodeStore:
    """Episodes in a directory, in the order they were appended.

    Make one with `create`, `open` or `open_for_append`. Any number of readers, in any process, may look on
    while one writer appends; a reader sees what was there when it was opened, and more after `refresh`.
    Reading is safe from several threads, and after a fork. Arrays that come back are read-only.

    Attributes:
        path: the directory.
        writable: whether this is the writer.
        dropped_bytes: what `open_for_append` cut off the files: writes that a crash had interrupted.
    """

    def __init__(self, path: Path, meta: dict[str, Any], lock_fd: int | None) -> None:
        """Not for callers: use `create`, `open` or `open_for_append`."""
        self.path = path
        self.writable = lock_fd is not None
        self.dropped_bytes = 0
        self._meta = meta
        self._mutex = threading.RLock()
        self._episodes_path, self._images_path = str(path / files.EPISODES), str(path / files.IMAGES)
        self._finalizer = weakref.finalize(self, files.close_all, self._open_files(lock_fd))
        self._load_image = ImageReader(self._images_fd, self._images_path)
        self._forget()
        self._images: dict[bytes, ImageRef] = {}
        self._images_end = 0
        try:
            self._scan_episodes()
            self._scan_images()
            if self.writable:
                self._drop_torn_tails()
        except BaseException:
            self._finalizer()
            raise

    # ---- making and opening

    @classmethod
    def create(cls, path: str | Path, provenance: dict[str, Any]) -> EpisodeStore:
        """A new, empty store, open for append.

        `provenance` is any plain JSON: environment id, policy, seed, tokenizer fingerprint. Raises DataError
        where the directory already holds something.
        """
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise DataError(f"{path}: a file is in the way; choose another directory for the store") from None
        except OSError as error:
            known = files.trouble(path, error)
            raise known if known is not None else error from error
        files.require_vacant(path)
        lock_fd = files.take_lock(path)
        try:
            files.require_vacant(path)
            for name in (files.EPISODES, files.IMAGES):
                os.close(os.open(path / name, os.O_WRONLY | os.O_CREAT, 0o644))
            meta = {
                "format": files.FORMAT,
                "schema": SCHEMA_VERSION,
                "created_by": f"vlmq {files.version()}",
                "committed": {"episodes": 0, "images": 0},
                "provenance": provenance,
            }
            files.write_meta(path, meta)
            meta = files.read_meta(path)
        except BaseException:
            os.close(lock_fd)
            raise
        return cls(path, meta, lock_fd)

    @classmethod
    def open(cls, path: str | Path) -> EpisodeStore:
        """A store to read. Raises DataError where there is none, or it is damaged or too new."""
        return cls(Path(path), files.read_meta(Path(path)), None)

    @classmethod
    def open_for_append(cls, path: str | Path) -> EpisodeStore:
        """A store to read and extend; a write that a crash had interrupted is cut off.

        Raises DataError where there is none, it is damaged or too new, or another writer has it open.
        """
        path = Path(path)
        files.read_meta(path)
        lock_fd = files.take_lock(path)
        try:
            meta = files.read_meta(path)  # again, now that nobody else may change it
        except BaseException:
            os.close(lock_fd)
            raise
        return cls(path, meta, lock_fd)

    def close(self) -> None:
        """Flush what was appended and let go of the files. Closing twice is allowed."""
        if not self._finalizer.alive:
            return
        try:
            if self.writable:
                self.flush()
        finally:
            self._finalizer()

    def __enter__(self) -> EpisodeStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        """A copy in another process is a reader."""
        return EpisodeStore.open, (self.path,)

    def __repr__(self) -> str:
        return f"EpisodeStore({str(self.path)!r}, {len(self)} episodes)"

    # ---- provenance

    @property
    def provenance(self) -> dict[str, Any]:
        """What these episodes were made from, as plain JSON; a copy."""
        return dict(self._meta["provenance"])

    def update_provenance(self, changes: dict[str, Any]) -> None:
        """Set some entries, in one step: a crash leaves the old or the new, never a mixture."""
        with self._mutex:
            self._require_writer()
            self._replace_meta(provenance={**self._meta["provenance"], **changes})

    # ---- reading

    @property
    def table(self) -> NDArray[np.void]:
        """One row per episode, of `vlmq.data.schema.TABLE_DTYPE`; read-only, a snapshot."""
        rows = self._rows[: len(self)]
        rows.flags.writeable = False
        return rows

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, position: int) -> Episode:
        """The episode at a position; raises IndexError past the end, DataError where it is damaged."""
        return self._episode(position, self._load_image)

    def outline(self, position: int) -> Episode:
        """The episode with black pictures of the right shapes: quick, for no picture is read."""
        return self._episode(position, self._load_image.blank)

    def __iter__(self) -> Iterator[Episode]:
        return (self[position] for position in range(len(self)))

    def read(self, position: int, start: int, stop: int) -> tuple[tuple[Turn, ...], Observation | None]:
        """Turns start..stop-1 of an episode, and the observation after them; no other picture is decoded.

        That observation is the next turn's, or the final one, or None where that was not recorded.
        """
        record = self._record(position)
        if not 0 <= start <= stop <= record.num_turns:
            raise IndexError(f"turns {start}:{stop} of episode {position}, which has {record.num_turns}")
        return record.turns(start, stop, self._load_image)

    def position_of(self, index: int) -> int | None:
        """Where the episode with this `Episode.index` is stored; None for one not stored, or below 0."""
        return self._by_index.get(index)

    def refresh(self) -> int:
        """See what a writer in another process has done since; returns the number of new episodes."""
        with self._mutex:
            if self.writable:
                return 0
            before, self._meta = len(self), files.read_meta(self.path)
            if self._changed_behind():
                self._forget()
            self._scan_episodes()
            return len(self) - before

    def verify(self) -> list[str]:
        """Read everything; one sentence for each damaged episode, none where all is well."""
        problems = []
        for position in range(len(self)):
            try:
                self[position]
            except DataError as error:
                problems.append(str(error))
        return problems

    # ---- writing

    def append(self, episode: Episode) -> int:
        """Store an episode and return its position.

        Raises DataError, with the store as it was, for an episode that is malformed or whose index (0 or
        more) is already stored, and where the disk is full.
        """
        return self.append_many([episode])[0]

    def append_many(self, episodes: Iterable[Episode]) -> list[int]:
        """Store all of these episodes or, where an error is raised, none; returns their positions."""
        with self._mutex:
            self._require_writer()
            placed = NewImages(self._images, self._images_end)
            records, rows, indices = [], [], set()
            for episode in episodes:
                if episode.index >= 0 and (episode.index in self._by_index or episode.index in indices):
                    raise DataError(
                        f"{self.path}: an episode with index {episode.index} is already stored; skip it, or"
                        " number new episodes on from there"
                    )
                record, row = encode(episode, placed.place)
                indices.add(episode.index)
                records.append(record)
                rows.append(row)
            end = self._offsets[-1]
            with self._undone_on_failure():
                files.write_at(self._images_fd, self._images_end, b"".join(placed.pieces))
                files.write_at(self._episodes_fd, end, b"".join(records))
            self._images.update(placed.found)
            self._images_end = placed.end
            first = len(self)
            lengths = np.cumsum([len(record) for record in records], dtype=np.int64).tolist()
            self._extend([end + length for length in lengths], rows)
            return list(range(first, len(self)))

    def flush(self, fsync: bool = True) -> None:
        """Make what was appended durable against a power cut; with fsync=False there is nothing to do."""
        with self._mutex:
            self._require_writer()
            committed = {"episodes": self._offsets[-1], "images": self._images_end}
            if not fsync or committed == self._meta["committed"]:
                return
            os.fsync(self._images_fd)
            os.fsync(self._episodes_fd)
            self._replace_meta(committed=committed)

    def truncate(self, num_episodes: int) -> None:
        """Forget the episodes from position `num_episodes` on, as a run that resumes from a checkpoint must.

        Their pictures stay in the file and are used again when they come again.
        """
        with self._mutex:
            self._require_writer()
            if not 0 <= num_episodes <= len(self):
                raise DataError(
                    f"{self.path}: it holds {len(self)} episodes and cannot be cut back to {num_episodes};"
                    " this store and the checkpoint do not belong together"
                )
            end = self._offsets[num_episodes]
            committed = self._meta["committed"]
            if end < committed["episodes"]:
                self._replace_meta(committed={**committed, "episodes": end})
            os.ftruncate(self._episodes_fd, end)
            rows = self._rows[:num_episodes].copy()
            offsets = self._offsets[: num_episodes + 1]
            self._forget()
            self._extend(offsets[1:], [rows.tobytes()])

    # ---- inside

    def _open_files(self, lock_fd: int | None) -> list[int]:
        fds = [] if lock_fd is None else [lock_fd]
        for name in (self._episodes_path, self._images_path):
            try:
                fds.append(os.open(name, (os.O_RDWR if self.writable else os.O_RDONLY) | os.O_CLOEXEC))
            except OSError as error:
                files.close_all(fds)
                raise DataError(
                    f"{name}: the file cannot be opened ({error.strerror}); restore it from a copy, or mend"
                    " its rights"
                ) from error
        self._episodes_fd, self._images_fd = fds[-2:]
        return fds

    def _forget(self) -> None:
        self._count = 0
        self._offsets = [0]
        self._rows = np.zeros(0, TABLE_DTYPE)
        self._by_index: dict[int, int] = {}

    def _extend(self, ends: list[int], rows: list[bytes]) -> None:
        new = np.frombuffer(b"".join(rows), TABLE_DTYPE)
        before, after = len(self), len(self) + len(new)
        if after > len(self._rows):
            grown = np.zeros(max(after, 2 * len(self._rows), 64), TABLE_DTYPE)
            grown[:before] = self._rows[:before]
            self._rows = grown
        self._rows[before:after] = new
        self._offsets.extend(ends)
        self._by_index.update(
            (index, before + k) for k, index in enumerate(new["index"].tolist()) if index >= 0
        )
        self._count = after  # last: a thread that sees the count finds the rest in place

    def _scan_episodes(self) -> None:
        found, end = files.scan(
            self._episodes_fd, self._episodes_path, self._offsets[-1], HEADER_BYTES, parse_header
        )
        files.require_committed(self._episodes_path, end, self._meta["committed"]["episodes"])
        ends = [start + HEADER_BYTES + length for start, _, length in found]
        self._extend(ends, [row for _, row, _ in found])

    def _scan_images(self) -> None:
        """Learn every stored picture, which only the writer needs: a reader finds them by their place."""
        committed = self._meta["committed"]["images"]
        if not self.writable:
            files.require_committed(self._images_path, os.fstat(self._images_fd).st_size, committed)
            return
        found, self._images_end = files.scan(
            self._images_fd, self._images_path, 0, IMAGE_HEADER_BYTES, parse_image_header
        )
        files.require_committed(self._images_path, self._images_end, committed)
        for start, key, length in found:
            self._images[key] = ImageRef(start, length, short_key(key))

    def _drop_torn_tails(self) -> None:
        for fd, end in ((self._images_fd, self._images_end), (self._episodes_fd, self._offsets[-1])):
            self.dropped_bytes += os.fstat(fd).st_size - end
            os.ftruncate(fd, end)

    def _changed_behind(self) -> bool:
        """Whether a writer cut the store back, and perhaps went on, since this reader looked."""
        if not len(self):
            return False
        header = os.pread(self._episodes_fd, HEADER_BYTES, self._offsets[-2])
        parsed = parse_header(header) if len(header) == HEADER_BYTES else None
        length = self._offsets[-1] - self._offsets[-2] - HEADER_BYTES
        return parsed != (self._rows[len(self) - 1].tobytes(), length)

    def _episode(self, position: int, load: Callable[[ImageRef], NDArray[np.uint8]]) -> Episode:
        try:
            return self._record(position).episode(load)
        except (struct.error, ValueError, OverflowError) as error:
            # an intact checksum over a layout that no vlmq wrote
            raise Damage(
                Kind.FIELD,
                f"{self._episodes_path}: episode {position % len(self)} has a layout that cannot be read ({error});"
                " ask whoever wrote it for another copy",
            ) from error

    def _record(self, position: int) -> Record:
        position = self._position(position)
        start, end = self._offsets[position], self._offsets[position + 1]
        data = os.pread(self._episodes_fd, end - start, start)
        if not is_intact(data):
            raise Damage(
                Kind.CHECKSUM,
                f"{self._episodes_path}: episode {position} is damaged (checksum, byte {start}); restore the"
                " file from a copy, or keep the undamaged episodes with vlmq.data.salvage",
            )
        return Record(data)

    def _position(self, position: int) -> int:
        if not -len(self) <= position < len(self):
            raise IndexError(f"episode {position} of a store of {len(self)}")
        return position % len(self)

    def _replace_meta(self, **changes: Any) -> None:
        files.write_meta(self.path, {**self._meta, **changes})
        self._meta = files.read_meta(self.path)

    def _require_writer(self) -> None:
        if not self.writable:
            raise DataError(f"{self.path}: the store was opened to read; use open_for_append to change it")
        if not self._finalizer.alive:
            raise DataError(f"{self.path}: the store is closed; open it again with open_for_append")

    @contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        """Cut the files back where writing fails, so that neither holds a part of a record."""
        try:
            yield
        except BaseException as error:
            os.ftruncate(self._episodes_fd, self._offsets[-1])
            os.ftruncate(self._images_fd, self._images_end)
            known = files.trouble(self.path, error) if isinstance(error, OSError) else None
            if known is not None:
                raise known from error
            raise
