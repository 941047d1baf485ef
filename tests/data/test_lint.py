"""Every damage is named, wherever it is; looking harms nothing, and loading refuses what lint names."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from data_episodes import make_episode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vlmq.api import DataError, UserError
from vlmq.data import files
from vlmq.data.convert import convert
from vlmq.data.damage import Kind
from vlmq.data.images import IMAGE_HEADER_BYTES
from vlmq.data.lint import lint
from vlmq.data.store import EpisodeStore

COUNT = 4


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    with EpisodeStore.create(path, {"tokenizer": "abc"}) as made:
        made.append_many([make_episode(k) for k in range(COUNT)])
    return path


@pytest.fixture(autouse=True)
def minari_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    return folder


def kinds(path: str | Path) -> set[Kind]:
    return {problem.kind for problem in lint(path).problems}


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(bytes(content))


def rewrite_meta(store: Path, **changes: object) -> None:
    meta = {**files.read_meta(store), **changes}
    files.write_meta(store, meta)


# ---- a store


def test_a_sound_store_has_no_problems(store: Path) -> None:
    found = lint(store)
    assert (found.problems, found.notes, found.episodes) == ([], [], COUNT)
    assert found.lines() == [f"{store} (store): 4 sound episodes; nothing is wrong"]


def test_an_episode_file_cut_short_is_named_and_the_rest_still_looked_at(store: Path) -> None:
    cut(store / "episodes.bin", 30)
    found = lint(store)
    assert {problem.kind for problem in found.problems} == {Kind.TRUNCATED}
    assert found.episodes == COUNT - 1
    with pytest.raises(DataError, match="cut short"):
        EpisodeStore.open(store)


def test_a_picture_file_cut_short_names_each_missing_picture(store: Path) -> None:
    (store / "images.bin").write_bytes(b"")
    found = lint(store)
    assert [problem.kind for problem in found.problems] == [Kind.TRUNCATED] + [Kind.MISSING_PICTURE] * COUNT


@pytest.mark.parametrize("name", ["episodes.bin", "images.bin"])
def test_a_flipped_bit_is_named_with_its_place_and_spares_the_others(store: Path, name: str) -> None:
    flip(store / name, (store / name).stat().st_size // 2)
    found = lint(store)
    assert {problem.kind for problem in found.problems} == {Kind.CHECKSUM}
    assert found.episodes == COUNT - 1
    assert f"{store / name}" in found.problems[0].sentence


def test_a_damaged_header_does_not_hide_what_follows(store: Path) -> None:
    flip(store / "episodes.bin", 9)
    found = lint(store)
    assert [problem.kind for problem in found.problems] == [Kind.CHECKSUM]
    assert found.episodes == COUNT - 1


def test_a_newer_version_and_a_damaged_meta_file_are_told_apart(store: Path) -> None:
    rewrite_meta(store, schema=99)
    assert kinds(store) == {Kind.VERSION}
    flip(store / "meta.json", (store / "meta.json").read_bytes().index(b"crc32") + 9)
    assert kinds(store) == {Kind.CHECKSUM}


def test_an_index_used_twice_names_both_places(store: Path) -> None:
    content = (store / "episodes.bin").read_bytes()
    (store / "episodes.bin").write_bytes(content * 2)  # as `cat` of two stores would
    found = lint(store)
    assert [problem.kind for problem in found.problems] == [Kind.DUPLICATE] * COUNT
    assert f"index 0 was used at {store / 'episodes.bin'}, byte 0" in found.problems[0].sentence


def test_mixed_tokenizers_and_a_false_one_are_named(store: Path, tmp_path: Path) -> None:
    with EpisodeStore.open_for_append(store) as made:
        made.append(replace(make_episode(9), tokenizer="other"))
    assert kinds(store) == {Kind.TOKENIZERS}
    with EpisodeStore.create(tmp_path / "false", {"tokenizer": "xyz"}) as made:
        made.append(make_episode(0))
    assert kinds(tmp_path / "false") == {Kind.TOKENIZERS}
    convert(store, tmp_path / "clean", drop_tokens=True)
    assert kinds(tmp_path / "clean") == set()


def test_a_reward_that_is_not_a_number_is_named(store: Path) -> None:
    episode = make_episode(9)
    with EpisodeStore.open_for_append(store) as made:
        made.append(replace(episode, turns=(replace(episode.turns[0], reward=float("nan")),)))
    assert kinds(store) == {Kind.NUMBER}


def test_a_strange_file_is_named(store: Path) -> None:
    (store / "notes.txt").write_text("x")
    assert kinds(store) == {Kind.STRANGE}


def test_what_a_crash_left_is_a_note_and_no_problem(store: Path) -> None:
    with open(store / "episodes.bin", "ab") as file:
        file.write(file_head(store)[:100])
    found = lint(store)
    assert (found.problems, found.episodes) == ([], COUNT)
    assert "a write that a crash cut short" in found.notes[0]


def file_head(store: Path) -> bytes:
    return (store / "episodes.bin").read_bytes()


def test_a_picture_that_unpacks_to_more_than_it_says_is_not_unpacked(store: Path) -> None:
    """The first picture of the file is made a bomb: its checksums are right, as an attacker's would be."""
    content = (store / "images.bin").read_bytes()
    header = bytearray(content[:IMAGE_HEADER_BYTES])
    key = bytes(header[-20:-4])
    for height, width, unpacked in ((60_000, 60_000, 100), (8, 8, 2**30)):
        packed = zlib.compress(b"\0" * unpacked, 9)
        fields = struct.pack("<4sIIIB7x16s", b"VQIM", height, width, len(packed), 1, key)
        header = bytearray(fields + struct.pack("<I", zlib.crc32(fields)))
        record = bytes(header) + packed
        record += struct.pack("<I", zlib.crc32(record))
        with EpisodeStore.open(store) as opened:
            ref = (
                opened._record(0).image_refs()[0]._replace(offset=0, length=len(record) - IMAGE_HEADER_BYTES)
            )
            (store / "bomb.bin").write_bytes(record)
        from vlmq.data.images import ImageReader

        with open(store / "bomb.bin", "rb") as file, pytest.raises(DataError) as caught:
            ImageReader(file.fileno(), "bomb.bin")(ref)
        (store / "bomb.bin").unlink()
        assert "the most is" in str(caught.value) or "missing or damaged" in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_done_to_the_bytes_lint_ends_and_loading_is_right_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    with EpisodeStore.create(folder / "store", {}) as made:
        made.append_many([make_episode(k, num_turns=2, size=4) for k in range(3)])
    whole = [file_bits(folder / "store", name) for name in ("episodes.bin", "images.bin", "meta.json")]
    name = data.draw(st.sampled_from(["episodes.bin", "images.bin", "meta.json"]))
    path = folder / "store" / name
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    stop = data.draw(st.integers(start, min(len(content), start + 40)))
    content[start:stop] = data.draw(st.binary(max_size=40))
    path.write_bytes(bytes(content))
    found = lint(folder / "store")
    if whole != [file_bits(folder / "store", n) for n in ("episodes.bin", "images.bin", "meta.json")]:
        assert found.problems or found.notes
    try:
        loaded = list(EpisodeStore.open(folder / "store"))
    except DataError:
        return
    assert {e.index for e in loaded} <= {0, 1, 2}


def file_bits(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes()


# ---- JSON lines


def line(**changes: object) -> str:
    whole = {"env": "a/B-v0", "success": True, "turns": [{"text": "go", "reply": "left"}], **changes}
    return json.dumps(whole) + "\n"


def turn(**changes: object) -> list[dict[str, object]]:
    return [{"text": "go", "reply": "left", **changes}]


def test_a_jsonl_file_is_read_to_its_end_and_every_line_named(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    Image.new("1", (14_000, 14_000)).save(folder / "bomb.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    (folder / "text.png").write_text("no picture")
    path = folder / "mine.jsonl"
    path.write_text(
        line(index=1)
        + line(turns=turn(image="absent.png"))
        + line(turns=turn(image="bomb.png"))
        + line(turns=turn(image="../secret.png"))
        + line(turns=turn(image="text.png"))
        + line(index=1)
        + line(sucess=True)
        + '{"env": "a"\n'
        + line(tokenizer="a", turns=turn(reply_ids=[1]))
        + line(tokenizer="b", turns=turn(reply_ids=[1]))
        + line(),
        encoding="utf-8",
    )
    found = lint(path)
    assert [problem.kind for problem in found.problems] == [
        Kind.MISSING_PICTURE,
        Kind.BOMB,
        Kind.TRAVERSAL,
        Kind.PICTURE,
        Kind.DUPLICATE,
        Kind.FIELD,
        Kind.FIELD,
        Kind.TOKENIZERS,
    ]
    assert found.episodes == 4
    assert "line 2" in found.problems[0].sentence
    for bad in found.problems[:-1]:
        assert str(path) in bad.sentence
        assert "\n" not in bad.sentence


def test_many_problems_of_a_kind_are_counted_rather_than_shown(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(line(turns=turn(image="absent.png")) * 50)
    lines = lint(path).lines()
    assert len(lines) == 22
    assert lines[-2:] == [
        "missing picture: ... and 30 more",
        f"{path} (jsonl): 0 sound episodes; 50 missing picture",
    ]


# ---- datasets


def damaged_set(store: Path, name: str) -> tuple[str | Path, Path]:
    """A dataset made of the store, and its largest file."""
    target: str | Path = "vlmq/set-v0" if name == "minari" else store.parent / "set"
    convert(store, target, target_format=name)
    if name == "hf":
        return target, store.parent / "set" / "data" / "train-00000.parquet"
    import os

    return target, Path(os.environ["MINARI_DATASETS_PATH"], "vlmq/set-v0/data/main_data.hdf5")


@pytest.mark.parametrize("name", ["hf", "minari"])
def test_a_sound_dataset_has_no_problems(store: Path, name: str) -> None:
    target, _ = damaged_set(store, name)
    found = lint(target)
    assert (found.problems, found.episodes, found.format) == ([], COUNT, name)


@pytest.mark.parametrize("name", ["hf", "minari"])
def test_a_dataset_cut_short_is_named(store: Path, tmp_path: Path, name: str) -> None:
    target, file = damaged_set(store, name)
    for keep in (0.5, 0.02, 0.0):
        file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])
        assert kinds(target) <= {Kind.TRUNCATED, Kind.CHECKSUM}
        assert kinds(target)
        with pytest.raises(DataError):
            convert(target, tmp_path / "back")
        assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", ["hf", "minari"])
def test_a_flipped_bit_of_a_picture_or_a_number_is_noticed(store: Path, tmp_path: Path, name: str) -> None:
    target, file = damaged_set(store, name)
    content = file.read_bytes()
    # deep in the data of HDF5, where the format has no checksum; in the first pages of Parquet
    places = [200, len(content) // 10]
    if name == "minari":
        pixels = make_episode(2).turns[1].observation.image
        assert pixels is not None
        places = [
            content.index(pixels.tobytes()) + 7,
            content.index(make_episode(1).turns[0].reply_ids.tobytes()),
        ]
    for at in places:
        flip(file, at)
        assert kinds(target) == {Kind.CHECKSUM}, at
        with pytest.raises(DataError):
            convert(target, tmp_path / "back")
        file.write_bytes(content)
    assert kinds(target) == set()


@pytest.mark.parametrize("name", ["hf", "minari"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_done_to_a_dataset_lint_ends_and_loading_is_right_or_refused(
    data: st.DataObject, name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "minari").mkdir()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
    with EpisodeStore.create(folder / "store", {}) as made:
        made.append_many([make_episode(k, num_turns=2, size=4) for k in range(2)])
    target, file = damaged_set(folder / "store", name)
    content = bytearray(file.read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    stop = data.draw(st.integers(start, min(len(content), start + 20)))
    content[start:stop] = data.draw(st.binary(max_size=20))
    file.write_bytes(bytes(content))
    try:
        found = lint(target)
    except UserError:
        return
    with EpisodeStore.open(folder / "store") as store:
        whole = len(store)
    assert found.problems or found.episodes == whole


def test_a_newer_dataset_is_refused_by_its_version(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, constant in (("hf", "parquet_columns.PARQUET_VERSION"), ("minari", "minari.MINARI_VERSION")):
        with monkeypatch.context() as patch:
            patch.setattr(f"vlmq.data.{constant}", 99)
            target, _ = damaged_set(store, name)
        assert kinds(target) == {Kind.VERSION}


def test_a_row_that_was_changed_is_refused_unless_its_hash_is_dropped(store: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    convert(store, tmp_path / "set", target_format="hf")
    loaded = datasets.load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    changed = loaded.map(lambda row: {"success": not row["success"]})
    for name, rows in (("kept", changed), ("dropped", changed.remove_columns("hash"))):
        import pyarrow.parquet as pq

        schema = pq.read_schema(tmp_path / "set" / "data" / "train-00000.parquet")
        (tmp_path / name).mkdir()
        table = rows.with_format("arrow")[:]
        table = table.replace_schema_metadata(
            {**(table.schema.metadata or {}), b"vlmq": schema.metadata[b"vlmq"]}
        )
        pq.write_table(table, tmp_path / name / "a.parquet")
    assert kinds(tmp_path / "kept") == {Kind.CHECKSUM}
    convert(tmp_path / "dropped", tmp_path / "new")
    with EpisodeStore.open(store) as old, EpisodeStore.open(tmp_path / "new") as new:
        assert [not e.success for e in old] == [e.success for e in new]


@pytest.mark.parametrize("name", ["store", "jsonl", "hf", "minari"])
def test_what_is_sound_is_kept_and_the_rest_counted_as_told(store: Path, tmp_path: Path, name: str) -> None:
    if name == "store":
        target: str | Path = store
        flip(store / "episodes.bin", (store / "episodes.bin").stat().st_size // 2)
        cut(store / "images.bin", 10)
    elif name == "jsonl":
        target = tmp_path / "set.jsonl"
        convert(store, target)
        lines = target.read_text(encoding="utf-8").splitlines()
        target.write_text("\n".join([*lines, lines[0], "{not json}"]), encoding="utf-8")
    else:
        target, file = damaged_set(store, name)
        flip(
            file,
            200 if name == "hf" else file.read_bytes().index(make_episode(1).turns[0].reply_ids.tobytes()),
        )
    with pytest.raises(DataError):
        convert(target, tmp_path / "refused")
    if name == "hf":  # whose rows share pages: all of them are damaged by this bit
        with pytest.raises(DataError, match="nothing could be imported, 1 damaged bytes"):
            convert(target, tmp_path / "kept", skip_damaged=True)
        return
    report = convert(target, tmp_path / "kept", skip_damaged=True)
    expected = {
        "store": (2, {str(Kind.CHECKSUM): 1, str(Kind.MISSING_PICTURE): 1}),
        "jsonl": (COUNT, {str(Kind.DUPLICATE): 1, str(Kind.FIELD): 1}),
        "minari": (COUNT - 1, {str(Kind.CHECKSUM): 1}),
    }[name]
    assert (report.episodes, dict(report.tally.left_out)) == expected
    assert lint(tmp_path / "kept").problems == []


# ---- archives


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"\0" * member.size))
    return path


def member(name: str, size: int = 1, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname = (0 if link else size), kind, link
    return made


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: zipped(p / "a.zip", {"a/b.png": b"x"}), set()),
        (lambda p: zipped(p / "a.zip", {"../../out.txt": b"x"}), {Kind.TRAVERSAL}),
        (lambda p: zipped(p / "a.zip", {"/abs.txt": b"x"}), {Kind.TRAVERSAL}),
        (lambda p: zipped(p / "a.zip", {"a\\..\\..\\x": b"x", "C:\\x": b"x"}), {Kind.TRAVERSAL}),
        (lambda p: zipped(p / "a.zip", {"a.pkl": b"x"}), {Kind.PICKLE}),
        (lambda p: zipped(p / "a.zip", {"zeros": b"\0" * 2**27}), {Kind.BOMB}),
        (lambda p: tarred(p / "a.tar.gz", member("a/b.png")), set()),
        (lambda p: tarred(p / "a.tar.gz", member("../x")), {Kind.TRAVERSAL}),
        (lambda p: tarred(p / "a.tar.gz", member("x", kind=tarfile.SYMTYPE, link="/x")), {Kind.TRAVERSAL}),
        (lambda p: tarred(p / "a.tar.gz", member("x", kind=tarfile.CHRTYPE)), {Kind.TRAVERSAL}),
        (lambda p: tarred(p / "a.tar.gz", member("zeros", 2**27)), {Kind.BOMB}),
        (lambda p: cut_archive(tarred(p / "a.tar.gz", member("noise", 2**20))), {Kind.TRUNCATED}),
        (lambda p: cut_archive(zipped(p / "a.zip", {"a": b"x" * 999})), {Kind.TRUNCATED}),
    ],
)
def test_an_archive_is_looked_at_and_never_unpacked(
    tmp_path: Path, make: Callable[[Path], Path], expected: set[Kind]
) -> None:
    folder = tmp_path / "inside" / "deeper"
    folder.mkdir(parents=True)
    path = make(folder)
    assert kinds(path) == expected
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def cut_archive(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path
