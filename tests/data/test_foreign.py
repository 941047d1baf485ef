"""Other projects' trajectories become episodes, failed ones too; what cannot be used is counted by its reason."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlmq.api import DataError, Episode
from vlmq.data.convert import convert
from vlmq.data.damage import Kind
from vlmq.data.foreign import stream
from vlmq.data.foreign.agentgym import read_agentgym
from vlmq.data.foreign.agentlab import read_agentlab
from vlmq.data.foreign.chat import find_action
from vlmq.data.foreign.llava import read_llava
from vlmq.data.foreign.messages import read_messages
from vlmq.data.foreign.stream import objects
from vlmq.data.foreign.tally import Choices, Tally
from vlmq.data.lint import lint
from vlmq.data.sources import guess_format
from vlmq.data.store import EpisodeStore

FAILED = Choices(success=False)


def picture(path: Path, colour: str = "red", size: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), colour).save(path)
    return path


def saved(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    else:
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def read(reader: Any, path: Path, choices: Choices = FAILED) -> tuple[list[Episode], Tally]:
    tally = Tally()
    return list(reader(path, choices, tally)), tally


# ---- LLaVA and RL4VLM


def sample(
    reply: str, image: str | None = "shots/0.png", prompt: str = "<image>\nYou are a card player."
) -> Any:
    row = {"id": "7", "conversations": [{"from": "human", "value": prompt}, {"from": "gpt", "value": reply}]}
    return row if image is None else {**row, "image": image}


def test_rl4vlm_samples_are_episodes_of_one_turn_with_their_picture(tmp_path: Path) -> None:
    picture(tmp_path / "shots" / "0.png")
    said = '{"cards": [7, 8], "thoughts": "15 is low",\n"action": "stand"}'
    path = saved(tmp_path / "blackjack.json", [sample(said), sample("I would rather not say.")])
    assert guess_format(path) == "llava"
    (first, second), tally = read(read_llava, path)
    (turn,) = first.turns
    assert turn.observation.text == "You are a card player."
    assert turn.observation.image is not None
    assert turn.observation.image[0, 0].tolist() == [255, 0, 0]
    assert (turn.reply, turn.action, turn.parsed, turn.reward) == (said, "stand", True, 0.0)
    assert (first.success, first.terminated, first.source, len(turn.reply_ids)) == (False, True, "llava", 0)
    assert (second.turns[0].action, second.turns[0].parsed) == ("", False)
    assert tally.notes == {"replies without an action, which count as unparsed": 1}


def test_replies_may_be_given_the_form_that_the_agent_uses(tmp_path: Path) -> None:
    said = '```json\n{"cards": [7], "thoughts": "low", "action": "hit"}\n```'
    path = saved(tmp_path / "a.json", [sample(said, None, "Play.")])
    for form, reply in {
        "json": '{"thoughts": "low", "action": "hit"}',
        "tagged": "low<action>hit</action>",
        "plain": "hit",
    }.items():
        (episode,), tally = read(read_llava, path, Choices(success=True, rewrite=form))  # type: ignore[arg-type]
        assert (episode.turns[0].reply, episode.turns[0].action) == (reply, "hit")
        assert tally.notes == {f"replies rewritten as {form}": 1}
        assert episode.turns[0].reward == 1.0


def test_success_is_never_guessed(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.json", [sample("x", None, "Play.")])
    with pytest.raises(DataError, match="1 it does not say whether it succeeded .first: .*say --success yes"):
        convert(path, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_pictures_may_lie_in_a_folder_of_their_own_and_nowhere_else(tmp_path: Path) -> None:
    inside = picture(tmp_path / "pictures" / "0.png")
    picture(tmp_path / "secret.png")
    rows = [
        sample("a", "0.png"), sample("b", str(inside.resolve())), sample("c", "../secret.png"),
        sample("d", str(tmp_path / "secret.png")), sample("e", "absent.png"), sample("f", "https://x.org/a.png"),
        sample("g", "a\0b"), sample("h", ["0.png", "0.png"]),
    ]  # fmt: skip
    path = saved(tmp_path / "data" / "a.json", rows)
    choices = Choices(success=False, pictures=tmp_path / "pictures", action="plain")
    found, tally = read(read_llava, path, choices)
    assert [episode.turns[0].action for episode in found] == ["a", "b"]
    assert tally.left_out == {
        str(Kind.TRAVERSAL): 3,
        str(Kind.MISSING_PICTURE): 1,
        "a picture on the net": 1,
        "pictures and marks do not match": 1,
    }


def test_a_word_that_looks_like_a_mark_stays_where_there_is_no_picture(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.json", [sample("x", None, "Type <image> here.")])
    (episode,), _ = read(read_llava, path)
    assert episode.turns[0].observation.text == "Type <image> here."


# ---- AgentGym


def said(who: str, text: str, loss: bool | None = None) -> dict[str, Any]:
    return {"from": who, "loss": loss, "value": text}


SHOP = [
    said("human", "You are web shopping."),
    said("gpt", "Ok.", False),
    said("human", "WebShop [SEP] Find shorts [SEP] Search"),
    said("gpt", "Thought:\nI search.\n\nAction:\nsearch[shorts]", True),
    said("human", "Results: ..."),
    said("gpt", "Thought:\nBuy.\n\nAction: \nclick[Buy Now]", True),
]


def test_an_agentgym_trajectory_is_an_episode_with_its_outcome(tmp_path: Path) -> None:
    rows = [
        {"conversations": SHOP, "item_id": "webshop_6", "reward": 0.25, "success": 0},
        {
            "conversations": [*SHOP, said("human", "Thank you.")],
            "item_id": "webshop_7",
            "reward": 1,
            "success": 1,
        },
        {"conversations": None, "item_id": "webshop_8"},
    ]
    for name in ("eval.jsonl", "eval.json"):
        path = saved(tmp_path / name, rows)
        assert guess_format(path) == "agentgym"
        (failed, solved), tally = read(read_agentgym, path, Choices())
        assert (failed.env_id, failed.seed, failed.success) == ("agentgym/webshop", 6, False)
        first, second = failed.turns
        assert first.observation.text == "You are web shopping.\nWebShop [SEP] Find shorts [SEP] Search"
        assert (first.action, first.reward, second.action, second.reward) == (
            "search[shorts]", 0.0, "click[Buy Now]", 0.25,
        )  # fmt: skip
        assert (solved.success, solved.episode_return) == (True, 1.0)
        assert solved.final_observation is not None
        assert tally.left_out == {"no conversation": 1}
        assert tally.notes == {"replies left out that are marked as not the agent's": 2}


def test_agentgyms_own_trajectories_need_to_be_called_successful(tmp_path: Path) -> None:
    path = saved(tmp_path / "traj.json", [{"conversations": SHOP, "item_id": "webshop_6"}])
    assert read(read_agentgym, path, Choices())[1].left_out == {"it does not say whether it succeeded": 1}
    (episode,), _ = read(read_agentgym, path, Choices(success=True, env="my/Shop-v0", rewrite="json"))
    assert (episode.env_id, episode.success) == ("my/Shop-v0", True)
    assert json.loads(episode.turns[0].reply) == {"thoughts": "I search.", "action": "search[shorts]"}


# ---- messages


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def data_uri(colour: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (2, 2), colour).save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_swift_marks_and_trl_parts_put_each_picture_where_it_was_shown(tmp_path: Path) -> None:
    for name in ("0", "1"):
        picture(tmp_path / f"{name}.png", {"0": "red", "1": "blue"}[name])
    turns = ["up", "down"]
    rows = [
        {
            "messages": [{"role": "system", "content": "Be brief."}, user("<image>Where?"), assistant("up"),
                         user("And <image> now?"), assistant("down")],
            "images": ["0.png", {"path": "1.png"}], "label": False,
        },
        {
            "messages": [user([{"type": "image"}, {"type": "text", "text": "Where?"}]), assistant("up"),
                         user([{"type": "text", "text": "And"}, {"type": "image"}]),
                         assistant([{"type": "text", "text": "down"}])],
            "images": ["0.png", "1.png"], "success": True, "reward": 3.5,
        },
        {
            "messages": [user([{"type": "image_url", "image_url": {"url": data_uri("red")}}]), assistant("up"),
                         user([{"type": "image", "image": data_uri("blue")}]), assistant("down")],
            "success": 0, "truncated": True, "env": "my/Maze-v0",
        },
    ]  # fmt: skip
    path = saved(tmp_path / "a.jsonl", rows)
    assert guess_format(path) == "messages"
    found, tally = read(read_messages, path, Choices())
    assert tally.left_out == {}
    for episode in found:
        assert [turn.action for turn in episode.turns] == turns
        colours = [turn.observation.image[0, 0].tolist() for turn in episode.turns]  # type: ignore[index]
        assert colours == [[255, 0, 0], [0, 0, 255]]
    swift, trl, openai = found
    assert swift.turns[0].observation.text == "Be brief.\nWhere?"
    assert swift.turns[1].observation.text == "And \n now?"
    assert [episode.success for episode in found] == [False, True, False]
    assert (trl.episode_return, trl.turns[0].reward, swift.episode_return) == (3.5, 0.0, 0.0)
    assert (openai.truncated, openai.terminated, openai.env_id) == (True, False, "my/Maze-v0")


def test_what_cannot_be_used_is_counted_by_its_reason(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "0.png").read_bytes()[:40])
    Image.new("1", (14_000, 14_000)).save(tmp_path / "bomb.png")
    rows = [
        {"messages": []},
        {"messages": [assistant("up")]},
        {"messages": [user("a")]},
        {"messages": [user("a"), assistant("b"), assistant("c")]},
        {"messages": [user("a"), {"role": "critic", "content": "b"}]},
        {"messages": [user("a"), {"role": "assistant", "tool_calls": []}]},
        {"messages": [user("<image><image>a"), assistant("b")], "images": ["0.png", "0.png"]},
        {"messages": [user("<image>a"), assistant("b")], "images": ["0.png", "0.png"]},
        {"messages": [user([{"type": "video"}]), assistant("b")]},
        {"messages": [user("a"), assistant("b")], "images": ["half.png"]},
        {"messages": [user("a"), assistant("b")], "images": ["bomb.png"]},
        {"messages": [user("a"), assistant("b")], "images": ["data:image/png;base64,%%%"]},
        {"messages": [user("a"), assistant("b")], "images": [7]},
        {"messages": [user("a"), assistant("b")], "images": ["0.png"]},
    ]
    path = saved(tmp_path / "a.jsonl", rows)
    report = convert(path, tmp_path / "store", choices=FAILED)
    assert report.tally.left_out == {
        "no messages": 1,
        "a reply to nothing": 2,
        "no reply": 1,
        "a message of an unknown role": 1,
        "a message without text": 1,
        "several pictures in one observation": 1,
        "pictures and marks do not match": 1,
        "a part that is neither text nor picture": 1,
        str(Kind.PICTURE): 2,
        str(Kind.BOMB): 1,
        "no picture where one is named": 1,
    }
    assert report.episodes == 1
    assert "left out 2: a reply to nothing (first: " in "\n".join(report.lines())
    problems = lint(path).problems
    assert len(problems) == len(rows) - 1
    assert {Kind.BOMB, Kind.PICTURE} <= {problem.kind for problem in problems}


def test_a_hugging_face_dataset_of_messages_is_read_from_parquet(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "messages": datasets.List(
                {"role": datasets.Value("string"), "content": datasets.Value("string")}
            ),
            "images": datasets.List(datasets.Image()),
            "success": datasets.Value("bool"),
        }
    )
    rows = [
        {"messages": [user("<image>Where?"), assistant(f"go {k}")],
         "images": [Image.new("RGB", (3, 3), (k, 0, 0))], "success": k % 2 == 0}
        for k in range(5)
    ]  # fmt: skip
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "set" / "train.parquet"))
    report = convert(tmp_path / "set", tmp_path / "store")
    assert (report.source_format, report.episodes, report.successes) == ("messages", 5, 3)
    with EpisodeStore.open(tmp_path / "store") as store:
        for k, episode in enumerate(store):
            image = episode.turns[0].observation.image
            assert image is not None
            assert (image.shape, int(image[0, 0, 0]), episode.turns[0].action) == ((3, 3, 3), k, f"go {k}")


# ---- AgentLab


def trace(**changes: Any) -> dict[str, Any]:
    steps = [
        {"num": 0, "action": "click('12')", "reasoning": "It is there.", "screenshot_path": "shots/0.png",
         "url": "http://a", "axtree_pruned": "[12] button", "last_action_error": "",
         "chat_messages": [user("..."), assistant("<think>It is there.</think><action>click('12')</action>")]},
        {"num": 1, "action": "fill('7', 'x')", "screenshot_path": "elsewhere/1.png", "url": "http://b",
         "axtree": "[7] textbox", "last_action_error": "no such element", "chat_messages": []},
        {"num": 2, "action": None, "screenshot_path": "None", "url": "http://c", "axtree": "done"},
    ]  # fmt: skip
    whole = {
        "benchmark": "webarena", "agent": "generic", "model": "other-7b", "goal": "Buy a red ball.", "seed": 3,
        "summary_info": {"cum_reward": 0.0, "n_steps": 2, "terminated": False, "truncated": True}, "steps": steps,
    }  # fmt: skip
    return {**whole, **changes}


def test_an_agentlab_trace_in_json_is_an_episode(tmp_path: Path) -> None:
    picture(tmp_path / "traces" / "shots" / "0.png")
    picture(tmp_path / "traces" / "a" / "1.png", "blue")
    saved(tmp_path / "traces" / "a" / "webarena.7.json", trace())
    saved(tmp_path / "traces" / "a" / "webarena.8.json", trace(summary_info={"cum_reward": 1.0}))
    saved(tmp_path / "traces" / "a" / "webarena.9.json", trace(steps=[]))
    assert guess_format(tmp_path / "traces") == "agentlab"
    (failed, solved), tally = read(read_agentlab, tmp_path / "traces", Choices())
    assert (failed.env_id, failed.seed, failed.source) == ("browsergym/webarena.7", 3, "other-7b")
    assert (failed.success, failed.truncated, failed.episode_return) == (False, True, 0.0)
    assert (solved.success, solved.terminated, solved.episode_return) == (True, True, 1.0)
    first, second = failed.turns
    assert first.observation.text == "Buy a red ball.\nPage: http://a\n[12] button"
    assert (first.reply, first.action) == (
        "<think>It is there.</think><action>click('12')</action>",
        "click('12')",
    )
    assert second.observation.text.endswith("Error: no such element")
    assert (second.reply, second.action) == ("fill('7', 'x')", "fill('7', 'x')")
    assert second.observation.image is not None
    assert second.observation.image[0, 0].tolist() == [0, 0, 255]  # found beside the trace by its name
    assert failed.final_observation is not None
    assert failed.final_observation.image is None
    assert tally.left_out == {"no steps": 1}
    assert tally.notes == {"replies not recorded, for which the action stands": 2}


class Bomb:
    """A pickle of it leaves a file behind when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return os.mkdir, (str(self.path),)  # type: ignore[return-value]


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    folder.mkdir()
    with gzip.open(folder / "step_0.pkl.gz", "wb") as file:
        pickle.dump(Bomb(tmp_path / "it_ran"), file)
    saved(folder / "summary_info.json", {"cum_reward": 1.0})
    for path in (folder, folder / "step_0.pkl.gz"):
        with pytest.raises(DataError, match="runs whatever its maker wrote, so vlmq never opens one"):
            convert(path, tmp_path / "store")
        assert {problem.kind for problem in lint(path).problems} == {Kind.PICKLE}
    with pytest.raises(DataError, match="never opens one"):
        convert(folder, tmp_path / "store", source_format="agentlab")
    assert not (tmp_path / "it_ran").exists()


# ---- actions and files


@pytest.mark.parametrize(
    ("reply", "where", "found"),
    [
        ('{"action": "up"}', "json", ("up", "")),
        ('x {"thoughts": "a \\"b\\"", "action": "go \\u00e9"} y', "json", ("go é", 'a "b"')),
        ('{"action": "no"} then {"action": "yes"}', "json", ("yes", "")),
        ("up", "json", None),
        ("Thought: hm\nAction: go[1]\n", "react", ("go[1]", "hm")),
        ("Action:\na\nAction:\nb", "react", ("b", "Action:\na")),
        ("go", "react", None),
        (" go ", "plain", ("go", "")),
        ("  ", "plain", None),
        ("go", "auto", ("go", "")),
        ("Thought: x\n\nAction: go", "auto", ("go", "x")),
        ('{"action": "up"}', "auto", ("up", "")),
    ],
)
def test_where_an_action_stands(reply: str, where: Any, found: tuple[str, str] | None) -> None:
    assert find_action(reply, where) == found


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    "text",
    [
        '[{"a": 1}, {"a": "x,]["}\n,{"a": [1, 2]}]',
        '{"a": 1}\n{"a": "x,]["}\n\n{"a": [1, 2]}',
        '\ufeff {"a": 1}{"a": "x,]["} {"a": [1, 2]}\n',
    ],
)
def test_objects_are_read_one_by_one_however_they_are_laid_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, chunk: int
) -> None:
    monkeypatch.setattr(stream, "_CHUNK", chunk)
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert [row["a"] for _, row in objects(tmp_path / "a.json")] == [1, "x,][", [1, 2]]


@pytest.mark.parametrize("text", ['[{"a": 1}, {"a":', '{"a": 1} x', "[[1]]", "[" * 100_000, '{"a": "\ud800'])
def test_what_is_not_json_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(DataError) as caught:
        list(objects(tmp_path / "a.json"))
    assert "a.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_imported_store_says_which_form_its_replies_have(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.json", [sample('{"action": "hit"}', None, "Play.")])
    convert(path, tmp_path / "store", choices=Choices(success=True, rewrite="tagged"))
    with EpisodeStore.open(tmp_path / "store") as store:
        assert store.provenance == {"source": "imported", "file": "a.json", "reply_format": "tagged"}
        assert np.all(store.table["num_tokens"] == 0)
