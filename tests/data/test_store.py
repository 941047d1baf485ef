"""The episode store gives back what it was given, shares pictures, and refuses with one sentence."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_episodes import episode_bits, make_episode, observation_bits
from data_strategies import episodes as any_episode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlmq.api import DataError, Episode, Observation, Turn
from vlmq.data.schema import SCHEMA_VERSION, TABLE_DTYPE
from vlmq.data.store import EpisodeStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "episodes"


def filled(path: Path, count: int, **kwargs: int) -> list[Episode]:
    made = [make_episode(index, **kwargs) for index in range(count)]
    with EpisodeStore.create(path, {"env_id": "line/Walk-v0"}) as store:
        store.append_many(made)
    return made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(made=st.lists(any_episode(), min_size=1, max_size=3, unique_by=lambda e: e.index))
def test_every_field_comes_back_bit_for_bit(
    made: list[Episode], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "store"
    with EpisodeStore.create(path, {}) as store:
        assert store.append_many(made) == list(range(len(made)))
        assert [episode_bits(e) for e in store] == [episode_bits(e) for e in made]
    assert [episode_bits(e) for e in EpisodeStore.open(path)] == [episode_bits(e) for e in made]


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (200, 300), (147, 149)])
def test_pictures_large_and_small_noisy_and_plain_come_back(path: Path, shape: tuple[int, int]) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    plain = np.full((*shape, 3), 7, np.uint8)
    flipped = noisy[::-1, ::-1]  # not contiguous
    made = [
        Episode(
            "e", 0, (Turn(Observation("", image), "r", "a", 0.0),), Observation("", plain), True, False, True
        )
        for image in (noisy, flipped, plain)
    ]
    with EpisodeStore.create(path, {}) as store:
        store.append_many(made)
        assert [episode_bits(e) for e in store] == [episode_bits(e) for e in made]


def test_a_slice_is_the_turns_and_the_observation_after_them(path: Path) -> None:
    (episode,) = filled(path, 1, num_turns=4)
    store = EpisodeStore.open(path)
    for start in range(5):
        for stop in range(start, 5):
            turns, following = store.read(0, start, stop)
            cut = replace(episode, turns=turns)
            assert episode_bits(cut) == episode_bits(replace(episode, turns=episode.turns[start:stop]))
            assert observation_bits(following) == observation_bits(episode.observations[stop])
    with pytest.raises(IndexError, match="turns 0:5 of episode 0, which has 4"):
        store.read(0, 0, 5)


def test_a_slice_to_the_end_has_no_observation_after_it_where_none_was_recorded(path: Path) -> None:
    with EpisodeStore.create(path, {}) as store:
        store.append(replace(make_episode(0), final_observation=None))
        assert store.read(0, 2, 3)[1] is None
        assert observation_bits(store.read(0, 1, 2)[1]) == observation_bits(
            make_episode(0).turns[2].observation
        )


def test_a_slice_decodes_no_other_picture(path: Path) -> None:
    (episode,) = filled(path, 1, num_turns=4)
    pixels = (path / "images.bin").read_bytes()
    at = pixels.index(episode.turns[0].observation.image.tobytes())
    (path / "images.bin").write_bytes(pixels[:at] + bytes([pixels[at] ^ 1]) + pixels[at + 1 :])
    store = EpisodeStore.open(path)
    assert len(store.read(0, 1, 4)[0]) == 3
    with pytest.raises(DataError, match="a picture is missing or damaged"):
        store.read(0, 0, 1)


def test_a_picture_is_stored_once_however_often_it_is_seen(path: Path) -> None:
    same = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    turn = Turn(Observation("t", same), "r", "a", 0.0)
    episode = Episode("e", 0, (turn,) * 5, Observation("t", same.copy()), True, False, True)
    with EpisodeStore.create(path, {}) as store:
        store.append_many([episode, episode])
        once = (path / "images.bin").stat().st_size
        assert once < 2 * same.nbytes
        store.append(episode)
    with EpisodeStore.open_for_append(path) as store:
        store.append(episode)
        assert (path / "images.bin").stat().st_size == once
        assert store.table["num_images"].tolist() == [6, 6, 6, 6]
        assert episode_bits(store[3]) == episode_bits(episode)


def test_two_pictures_with_the_same_bytes_and_other_shapes_stay_apart(path: Path) -> None:
    tall, wide = np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)
    episode = Episode(
        "e", 0, (Turn(Observation("", tall), "r", "a", 0.0),), Observation("", wide), True, False, True
    )
    with EpisodeStore.create(path, {}) as store:
        store.append(episode)
        assert episode_bits(store[0]) == episode_bits(episode)


def test_the_table_says_what_the_episodes_say(path: Path) -> None:
    made = filled(path, 70)
    table = EpisodeStore.open(path).table
    assert table.dtype == TABLE_DTYPE
    for row, episode in zip(table, made, strict=True):
        assert row["index"] == episode.index
        assert row["seed"] == episode.seed
        assert row["policy_version"] == episode.policy_version
        assert row["episode_return"] == episode.episode_return
        assert row["num_turns"] == 3
        assert row["num_valid"] == 1  # turn 1 did not parse, turn 2 was not legal
        assert row["num_tokens"] == sum(len(turn.reply_ids) for turn in episode.turns)
        assert row["num_images"] == 4
        assert (row["success"], row["terminated"], row["truncated"]) == (
            episode.success,
            episode.terminated,
            episode.truncated,
        )
        assert row["has_final"]
    with pytest.raises(ValueError, match="read-only"):
        table["seed"] = 0


def test_the_table_of_a_writer_grows_as_the_one_read_from_disk(path: Path) -> None:
    with EpisodeStore.create(path, {}) as store:
        for index in range(130):
            store.append(make_episode(index, num_turns=1, size=2))
            assert len(store.table) == index + 1
        assert np.array_equal(store.table, EpisodeStore.open(path).table)


def test_an_index_is_found_and_never_stored_twice(path: Path) -> None:
    with EpisodeStore.create(path, {}) as store:
        store.append_many([make_episode(5), make_episode(3)])
        assert (store.position_of(5), store.position_of(3), store.position_of(4)) == (0, 1, None)
        with pytest.raises(DataError, match="index 3 is already stored; skip it"):
            store.append(make_episode(3))
        with pytest.raises(DataError, match="index 7 is already stored"):
            store.append_many([make_episode(6), make_episode(7), make_episode(7)])
        assert len(store) == 2
    with EpisodeStore.open_for_append(path) as store:
        assert store.position_of(3) == 1
        with pytest.raises(DataError, match="index 3"):
            store.append(make_episode(3))


def test_episodes_without_an_index_may_repeat(path: Path) -> None:
    with EpisodeStore.create(path, {}) as store:
        store.append_many([make_episode(0, index_field=-1), make_episode(0, index_field=-1)])
        assert len(store) == 2
        assert store.position_of(-1) is None


def test_positions_count_from_either_end_as_in_a_list(path: Path) -> None:
    made = filled(path, 3)
    store = EpisodeStore.open(path)
    assert episode_bits(store[-1]) == episode_bits(made[2])
    for position in (3, -4):
        with pytest.raises(IndexError):
            store[position]


def test_a_reader_sees_what_another_process_appended_after_refresh(path: Path) -> None:
    made = filled(path, 2)
    reader = EpisodeStore.open(path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from data_episodes import make_episode;"
        "from vlmq.data.store import EpisodeStore; store = EpisodeStore.open_for_append(sys.argv[1]);"
        "store.append_many([make_episode(2), make_episode(3)]); store.update_provenance({'more': 1});"
        "store.close()"
    )
    subprocess.run([sys.executable, "-c", code, path, Path(__file__).parent], check=True)
    assert len(reader) == 2
    assert reader.refresh() == 2
    assert reader.refresh() == 0
    assert reader.provenance["more"] == 1
    assert [episode_bits(e) for e in reader] == [
        episode_bits(e) for e in [*made, make_episode(2), make_episode(3)]
    ]


def test_truncate_goes_back_to_a_cursor_and_on_from_there(path: Path) -> None:
    made = filled(path, 6)
    reader = EpisodeStore.open(path)
    with EpisodeStore.open_for_append(path) as store:
        images = (path / "images.bin").stat().st_size
        store.truncate(4)
        assert [episode_bits(e) for e in store] == [episode_bits(e) for e in made[:4]]
        assert store.position_of(5) is None
        assert reader.refresh() == -2
        store.append_many([make_episode(9), *made[4:]])
        assert (path / "images.bin").stat().st_size > images
        with pytest.raises(DataError, match="holds 7 episodes and cannot be cut back to 8"):
            store.truncate(8)
    expected = [episode_bits(e) for e in [*made[:4], make_episode(9), *made[4:]]]
    assert reader.refresh() == 3
    assert [episode_bits(e) for e in reader] == expected
    assert [episode_bits(e) for e in EpisodeStore.open(path)] == expected


def test_a_second_writer_gets_one_sentence_and_readers_are_welcome(path: Path) -> None:
    filled(path, 1)
    with EpisodeStore.open_for_append(path) as store:
        with pytest.raises(DataError, match=r"another writer \(process \d+ on \S+\) has this store open"):
            EpisodeStore.open_for_append(path)
        assert len(EpisodeStore.open(path)) == 1
        store.append(make_episode(1))
    EpisodeStore.open_for_append(path).close()


def test_a_reader_cannot_change_the_store_and_a_closed_writer_cannot_either(path: Path) -> None:
    filled(path, 1)
    with pytest.raises(DataError, match="opened to read"):
        EpisodeStore.open(path).append(make_episode(1))
    store = EpisodeStore.open_for_append(path)
    store.close()
    store.close()
    with pytest.raises(DataError, match="the store is closed"):
        store.append(make_episode(1))


def test_provenance_is_kept_and_changed_in_place(path: Path) -> None:
    with EpisodeStore.create(path, {"env_id": "x", "nested": {"seeds": (1, 2)}}) as store:
        assert store.provenance == {"env_id": "x", "nested": {"seeds": [1, 2]}}
        store.update_provenance({"tokenizer": "t", "env_id": "y"})
        with pytest.raises(DataError, match="provenance cannot be written as JSON"):
            store.update_provenance({"bad": object()})
    assert EpisodeStore.open(path).provenance == {
        "env_id": "y",
        "nested": {"seeds": [1, 2]},
        "tokenizer": "t",
    }


def test_opening_what_is_no_store_names_the_path_and_the_mend(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("hello")
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "meta.json").write_text('{"format": "somebody else\'s"}')
    (tmp_path / "file").write_text("hello")
    for name, why in {
        "missing": "there is no episode store here",
        "empty": "the directory is empty",
        "other": "it has no meta.json",
        "json": "does not describe an episode store",
        "file": "it is a file",
    }.items():
        for opener in (EpisodeStore.open, EpisodeStore.open_for_append):
            with pytest.raises(DataError, match=why) as caught:
                opener(tmp_path / name)
            assert "vlmq collect" in str(caught.value)
            assert str(tmp_path / name) in str(caught.value)
    assert sorted(p.name for p in (tmp_path / "other").iterdir()) == ["notes.txt"]


def test_a_store_of_a_newer_schema_asks_for_an_upgrade(path: Path) -> None:
    filled(path, 1)
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps({**meta, "schema": SCHEMA_VERSION + 1}))
    with pytest.raises(DataError, match=f"newer vlmq .schema {SCHEMA_VERSION + 1}.*upgrade"):
        EpisodeStore.open(path)


def test_create_leaves_alone_what_is_there(path: Path) -> None:
    made = filled(path, 1)
    with pytest.raises(DataError, match="it is an episode store already"):
        EpisodeStore.create(path, {})
    assert episode_bits(EpisodeStore.open(path)[0]) == episode_bits(made[0])
    (path / "meta.json").unlink()
    with pytest.raises(DataError, match=r"not empty, it holds 'episodes\.bin'"):
        EpisodeStore.create(path, {})
    (path.parent / "file").write_text("")
    with pytest.raises(DataError, match="a file is in the way"):
        EpisodeStore.create(path.parent / "file", {})


def test_create_goes_on_where_a_killed_one_stopped(path: Path) -> None:
    path.mkdir()
    for name in ("lock", "episodes.bin", "images.bin", "meta.json.new"):
        (path / name).touch()
    EpisodeStore.create(path, {}).close()
    assert len(EpisodeStore.open(path)) == 0


TURN = make_episode(0).turns[0]


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (replace(make_episode(0), turns=()), "it has no turns"),
        (replace(make_episode(0), seed=2**63), "seed is 9223372036854775808; expected an integer"),
        (replace(make_episode(0), env_args={}), "env_args is a dict; expected text"),
        (
            replace(TURN, reply_ids=np.zeros(2, np.int64), logprobs=np.zeros(2, np.float32)),
            "reply_ids is int64",
        ),
        (replace(TURN, reply_ids=np.zeros(2, np.int32), logprobs=np.zeros(2)), "logprobs is float64"),
        (
            replace(TURN, reply_ids=np.zeros(2, np.int32), logprobs=np.zeros(1, np.float32)),
            "2 reply_ids but 1",
        ),
        (replace(TURN, digest=-1), "digest is -1"),
        (replace(TURN, reply=None), "reply is a NoneType"),
        (replace(TURN, observation=Observation("", np.zeros((4, 4, 3)))), "image is float64"),
        (replace(TURN, observation=Observation("", np.zeros((4, 4), np.uint8))), "image is uint8 .4, 4."),
        (replace(TURN, observation=Observation("", np.zeros((0, 4, 3), np.uint8))), "image is empty"),
    ],
)
def test_a_malformed_episode_is_refused_by_field_and_leaves_nothing_behind(
    path: Path, broken: Episode | Turn, sentence: str
) -> None:
    episode = broken if isinstance(broken, Episode) else replace(make_episode(0), turns=(TURN, broken))
    with EpisodeStore.create(path, {}) as store:
        with pytest.raises(DataError, match=sentence):
            store.append_many([make_episode(1), episode])
        assert len(store) == 0
        assert (path / "images.bin").stat().st_size == 0
        store.append(make_episode(1))
        assert episode_bits(store[0]) == episode_bits(make_episode(1))


def test_threads_read_the_same_store_at_once(path: Path) -> None:
    made = [episode_bits(e) for e in filled(path, 8)]
    store = EpisodeStore.open(path)
    wrong: list[int] = []

    def work(seed: int) -> None:
        positions = np.random.default_rng(seed).integers(0, 8, 100).tolist()
        wrong.extend(p for p in positions if episode_bits(store[p]) != made[p])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_store_travels_to_another_process_as_a_reader(path: Path) -> None:
    made = filled(path, 2)
    copy = pickle.loads(pickle.dumps(EpisodeStore.open(path)))
    assert not copy.writable
    assert episode_bits(copy[1]) == episode_bits(made[1])


def test_what_comes_back_cannot_be_written_to(path: Path) -> None:
    filled(path, 1)
    turn = EpisodeStore.open(path)[0].turns[0]
    for array in (turn.observation.image, turn.reply_ids, turn.logprobs):
        assert array is not None
        assert not array.flags.writeable
        assert array.flags.aligned
