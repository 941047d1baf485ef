"""The episode store loses nothing to a killed writer, a full disk, a cut file or a flipped bit unnoticed."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_episodes import episode_bits, make_episode

from vlmq.api import DataError, Episode
from vlmq.data.salvage import mend, salvage
from vlmq.data.store import EpisodeStore

NAMES = ("episodes.bin", "images.bin", "meta.json")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "episodes"


def small(index: int) -> Episode:
    return make_episode(index, num_turns=1, size=2)


def bits(store: EpisodeStore) -> list[object]:
    return [episode_bits(episode) for episode in store]


def closed_store(path: Path, count: int) -> list[object]:
    with EpisodeStore.create(path, {"env_id": "x"}) as store:
        store.append_many([small(index) for index in range(count)])
    return [episode_bits(small(index)) for index in range(count)]


def killed_store(path: Path, before: int, after: int) -> list[object]:
    """The files as a writer leaves them that closed once, came again, appended and was killed."""
    closed_store(path.with_name("alive"), before)
    with EpisodeStore.open_for_append(path.with_name("alive")) as store:
        store.append_many([small(before + k) for k in range(after)])
        shutil.copytree(store.path, path)
    return [episode_bits(small(index)) for index in range(before + after)]


def append_until_killed(path: Path, acknowledge: int) -> None:
    with EpisodeStore.open_for_append(path) as store:
        os.write(acknowledge, b"0\n")
        while True:
            index = len(store)
            if index % 7 == 3:
                store.append_many([make_episode(index + k, size=96) for k in range(3)])
            else:
                store.append(make_episode(index, size=96))
            os.write(acknowledge, b"%d\n" % len(store))
            if index % 5 == 0:
                store.update_provenance({"seen": index})
            if index % 11 == 0:
                store.flush()


def test_a_writer_killed_at_any_moment_loses_nothing_that_was_appended(path: Path) -> None:
    EpisodeStore.create(path, {}).close()
    chance = random.Random(0)
    expected: list[object] = []
    for _ in range(14):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                append_until_killed(path, writing)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading, "rb") as acknowledged:
            first = acknowledged.readline()
            time.sleep(chance.uniform(0.0, 0.06))
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            lines = [first, *acknowledged.readlines()]
        assert os.WIFSIGNALED(status), "the writer must have died of the signal, not of an error"
        promised = max(int(line) for line in lines if line.endswith(b"\n"))

        reader = EpisodeStore.open(path)
        assert len(reader) >= promised
        expected += [episode_bits(make_episode(k, size=96)) for k in range(len(expected), len(reader))]
        assert bits(reader) == expected
        with EpisodeStore.open_for_append(path) as store:
            assert bits(store) == expected
    assert len(expected) > 14


def test_a_record_cut_short_anywhere_is_dropped_and_the_rest_is_whole(path: Path) -> None:
    expected = killed_store(path, 2, 1)
    whole = (path / "episodes.bin").read_bytes()
    with EpisodeStore.open(path) as store:
        assert bits(store) == expected
        start = store._offsets[2]
    for size in range(start, len(whole)):
        (path / "episodes.bin").write_bytes(whole[:size])
        reader = EpisodeStore.open(path)
        assert bits(reader) == expected[:2]
        if size % 23 == 0:
            shutil.copytree(path, path.with_name(f"cut-{size}"))
            with EpisodeStore.open_for_append(path.with_name(f"cut-{size}")) as store:
                assert store.dropped_bytes == size - start
                store.append(small(2))
                assert bits(store) == expected


def test_a_picture_cut_short_anywhere_is_dropped_and_stored_again(path: Path) -> None:
    expected = killed_store(path, 1, 1)
    size = EpisodeStore.open(path)._meta["committed"]["images"]
    with EpisodeStore.open_for_append(path.with_name("alive")) as store:
        end = store._offsets[1]
    # Pictures are written before the record, so a kill among them leaves no record.
    os.truncate(path / "episodes.bin", end)
    whole = (path / "images.bin").read_bytes()
    for length in range(size, len(whole)):
        (path / "images.bin").write_bytes(whole[:length])
        assert bits(EpisodeStore.open(path)) == expected[:1]
        if length % 11 == 0:
            shutil.copytree(path, path.with_name(f"cut-{length}"))
            with EpisodeStore.open_for_append(path.with_name(f"cut-{length}")) as store:
                store.append(small(1))
                assert bits(store) == expected


def test_a_file_cut_short_after_it_was_closed_is_named_whatever_the_place(path: Path) -> None:
    closed_store(path, 2)
    for name in NAMES[:2]:
        whole = (path / name).read_bytes()
        for size in range(len(whole)):
            (path / name).write_bytes(whole[:size])
            opener = EpisodeStore.open_for_append if size % 5 == 0 else EpisodeStore.open
            with pytest.raises(DataError, match=rf"{name}: it is cut short"):
                opener(path)
        (path / name).write_bytes(whole)
    EpisodeStore.open_for_append(path).close()


def content_or_error(path: Path) -> tuple[list[object], dict[str, object]] | DataError:
    try:
        store = EpisodeStore.open(path)
        return bits(store), store.provenance
    except DataError as error:
        return error


def test_a_flipped_bit_anywhere_is_noticed_or_changes_nothing(path: Path) -> None:
    expected = closed_store(path, 2)
    chance = np.random.default_rng(0)
    for name in NAMES:
        whole = (path / name).read_bytes()
        noticed = 0
        for at in range(len(whole)):
            flipped = bytes([whole[at] ^ (1 << int(chance.integers(8)))])
            (path / name).write_bytes(whole[:at] + flipped + whole[at + 1 :])
            seen = content_or_error(path)
            if isinstance(seen, DataError):
                assert str(path) in str(seen)
                noticed += 1
            else:
                assert seen == (expected, {"env_id": "x"})
        (path / name).write_bytes(whole)
        assert noticed > 0.7 * len(whole)


def test_verify_names_each_damaged_episode_once(path: Path) -> None:
    with EpisodeStore.create(path, {}) as store:
        store.append_many([small(index) for index in range(5)])
        assert store.verify() == []
        inside = store._offsets[3] + 120
    whole = bytearray((path / "episodes.bin").read_bytes())
    whole[inside] ^= 4
    (path / "episodes.bin").write_bytes(whole)
    (problem,) = EpisodeStore.open(path).verify()
    assert "episode 3 is damaged" in problem
    assert "vlmq.data.salvage" in problem


@pytest.mark.parametrize("extra", [10, 10_000])
def test_zeros_that_a_power_cut_left_at_the_end_are_dropped(path: Path, extra: int) -> None:
    expected = killed_store(path, 1, 1)
    for name in NAMES[:2]:
        with open(path / name, "ab") as file:
            file.write(bytes(extra))
    assert bits(EpisodeStore.open(path)) == expected
    with EpisodeStore.open_for_append(path) as store:
        assert store.dropped_bytes == 2 * extra
        store.append(small(2))
    assert bits(EpisodeStore.open(path)) == [*expected, episode_bits(small(2))]


def test_salvage_keeps_every_undamaged_episode(path: Path) -> None:
    with EpisodeStore.create(path, {"env_id": "x"}) as store:
        store.append_many([small(index) for index in range(8)])
        offsets = list(store._offsets)
        picture = store._record(6).image_refs()[0]
    records, images = path / "episodes.bin", path / "images.bin"
    broken = bytearray(records.read_bytes())
    broken[offsets[1] + 3] ^= 1  # a header: the scan cannot hop over it
    broken[offsets[4] + 150] ^= 1  # a body
    records.write_bytes(broken[: offsets[8] - 5])  # and the last one cut short
    pixels = bytearray(images.read_bytes())
    pixels[picture.offset + 50] ^= 1
    images.write_bytes(pixels)
    with pytest.raises(DataError, match=r"episodes\.bin: a record is damaged"):
        EpisodeStore.open(path)
    report = salvage(path, path.with_name("saved"))
    assert (report.kept, report.damaged, report.without_picture) == (4, 3, 1)
    saved = EpisodeStore.open(path.with_name("saved"))
    assert bits(saved) == [episode_bits(small(index)) for index in (0, 2, 3, 5)]
    assert saved.provenance["env_id"] == "x"


def test_mending_puts_what_is_undamaged_in_the_place_of_the_whole(path: Path) -> None:
    expected = closed_store(path, 5)
    assert mend(path) is None
    with EpisodeStore.open(path) as store:
        inside = store._offsets[3] + 120
    whole = bytearray((path / "episodes.bin").read_bytes())
    whole[inside] ^= 4
    (path / "episodes.bin").write_bytes(whole)
    said = mend(path)
    assert said is not None
    assert "episode 3 is damaged" in said
    assert f"the 4 undamaged episodes are used, and all is kept in {path}-damaged-1." in said
    assert bits(EpisodeStore.open(path)) == [*expected[:3], expected[4]]
    assert (path.with_name("episodes-damaged-1") / "episodes.bin").read_bytes() == whole
    assert mend(path) is None


def test_a_mending_that_was_interrupted_is_finished_or_begun_anew(path: Path) -> None:
    expected = closed_store(path, 3)
    mended = path.with_name("episodes.mended")
    path.rename(mended)  # killed between the two renamings
    assert mend(path) is None
    assert bits(EpisodeStore.open(path)) == expected
    mended.mkdir()  # killed while the copy was made
    os.truncate(path / "episodes.bin", (path / "episodes.bin").stat().st_size - 1)
    assert "the 2 undamaged episodes" in str(mend(path))
    assert bits(EpisodeStore.open(path)) == expected[:2]


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond `num_bytes`, as if the disk were full there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def append_or_error(store: EpisodeStore, episode: Episode) -> DataError | None:
    try:
        store.append(episode)
    except DataError as error:
        return error
    return None


@pytest.mark.parametrize("with_pictures", [True, False])
def test_a_full_disk_is_one_sentence_and_what_was_stored_stays(path: Path, with_pictures: bool) -> None:
    def episode(index: int) -> Episode:
        made = make_episode(index, num_turns=1, size=16)
        if with_pictures:
            return made
        bare = replace(made.turns[0], observation=replace(made.turns[0].observation, image=None))
        return replace(made, turns=(bare,), final_observation=None)

    stored: list[object] = []
    with EpisodeStore.create(path, {}) as store:
        with largest_file(20_000):
            index = 0
            while (refusal := append_or_error(store, episode(index))) is None:
                stored.append(episode_bits(episode(index)))
                index += 1
            assert "there is no room to write" in str(refusal)
            assert "intact" in str(refusal)
            assert index > 0
            sizes = [(path / name).stat().st_size for name in NAMES[:2]]
            with pytest.raises(DataError, match="no room"):
                store.append_many([episode(index + k) for k in range(200)])
            assert [(path / name).stat().st_size for name in NAMES[:2]] == sizes
            assert bits(store) == stored
            assert bits(EpisodeStore.open(path)) == stored
        store.append(episode(index))  # room again: the same writer goes on
        stored.append(episode_bits(episode(index)))
    with EpisodeStore.open_for_append(path) as store:
        assert bits(store) == stored
        assert store.dropped_bytes == 0


def test_a_full_disk_while_closing_leaves_a_store_that_opens(path: Path) -> None:
    store = EpisodeStore.create(path, {})
    store.append(small(0))
    with largest_file(10), pytest.raises(DataError, match=r"meta\.json: there is no room to write"):
        store.close()
    with EpisodeStore.open_for_append(path) as again:
        assert bits(again) == [episode_bits(small(0))]
