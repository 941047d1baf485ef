"""Episodes go out to every format and come back the same; others can read them; nothing is half written."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_episodes import make_episode
from data_played import games, played
from data_strategies import episodes as any_episode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlmq.api import DataError, Episode, UserError
from vlmq.data import parquet
from vlmq.data.convert import MIXED, convert
from vlmq.data.identity import episode_hash
from vlmq.data.store import EpisodeStore

EXACT = ("hf", "minari", "jsonl")


@pytest.fixture(autouse=True)
def minari_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of played episodes of every environment here."""
    path = tmp_path_factory.mktemp("mixed") / "store"
    with EpisodeStore.create(path, {"env": None, "note": "mixed ☃"}) as store:
        store.append_many(played(24))
    return path


def hashes(path: Path) -> list[str]:
    with EpisodeStore.open(path) as store:
        return [episode_hash(episode) for episode in store]


def stored(path: Path, episodes: Sequence[Episode]) -> Path:
    with EpisodeStore.create(path, {"made": "here"}) as store:
        store.append_many(episodes)
    return path


def there_and_back(source: Path, folder: Path, name: str) -> Path:
    """The store of what came back from a format."""
    between: str | Path = {"hf": folder / "set", "minari": "vlmq/set-v0", "jsonl": folder / "set.jsonl"}[name]
    convert(source, between, target_format=name)
    convert(between, folder / "back")  # what it is shows
    return folder / "back"


@pytest.mark.parametrize("name", EXACT)
def test_mixed_episodes_come_back_with_identical_hashes(mixed: Path, tmp_path: Path, name: str) -> None:
    back = there_and_back(mixed, tmp_path, name)
    assert hashes(back) == hashes(mixed)
    with EpisodeStore.open(mixed) as store, EpisodeStore.open(back) as again:
        assert {episode.env_id for episode in again} == set(games())
        if name != "jsonl":  # which has no place for it
            assert again.provenance == {**store.provenance, "tokenizer": "abc"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hf", "minari"])
def test_a_thousand_mixed_episodes_come_back_with_identical_hashes(tmp_path: Path, name: str) -> None:
    with EpisodeStore.create(tmp_path / "store", {}) as store:
        for episode in played(1000, plugins=None):
            store.append(episode)
    assert hashes(there_and_back(tmp_path / "store", tmp_path, name)) == hashes(tmp_path / "store")


@pytest.mark.parametrize("name", ["hf", "minari"])
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(made=st.lists(any_episode(), min_size=1, max_size=3, unique_by=lambda e: e.index))
def test_any_episode_at_all_comes_back_the_same(
    made: list[Episode], name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "minari").mkdir()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
    source = stored(folder / "store", made)
    assert hashes(there_and_back(source, folder, name)) == [episode_hash(episode) for episode in made]


def test_the_hash_tells_any_change() -> None:
    episode = make_episode(1)
    turn = episode.turns[0]
    image = np.array(turn.observation.image)
    image[0, 0, 0] ^= 1
    assert episode_hash(episode) == episode_hash(make_episode(1))
    others = [
        replace(episode, success=not episode.success),
        replace(episode, env_args="{}"),
        replace(episode, final_observation=None),
        replace(episode, turns=(replace(turn, observation=replace(turn.observation, image=image)),)),
        replace(
            episode, turns=(replace(turn, reward=float(np.nextafter(turn.reward, 9))), *episode.turns[1:])
        ),
        replace(episode, turns=(replace(turn, logprobs=-turn.logprobs), *episode.turns[1:])),
    ]
    assert len({episode_hash(e) for e in [episode, *others]}) == len(others) + 1


def test_plain_minari_loads_the_dataset(mixed: Path) -> None:
    minari = pytest.importorskip("minari")
    convert(mixed, "vlmq/mixed-v3", target_format="minari")
    dataset = minari.load_dataset("vlmq/mixed-v3")
    with EpisodeStore.open(mixed) as store:
        assert (dataset.total_episodes, dataset.total_steps) == (24, int(store.table["num_turns"].sum()))
        for episode, found in zip(store, dataset.iterate_episodes(), strict=True):
            images = [o.image for o in episode.observations]
            assert (found.observations["image"][: len(images)] == np.stack(images)).all()
            assert list(found.rewards) == [turn.reward for turn in episode.turns]
            said = [bytes(row).rstrip(b"\0").decode() for row in found.actions]
            assert said == [turn.action for turn in episode.turns]
            assert found.terminations[-1] == episode.terminated
    assert "vlmq/mixed-v3" in minari.list_local_datasets()


@pytest.mark.slow
def test_torchrl_reads_the_minari_dataset(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("minari")
    from tensordict import TensorDictBase
    from torchrl.data.datasets.minari_data import MinariExperienceReplay

    # TorchRL 0.14.1 fills its tensors and then asks for a copy "like" them, which has the shapes and zeros.
    monkeypatch.setattr(TensorDictBase, "memmap_like", lambda self, path, **_: self.memmap(path))
    convert(mixed, "vlmq/mixed-v0", target_format="minari")
    loaded = MinariExperienceReplay(
        "vlmq/mixed-v0", batch_size=4, root=tmp_path / "root", load_from_local_minari=True, download=False
    )[:]
    with EpisodeStore.open(mixed) as store:
        turns = [turn for episode in store for turn in episode.turns]
        assert (
            loaded["observation", "image"].numpy() == np.stack([t.observation.image for t in turns])
        ).all()
        assert loaded["next", "reward"].flatten().tolist() == [turn.reward for turn in turns]
        counts = loaded["next", "info", "num_tokens"].tolist()
        ids = [row[:n] for row, n in zip(loaded["next", "info", "reply_ids"].tolist(), counts, strict=True)]
        assert ids == [turn.reply_ids.tolist() for turn in turns]
        ends = [k == len(e.turns) - 1 and e.terminated for e in store for k in range(len(e.turns))]
        assert loaded["next", "terminated"].flatten().tolist() == ends


def test_datasets_loads_the_parquet_with_messages_and_pictures(mixed: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    convert(mixed, tmp_path / "set", target_format="hf")
    loaded = datasets.load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    with EpisodeStore.open(mixed) as store:
        for episode, row in zip(store, loaded, strict=True):
            assert [message["role"] for message in row["messages"]] == [
                "user",
                "assistant",
            ] * episode.num_turns
            parts = [part for message in row["messages"] for part in message["content"]]
            assert sum(part["type"] == "image" for part in parts) == len(row["images"]) == episode.num_turns
            assert parts[-1]["text"] == episode.turns[-1].reply
            shown = [np.asarray(image) for image in row["images"]]
            assert all((a == t.observation.image).all() for a, t in zip(shown, episode.turns, strict=True))


def test_a_dataset_of_several_shards_and_row_groups_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make_episode(k, size=32) for k in range(12)]
    monkeypatch.setattr(parquet, "GROUP_BYTES", 20_000)
    parquet.write_parquet(made, tmp_path / "set", {}, shard_bytes=30_000)
    assert len(list((tmp_path / "set" / "data").iterdir())) > 2
    back = list(parquet.read_parquet(tmp_path / "set"))
    assert [episode_hash(e) for e in back] == [episode_hash(e) for e in made]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hf", "minari"])
def test_the_whole_set_is_never_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", 2**20)
    source = tmp_path / "store"
    with EpisodeStore.create(source, {}) as store:
        for k in range(100):
            store.append(make_episode(k, size=128))  # 4 pictures of 48 KiB each: 19 MiB in all
    there_and_back(make_small(tmp_path), tmp_path / "warm", name)  # libraries are imported by now
    tracemalloc.start()
    try:
        between: str | Path = tmp_path / "set" if name == "hf" else "vlmq/large-v0"
        convert(source, between, target_format=name)
        convert(between, tmp_path / "back")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert hashes(tmp_path / "back") == hashes(source)
    assert peak < 9 * 2**20


def make_small(folder: Path) -> Path:
    (folder / "warm").mkdir()
    return stored(folder / "small", [make_episode(0)])


def test_tokens_of_another_model_can_be_dropped(tmp_path: Path) -> None:
    source = stored(tmp_path / "store", [make_episode(k) for k in range(4)])
    report = convert(source, tmp_path / "new", drop_tokens=True)
    with EpisodeStore.open(source) as old, EpisodeStore.open(tmp_path / "new") as new:
        lost = sum(len(turn.reply_ids) > 0 for episode in old for turn in episode.turns)
        assert (report.dropped_tokens, new.provenance["tokenizer"]) == (lost, "")
        assert lost > 0
        for before, after in zip(old, new, strict=True):
            assert after.tokenizer == ""
            for was, turn in zip(before.turns, after.turns, strict=True):
                assert (len(turn.reply_ids), len(turn.logprobs), turn.digest) == (0, 0, 0)
                assert (turn.reply, turn.reward) == (was.reply, was.reward)


def test_a_store_says_whose_tokens_it_holds(tmp_path: Path) -> None:
    one = [make_episode(k) for k in range(3)]
    two = [replace(make_episode(k), tokenizer="xyz") for k in range(3, 6)]
    for made, said in ((one, "abc"), ([*one, *two], MIXED)):
        source = stored(tmp_path / said / "store", made)
        convert(source, tmp_path / said / "new")
        with EpisodeStore.open(tmp_path / said / "new") as store:
            assert store.provenance["tokenizer"] == said


@pytest.mark.parametrize("name", ["store", "jsonl", "hf", "minari"])
def test_nothing_is_overwritten_and_nothing_half_written_is_left(
    tmp_path: Path, minari_folder: Path, name: str
) -> None:
    source = stored(tmp_path / "store", [make_episode(k) for k in range(4)])
    with open(source / "episodes.bin", "r+b") as file:
        file.seek(-20, 2)
        file.write(b"\xff\xff\xff")  # in the last episode: three are written before it is met
    target: str | Path = (
        "vlmq/new-v0" if name == "minari" else tmp_path / ("new.jsonl" if name == "jsonl" else "new")
    )
    with pytest.raises(DataError, match="episode 3 is damaged"):
        convert(source, target, target_format=name)
    assert [p.name for p in tmp_path.iterdir()] == ["store"]
    assert [p for p in minari_folder.rglob("*") if p.is_file()] == []
    whole = stored(tmp_path / "whole", [make_episode(0)])
    convert(whole, target, target_format=name)
    with pytest.raises(DataError, match="already"):
        convert(whole, target, target_format=name)


@pytest.mark.parametrize(("package", "target"), [("minari", "vlmq/x-v0"), ("pyarrow.parquet", "x")])
def test_a_missing_package_is_one_sentence_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, target: str
) -> None:
    source = stored(tmp_path / "store", [make_episode(0)])
    monkeypatch.setitem(sys.modules, package, None)
    name = "minari" if package == "minari" else "hf"
    with pytest.raises(UserError, match=r"pip install 'vlmq\[(minari|datasets)\]'"):
        convert(source, tmp_path / target if name == "hf" else target, target_format=name)


@pytest.mark.parametrize("name", EXACT)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, minari_folder: Path, name: str
) -> None:
    source = stored(tmp_path / "store", [make_episode(k, size=200) for k in range(4)])
    target = (
        "vlmq/new-v0" if name == "minari" else str(tmp_path / ("new.jsonl" if name == "jsonl" else "new"))
    )
    words = ["data", "convert", str(source), target, "--to", name]
    code = (
        "import resource, signal, sys; from vlmq.cli import main; import pyarrow.parquet, datasets, minari, h5py;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); sys.exit(main({words}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "there is no room to write" in done.stderr.splitlines()[-1]
    assert [p.name for p in tmp_path.iterdir()] == ["store"]
    assert [p for p in minari_folder.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: p / "nowhere", "there is no such file or folder"),
        (lambda p: written(p / "x.json", '[{"a": 1}]'), "has the fields a, which is no format that is known"),
        (lambda p: written(p / "x.pkl", "x"), "it is a pickle"),
        (lambda p: written(p / "x.tar.gz", "x"), "it is an archive"),
        (lambda p: written(p / "x.csv", "x"), "a .csv file is no format that is known"),
        (lambda p: written(p / "x.json", "[1]"), "object 0: it is a int"),
        (lambda p: written(p / "a" / "x.txt", "x").parent, "has no meta.json"),
    ],
)
def test_what_is_no_source_is_refused_in_one_sentence(tmp_path: Path, make: object, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        convert(make(tmp_path), tmp_path / "new")  # type: ignore[operator]
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["x", "a b-v0", "../../out-v0", "v0", "/etc/x-v0"])
def test_a_minari_id_that_is_none_is_refused(tmp_path: Path, minari_folder: Path, name: str) -> None:
    source = stored(tmp_path / "store", [make_episode(0)])
    with pytest.raises(DataError, match="Minari dataset id"):
        convert(source, name, target_format="minari")
    assert list(minari_folder.iterdir()) == []


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    yield
    if before is None:
        del os.environ["HF_HUB_OFFLINE"]
