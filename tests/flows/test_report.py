"""`vlmq report` of a real run, its checkpoints and its episodes: what the page holds is what the model says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import SmallRun

from vlmq.cli import main
from vlmq.data.store import EpisodeStore
from vlmq.rollout.collector import episode_seed
from vlmq.trained.reader import Reader


def _embedded(page: Path, name: str) -> Any:
    found = re.search(f'<script type="application/json" id="{name}">(.*)</script>', page.read_text("utf-8"))
    assert found, name
    return json.loads(found[1])


def test_the_report_shows_every_token_of_own_play_and_dataset(
    small: SmallRun, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(trained), "--episodes", "8"]) == 0
    page = trained / "report.html"
    assert str(page) in capsys.readouterr().out
    summary = _embedded(page, "summary")
    listed = [(row["origin"], row["index"]) for row in summary["episodes"]]
    spread = (0, 3, 6, 9, 13, 16, 19, 23)
    assert listed == [("own play", n) for n in range(15, 7, -1)] + [("dataset", n) for n in spread]
    own, offline = EpisodeStore.open(trained / "replay"), EpisodeStore.open(small.folder / "dataset")
    for number, (origin, index) in enumerate(listed):
        store = own if origin == "own play" else offline
        position = store.position_of(index)
        assert position is not None
        turns = _embedded(page, f"e{number}")["turns"]
        earned = _earned([kept.reward for kept in store[position].turns])
        for turn, kept, outcome in zip(turns, store[position].turns, earned, strict=True):
            assert (turn["prompt"], turn["reply"], turn["action"]) == (
                kept.observation.text,
                kept.reply,
                kept.action,
            )
            # text, A, Q, V, log-probability, slack, log-probability when said, alternatives
            for (_, a, q, value, log_prob, _, behaviour, others), said in zip(
                turn["tokens"], kept.logprobs, strict=True
            ):
                # The last phase leans on the outcome by half.
                outcome_in_range = outcome / summary["range"]
                assert a == pytest.approx((q + outcome_in_range) / 2 - value, abs=2e-3)
                assert (behaviour is None) == bool(np.isnan(said))
                assert len(others) == 5
                assert [one[1] for one in others] == sorted((one[1] for one in others), reverse=True)
                assert log_prob <= others[0][1] + 1e-4, "nothing is likelier than the likeliest"
            spelt = [token[0] for token in turn["tokens"]]
            assert "⏎" not in spelt[:-1]
            assert spelt[-1] == "⏎" or len(spelt) == 10, (
                "an end token is an action too; a reply of 10 may be cut"
            )
    assert [row["name"] for row in summary["rows"]][-1] == "afsft_online"
    titles = [chart["title"] for chart in summary["charts"]]
    assert titles[:2] == ["Success", "Pass rate by source"]
    assert "Calibration of the critic" in titles
    phases = [series["name"] for series in summary["charts"][0]["series"]]
    assert phases == ["warmup", "SFT", "AFSFT offline", "AFSFT online"]


def _earned(rewards: list[float]) -> list[float]:
    """Discounted from each turn to the episode's end."""
    found = [0.0]
    for reward in reversed(rewards):
        found.insert(0, reward + 0.95 * found[0])
    return found[:-1]


def test_a_reports_own_play_may_be_one_episode(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.html"
    assert (
        main(["report", str(trained / "checkpoints" / "last.ckpt"), "--episode", "7", "--out", str(out)]) == 0
    )
    rows = _embedded(out, "summary")["episodes"]
    assert [(row["origin"], row["index"]) for row in rows] == [("own play", 7), ("dataset", 7)]


def test_two_checkpoints_play_the_same_held_out_episodes_side_by_side(
    small: SmallRun, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "two.html"
    assert main(["report", str(trained), "--against", "best", "--episodes", "2", "--out", str(out)]) == 0
    summary = _embedded(out, "summary")
    rows = summary["episodes"][:4]
    assert [(row["origin"], row["index"]) for row in rows] == [
        (n, i) for i in (0, 1) for n in ("last", "best")
    ]
    assert rows[0]["seed"] == rows[1]["seed"] != rows[2]["seed"] == rows[3]["seed"]
    assert rows[0]["seed"] == episode_seed(1, "evaluation 0")(0), "the one that evaluations play first"
    assert summary["paired"] is True
    assert _embedded(out, "e0")["turns"][0]["tokens"]


def test_a_store_is_shown_as_it_is_or_as_a_checkpoint_sees_it(
    small: SmallRun, trained: Path, tmp_path: Path
) -> None:
    store, bare, judged = str(small.folder / "dataset"), tmp_path / "bare.html", tmp_path / "judged.html"
    assert main(["report", store, "--out", str(bare)]) == 0
    assert (
        main(
            [
                "report",
                store,
                "--checkpoint",
                str(trained / "checkpoints" / "best.ckpt"),
                "--out",
                str(judged),
            ]
        )
        == 0
    )
    plain, seen = _embedded(bare, "summary"), _embedded(judged, "summary")
    assert len(plain["episodes"]) == len(seen["episodes"]) == 24
    assert plain["margin"] is None
    assert {row["advantage"] is None for row in plain["episodes"]} == {True}
    assert {row["advantage"] is None for row in seen["episodes"]} == {False}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "there is no run in nowhere"),
        ([".", "--episodes", "few"], "give a whole number"),
        ([".", "--episodes"], "takes one run's folder"),
        (["a", "b"], "takes one run's folder"),
        ([".", "--episode", "-1"], "--episode is '-1'"),
        (["README.jsonl"], "there is no run in README.jsonl"),
    ],
)
def test_a_report_of_nothing_is_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_what_is_seen_does_not_depend_on_how_many_states_the_heads_read_at_once(trained: Path) -> None:
    reader = Reader(trained / "checkpoints" / "last.ckpt")
    with EpisodeStore.open(trained / "replay") as store:
        episodes = [(store[place], "own play") for place in range(3)]

    def seen() -> list[tuple[str, float]]:
        tokens = [t for episode in reader.see(episodes) for turn in episode.turns for t in turn.tokens]
        return [(other.text, other.log_prob) for token in tokens for other in token.alternatives]

    whole = seen()
    reader.agent.model.heads_bytes = 1
    apart = seen()
    assert [text for text, _ in apart] == [text for text, _ in whole]
    assert [number for _, number in apart] == pytest.approx([number for _, number in whole], abs=1e-5)
