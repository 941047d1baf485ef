"""JSON lines: people's episodes come in whole or not at all; a store goes out and comes back the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_episodes import episode_bits, make_episode
from data_strategies import ONE_NAN_FLOAT32, UNICODE_TEXT
from data_strategies import episodes as any_episode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vlmq.api import DataError, Episode
from vlmq.data.convert import convert
from vlmq.data.jsonl import read_jsonl, write_jsonl
from vlmq.data.store import EpisodeStore

MINIMAL: dict[str, Any] = {"env": "my/Task-v0", "success": True, "turns": [{"text": "go", "reply": "left"}]}


def written(tmp_path: Path, *lines: Any) -> Path:
    path = tmp_path / "mine.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def with_turn(**fields: Any) -> dict[str, Any]:
    return {**MINIMAL, "turns": [{**MINIMAL["turns"][0], **fields}]}


def the_error(tmp_path: Path, *lines: Any) -> str:
    path = written(tmp_path, *lines)
    with pytest.raises(DataError) as caught:
        list(read_jsonl(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_minimal_line_gets_the_documented_defaults(tmp_path: Path) -> None:
    (episode,) = read_jsonl(written(tmp_path, MINIMAL))
    (turn,) = episode.turns
    assert (episode.env_id, episode.seed, episode.success) == ("my/Task-v0", 0, True)
    assert (episode.terminated, episode.truncated, episode.final_observation) == (True, False, None)
    assert (episode.source, episode.index, episode.policy_version) == ("imported", -1, -1)
    assert (episode.tokenizer, episode.env_args) == ("", "{}")
    assert (turn.observation.text, turn.observation.image, turn.reply, turn.action) == (
        "go",
        None,
        "left",
        "left",
    )
    assert (turn.reward, turn.parsed, turn.action_ok, turn.digest, turn.source) == (
        0.0,
        True,
        True,
        0,
        "imported",
    )
    assert (len(turn.reply_ids), len(turn.logprobs)) == (0, 0)


def test_the_line_in_the_documentation_is_one_that_imports(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    (tmp_path / "shots").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "shots" / "0.png")
    line = page.split("```json\n")[1].split("```")[0]
    (episode,) = read_jsonl(written(tmp_path, line))
    assert (episode.turns[0].action, episode.turns[0].reward) == ("red", 1.0)


def test_an_episode_that_was_cut_did_not_end_by_itself(tmp_path: Path) -> None:
    lines = [
        {**MINIMAL, "truncated": True},
        {**MINIMAL, "terminated": False},
        {**MINIMAL, "terminated": True},
    ]
    flags = [(e.terminated, e.truncated) for e in read_jsonl(written(tmp_path, *lines))]
    assert flags == [(False, True), (False, True), (True, False)]


def test_action_alone_is_also_the_reply_and_an_unparsed_reply_does_nothing(tmp_path: Path) -> None:
    only_action = {**MINIMAL, "turns": [{"text": "go", "action": "up"}]}
    lines = [only_action, with_turn(parsed=False), with_turn(action="right")]
    turns = [e.turns[0] for e in read_jsonl(written(tmp_path, *lines))]
    assert [(t.reply, t.action) for t in turns] == [("up", "up"), ("left", ""), ("left", "right")]


def test_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + json.dumps(MINIMAL).encode() + b"\r\n\r\n" + json.dumps(MINIMAL).encode()
    )
    assert len(list(read_jsonl(path))) == 2


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK"])
def test_pictures_come_in_as_rgb_whatever_their_mode(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (5, 4), "white").convert(mode).save(tmp_path / "pictures" / f"a.{suffix}")
    (episode,) = read_jsonl(written(tmp_path, with_turn(image=f"pictures/a.{suffix}")))
    image = episode.turns[0].observation.image
    assert image is not None
    assert (image.dtype, image.shape) == (np.uint8, (4, 5, 3))
    assert (image == 255).all()


def test_what_shines_through_is_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(tmp_path / "a.png")
    (episode,) = read_jsonl(written(tmp_path, with_turn(image="a.png")))
    image = episode.turns[0].observation.image
    assert image is not None
    assert (image == 255).all()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({**MINIMAL, "env": None}, "line 2: field 'env' is missing; add it as text"),
        (
            {k: v for k, v in MINIMAL.items() if k != "success"},
            "field 'success' is missing; add it as true or",
        ),
        ({**MINIMAL, "success": "yes"}, "field 'success' is \"yes\"; write true or false"),
        ({**MINIMAL, "turns": []}, "field 'turns' is empty; an episode has at least one turn"),
        ({**MINIMAL, "turns": ["left"]}, "field 'turns' holds \"left\" at place 0"),
        ({**MINIMAL, "seed": 1.5}, "field 'seed' is 1.5; write a whole number"),
        ({**MINIMAL, "seed": True}, "field 'seed' is true; write a whole number"),
        ({**MINIMAL, "seed": 2**70}, "write a whole number from"),
        ({**MINIMAL, "sucess": True}, "there is no field 'sucess'; did you mean 'success'?"),
        ({**MINIMAL, "final": {"txt": "x"}}, "final: field 'text' is missing ('txt' looks like it)"),
        (with_turn(rewrad=1), "turns[0]: there is no field 'rewrad'; did you mean 'reward'?"),
        (with_turn(reward="1"), "turns[0]: field 'reward' is \"1\"; write a number"),
        (with_turn(reply=None), "turns[0]: field 'reply' is missing"),
        (with_turn(reply_ids=[1, -2]), "field 'reply_ids' holds -2"),
        (with_turn(reply_ids=[1], logprobs=[0.0, -1.0]), "field 'logprobs' has 2 entries for 1 reply_ids"),
        (with_turn(reply_ids=[1], logprobs=["x"]), "field 'logprobs' holds 'x'"),
        (with_turn(digest=2**64), "field 'digest' is 18446744073709551616"),
        ("[1]", "line 2: it holds [1]; write one object in braces"),
        ('{"env": "a", "env": "b"}', "line 2: field 'env' is given twice"),
        ('{"env": "a"', "line 2: it is not JSON"),
        ('{"env": NaN}', "line 2: NaN is not JSON"),
        (
            '{"env": "a", "success": true, "turns": [{"text": "", "reply": "", "reward": 1e999}]}',
            "is too large",
        ),
        ("[" * 100_000, "line 2: "),
    ],
)
def test_a_wrong_line_is_named_with_its_field_and_the_mend(tmp_path: Path, line: Any, sentence: str) -> None:
    assert sentence in the_error(tmp_path, MINIMAL, line)


def test_an_index_used_twice_names_both_lines(tmp_path: Path) -> None:
    lines = [{**MINIMAL, "index": 4}, MINIMAL, {**MINIMAL, "index": 4}]
    assert "line 3: index 4 was used on line 1" in the_error(tmp_path, *lines)


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b'{"env": "\xff"}\n')
    with pytest.raises(DataError, match="line 1: it is not UTF-8 .byte 9.; save the file as UTF-8"):
        list(read_jsonl(path))


def test_a_missing_file_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_jsonl(tmp_path / "absent.jsonl")


def test_a_picture_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "out").symlink_to(tmp_path)
    for name in (
        "../secret.png",
        str(tmp_path / "secret.png"),
        "link.png",
        "out/secret.png",
        "a/../../secret.png",
    ):
        assert "leads out of" in the_error(folder, with_turn(image=name))
    assert "is no path" in the_error(folder, with_turn(image="a\0b"))


def test_a_picture_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(whole)
    (tmp_path / "half.png").write_bytes(whole.read_bytes()[:1000])
    Image.new("1", (4097, 4096)).save(tmp_path / "large.png")
    Image.new("1", (14_000, 14_000)).save(tmp_path / "bomb.png")
    Image.new("I;16", (2, 2)).save(tmp_path / "deep.png")
    for name, sentence in {
        "absent.png": "cannot be read (No such file or directory)",
        "text.png": "cannot be decoded",
        "folder.png": "is no picture file",
        "half.png": "cannot be decoded",
        "large.png": "is 4097 x 4096, the most is 16777216 pixels",
        "bomb.png": "pixels",
        "deep.png": "pixels of kind I;16; save it as 8-bit RGB",
    }.items():
        message = the_error(tmp_path, with_turn(image=name))
        assert sentence in message
        assert "line 1, turns[0], field 'image'" in message


def test_import_makes_a_store_and_reports_what_went_in(tmp_path: Path) -> None:
    Image.new("RGB", (3, 3), "red").save(tmp_path / "red.png")
    lines = [
        {**with_turn(image="red.png", reward=1.5), "final": {"text": "done", "image": "red.png"}},
        {**MINIMAL, "success": False, "turns": MINIMAL["turns"] * 3},
    ]
    path = written(tmp_path, *lines)
    report = convert(path, tmp_path / "store", provenance={"who": "me"})
    assert (report.episodes, report.turns, report.successes, report.images) == (2, 4, 1, 2)
    store = EpisodeStore.open(tmp_path / "store")
    assert [episode_bits(e) for e in store] == [episode_bits(e) for e in read_jsonl(path)]
    assert store.provenance == {"source": "imported", "file": "mine.jsonl", "who": "me"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.jsonl", "red.png", "store"]


def test_import_is_all_or_nothing(tmp_path: Path) -> None:
    for lines in ([MINIMAL, MINIMAL, "oops"], [""]):
        path = written(tmp_path, *lines)
        with pytest.raises(DataError):
            convert(path, tmp_path / "store")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.jsonl"]


def test_import_and_export_overwrite_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    convert(path, tmp_path / "store")
    with pytest.raises(DataError, match="there is something here already"):
        convert(path, tmp_path / "store")
    with pytest.raises(DataError, match="the file is there already"):
        write_jsonl(EpisodeStore.open(tmp_path / "store"), path)
    assert len(EpisodeStore.open(tmp_path / "store")) == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    made=st.lists(
        any_episode(UNICODE_TEXT, st.floats(allow_nan=False, allow_infinity=False), ONE_NAN_FLOAT32),
        min_size=1,
        max_size=2,
        unique_by=lambda e: e.index,
    )
)
def test_what_is_exported_comes_back_the_same(
    made: list[Episode], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("jsonl")
    with EpisodeStore.create(folder / "store", {}) as store:
        store.append_many(made)
        assert write_jsonl(store, folder / "out" / "mine.jsonl") == len(made)
    back = list(read_jsonl(folder / "out" / "mine.jsonl"))
    assert [episode_bits(e) for e in back] == [episode_bits(e) for e in made]


def test_an_export_writes_each_picture_once_and_lines_people_can_read(tmp_path: Path) -> None:
    with EpisodeStore.create(tmp_path / "store", {}) as store:
        store.append_many([make_episode(0, index_field=0), make_episode(0, index_field=1)])
        write_jsonl(store, tmp_path / "out.jsonl")
    assert len(list((tmp_path / "out_images").iterdir())) == 4
    first = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["env_args"] == {"size": 8}
    assert first["turns"][0]["image"].startswith("out_images/")
    assert "☃" in (tmp_path / "out.jsonl").read_text(encoding="utf-8")


def test_a_lone_surrogate_survives_the_export(tmp_path: Path) -> None:
    (episode,) = read_jsonl(written(tmp_path, with_turn(text="a\ud800b")))
    assert episode.turns[0].observation.text == "a\ud800b"
    with EpisodeStore.create(tmp_path / "store", {}) as store:
        store.append(episode)
        write_jsonl(store, tmp_path / "out.jsonl")
    (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    (back,) = read_jsonl(tmp_path / "out.jsonl")
    assert episode_bits(back) == episode_bits(episode)


def test_a_reward_that_json_cannot_hold_stops_the_export(tmp_path: Path) -> None:
    episode = make_episode(0)
    turns = (replace(episode.turns[0], reward=float("nan")), *episode.turns[1:])
    with EpisodeStore.create(tmp_path / "store", {}) as store:
        store.append(replace(episode, turns=turns))
        with pytest.raises(DataError, match="episode 0, turn 0: the reward is nan"):
            write_jsonl(store, tmp_path / "out.jsonl")
    assert not list(tmp_path.glob("*.jsonl*"))
