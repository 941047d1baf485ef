"""One small configuration through collect, fit and validate: what each leaves behind, and that it is what it says."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from small_run import PHASES, UPDATES, Recorder, Seen, SmallRun, fingerprint, logged

from vlmq.cli import main
from vlmq.data.store import EpisodeStore
from vlmq.report.results import Row, read_results
from vlmq.train import checkpoint
from vlmq.trained import fqe, rank

EVERYBODY = ("--data.evaluation.policies", "[model, base, random, expert]")


@pytest.fixture(scope="module")
def finished(small: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Seen]]:
    """A run from start to end, and what each update started from."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    Recorder.seen.clear()
    assert small.vlmq("fit", run_dir, "--trainer.callbacks+=small_run.Recorder") == 0
    return run_dir, list(Recorder.seen)


@pytest.fixture(scope="module")
def run_dir(finished: tuple[Path, list[Seen]]) -> Path:
    return finished[0]


@pytest.fixture(scope="module")
def seen(finished: tuple[Path, list[Seen]]) -> list[Seen]:
    return finished[1]


def test_collect_makes_the_dataset_that_fit_then_learns_from(small: SmallRun, run_dir: Path) -> None:
    store = EpisodeStore.open(small.folder / "dataset")
    assert sorted(store.table["index"].tolist()) == list(range(24))
    assert store.verify() == []
    assert not (run_dir / "dataset").exists()
    assert {turn.source for episode in store for turn in episode.turns} == {"random", "corrupted"}


def test_the_results_have_a_row_for_the_data_and_one_for_each_branch(small: SmallRun, run_dir: Path) -> None:
    rows = json.loads((run_dir / "results.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["data", *PHASES]
    for row in rows:
        assert 0 <= row["low"] <= row["success"] <= row["high"] <= 1
        assert 0 <= row["syntax"] <= 1
        # Six turns of at most -1 each; the goal is worth 1.
        assert -6 <= row["return"] <= 1
        assert row["seed"] == 1
        assert row["episodes"] == (24 if row["name"] == "data" else 6)
    store = EpisodeStore.open(small.folder / "dataset")
    assert rows[0]["success"] == pytest.approx(sum(episode.success for episode in store) / 24)
    assert rows[0]["return"] == pytest.approx(sum(episode.episode_return for episode in store) / 24)


def test_the_curve_is_a_picture(run_dir: Path) -> None:
    with Image.open(run_dir / "curve.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300


def test_every_update_is_logged_with_its_pass_rate(run_dir: Path) -> None:
    lines = logged(run_dir)
    assert len(lines) == UPDATES
    for line in lines.values():
        assert 0 <= line["pass_rate"] <= 1
        assert "pass_rate/random" in line or "pass_rate/model" in line
    unfiltered = [line["pass_rate"] for line in lines.values() if line["phase"] <= 1]
    assert unfiltered == [1.0] * (PHASES["warmup"] + PHASES["sft"])


def test_checkpoints_of_the_end_and_of_the_best_evaluation_remain(run_dir: Path) -> None:
    last, best = (
        torch.load(run_dir / "checkpoints" / f"{name}.ckpt", weights_only=True)["vlmq"]["schedule"]
        for name in ("last", "best")
    )
    assert last["made"] == UPDATES
    assert best["made"] in (4, 12, 16, 20), "the best is never taken from the baseline"
    kept = sorted(path.name for path in (run_dir / "checkpoints").iterdir())
    assert kept == ["best.ckpt", "last.ckpt", "previous.ckpt"]


def test_own_play_is_kept_whole_and_numbered(run_dir: Path) -> None:
    store = EpisodeStore.open(run_dir / "replay")
    assert store.verify() == []
    assert sorted(store.table["index"].tolist()) == list(range(16)), "4 rounds of 4"


def test_sft_and_afsft_start_from_the_same_weights_and_see_the_same_batches(seen: list[Seen]) -> None:
    sft = [update for update in seen if update.phase == "sft"]
    afsft = [update for update in seen if update.phase == "afsft_offline"]
    assert [update.batch for update in sft] == [update.batch for update in afsft]
    assert len({update.batch for update in sft}) == 4
    assert sft[0].weights == afsft[0].weights
    assert sft[1].weights != afsft[1].weights, "SFT trains no critic, so that one update tells them apart"


def test_only_a_phase_that_observes_whole_episodes_is_shown_what_came_later(seen: list[Seen]) -> None:
    assert {update.phase for update in seen if update.later} == {"afsft_online"}


def test_the_baseline_leaves_the_state_that_others_start_from_intact(run_dir: Path, seen: list[Seen]) -> None:
    kept = torch.load(run_dir / "phases" / "warmup.pt", weights_only=True)["parameters"]
    starts = {phase: next(u for u in seen if u.phase == phase).weights for phase in PHASES}
    assert starts["sft"] == starts["afsft_offline"] == fingerprint(kept)
    assert starts["warmup"] != starts["sft"]
    assert starts["afsft_online"] not in {u.weights for u in seen if u.phase != "afsft_online"}


def test_the_kept_configuration_gives_the_same_run_again(small: SmallRun, run_dir: Path) -> None:
    kept = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert [phase["name"] for phase in kept["model"]["phases"]] == list(PHASES)
    again = SmallRun(run_dir / "config.yaml", small.folder)
    assert (
        again.vlmq("validate", run_dir, "--ckpt_path", "last", "--data.evaluation.final_episodes", "2") == 0
    )


def _table(run_dir: Path, small: SmallRun, *options: str) -> list[Row]:
    assert small.vlmq("validate", run_dir, "--ckpt_path", "last", *EVERYBODY, *options) == 0
    return read_results(run_dir / "validate.json")


def test_validate_gives_the_same_table_for_the_same_seed_in_any_process(
    small: SmallRun, run_dir: Path
) -> None:
    here = _table(run_dir, small)
    assert [row.name for row in here] == ["model", "base", "random", "expert"]
    assert here[-1].success == 1.0
    trained = next(row for row in read_results(run_dir / "results.json") if row.name == "afsft_online")
    assert (here[0].success, here[0].episode_return) == (trained.success, trained.episode_return)
    (run_dir / "validate.json").unlink()
    other = small.start("validate", run_dir, "--ckpt_path", "last", *EVERYBODY)
    out, err = other.communicate(timeout=300)
    assert other.returncode == 0, err
    assert read_results(run_dir / "validate.json") == here
    for name in ("model", "base", "random", "expert"):
        assert any(line.startswith(name) for line in out.splitlines()), out


def test_validate_goes_on_where_it_was_cut_short(
    small: SmallRun, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = _table(run_dir, small)
    journal = run_dir / "validate" / "model.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:3]) + lines[3][:20])
    capsys.readouterr()
    assert _table(run_dir, small) == whole
    said = capsys.readouterr().out
    assert f"model: 2 of {len(lines) - 1} episodes were played before" in said
    assert "random: " not in said, "its evaluation was whole, and is made again"
    assert sorted(journal.read_text().splitlines()[1:]) == sorted(line.strip() for line in lines[1:])


def test_the_critic_may_choose_among_replies_or_tokens(small: SmallRun, run_dir: Path) -> None:
    policies = ("--data.evaluation.policies", "[model,best_of,shifted]", "--data.evaluation.q_shift", "1e4")
    rows = _table(run_dir, small, *policies, "--data.evaluation.best_of", "3")
    assert [row.name for row in rows] == ["model", "best_of", "shifted"]
    assert (
        rows[2].syntax < rows[0].syntax
    )  # with a shift like that nothing but the half-trained critic speaks


def test_evaluation_may_sample(small: SmallRun, run_dir: Path) -> None:
    def _syntax(*options: str) -> list[float]:
        rows = _table(run_dir, small, "--data.evaluation.policies", "[model, sampled]", *options)
        return [row.syntax for row in rows]

    greedy, sampled = _syntax()
    assert sampled < greedy
    assert _syntax("--data.evaluation.temperature", "1.0") == [sampled, sampled]
    assert _syntax("--data.evaluation.temperature", "50") == [pytest.approx(0.0, abs=0.1), sampled]


@pytest.mark.parametrize("objective", ["ppo_token", pytest.param("ppo_reply", marks=pytest.mark.slow)])
def test_ppo_runs_on_its_own_latest_play(small: SmallRun, tmp_path: Path, objective: str) -> None:
    ppo = {"name": "ppo", "updates": 8, "filter": "always", "objective": objective, "online": 1.0}
    phases = [{"name": "warmup", "updates": 4, "filter": "always", "critic": False}, ppo]
    options = (
        "--model.phases", json.dumps(phases), "--model.critic.value", "turn", "--data.online.rounds", "1",
        "--data.online.explore", "0", "--data.online.every", "4", "--data.fragment_turns", "null",
    )  # fmt: skip
    assert small.vlmq("fit", tmp_path / "run", *options) == 0
    lines = logged(tmp_path / "run")
    # The surrogate of standardised advantages is 0 where policy and behaviour agree, and leaves 0 as they part.
    assert abs(lines[4]["train/actor_loss"]) < 0.5
    assert lines[7]["train/actor_loss"] != lines[4]["train/actor_loss"]
    assert set(lines[11]) >= {"pass_rate/model"}
    assert [row.name for row in read_results(tmp_path / "run" / "results.json")] == ["data", "warmup", "ppo"]


def test_evaluations_leave_their_first_episodes_with_tensorboard(run_dir: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    held = EventAccumulator(str(run_dir / "tensorboard" / "version_0"), size_guidance={"images": 0})
    held.Reload()
    wanted = {f"rollouts/{phase}/{number}" for phase in PHASES for number in range(2)}
    assert set(held.Tags()["images"]) == wanted, "two of each evaluation, evaluation.show"
    assert [one.step for one in held.Images("rollouts/afsft_online/0")] == [16, 20], "at its two evaluations"


def test_runs_are_ranked_from_recorded_episodes_alone(
    small: SmallRun, run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fqe, "Fit", partial(fqe.Fit, updates=40))
    best = run_dir / "checkpoints" / "best.ckpt"
    assert (
        main(["rank", str(run_dir), str(best), "--data", str(small.folder / "dataset"), "--episodes", "9"])
        == 0
    )
    told = capsys.readouterr().out
    success = read_results(run_dir / "results.json")[-1].success
    (line,) = [line for line in told.splitlines() if line.startswith(f"{run_dir} ")]
    assert f"{100 * success:.1f} %" in line
    (line,) = [line for line in told.splitlines() if line.startswith(f"{best} ")]
    earned = checkpoint.read(best)["vlmq"]["rows"][-1]["success"]
    assert line.endswith(f" {100 * earned:.1f} %"), "it was written at the end of a phase"


@pytest.mark.parametrize(
    ("index", "in_phase", "entered", "known"),
    [
        (1, 4, True, True),  # at the end of the second phase, whose row is the last
        (2, 0, False, True),  # the run, or that phase, is over
        (2, 2, True, False),  # on the way through the third
    ],
)
def test_a_checkpoint_has_the_success_of_the_phase_that_ends_with_it(
    index: int, in_phase: int, entered: bool, known: bool
) -> None:
    schedule = {"index": index, "in_phase": in_phase, "entered": entered}
    kept = {"rows": [{"name": "b", "success": 0.7}], "phases": ["a", "b", "c"], "schedule": schedule}
    assert rank.success_of(kept) == (0.7 if known else None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no checkpoint nowhere"),
        (["."], "no checkpoint checkpoints/last.ckpt"),
        ([".", "--episodes", "0"], "--episodes must be a whole number"),
        ([".", "--episodes", "2", "--temperature", "warm"], "--temperature a number"),
        (["--odd", "."], "`vlmq rank` takes runs"),
    ],
)
def test_a_ranking_of_nothing_is_one_sentence(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["rank", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_runs_are_compared_on_the_command_line(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, picture = tmp_path / "table.md", tmp_path / "arms.png"
    options = "--against", "sft", "--markdown", str(table), "--png", str(picture)
    assert main(["compare", str(run_dir), *options]) == 0
    told = capsys.readouterr().out
    for row in read_results(run_dir / "results.json")[1:]:
        line, cost = [line for line in told.splitlines() if line.startswith(f"{row.name} ")]
        assert f"{100 * row.success:.1f} % (one seed: no interval)" in line
        assert ("1 of 1" in cost) or ("0 of 1" in cost and "never" in cost)
        assert f"| {row.name} | 1 |" in table.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["compare", str(tmp_path)]) == 2
    assert "holds no readable config.yaml" in capsys.readouterr().err
    assert main(["compare", "--png", str(picture)]) == 2
    assert "`vlmq compare` takes runs' folders" in capsys.readouterr().err


def test_a_ranking_needs_episodes_of_the_models_own_tokens(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rank", str(run_dir), "--data", str(tmp_path)]) == 2
    assert "no recorded episodes" in capsys.readouterr().err
    with EpisodeStore.open(run_dir / "replay") as store, EpisodeStore.create(tmp_path / "other", {}) as other:
        other.append(replace(store[0], tokenizer="another"))
    assert main(["rank", str(run_dir), "--data", str(tmp_path / "other")]) == 2
    assert "not tokens of" in capsys.readouterr().err


def test_another_seed_plays_other_episodes(small: SmallRun, run_dir: Path) -> None:
    policies = ("--data.evaluation.policies", "[random]", "--data.evaluation.final_episodes", "30")
    tables: list[Any] = [
        _table(run_dir, small, *policies, *options)
        for options in ([], ["--seed_everything", "2"], ["--data.evaluation.seed", "1"])
    ]
    returns = [(rows[0].episode_return, rows[0].extras["turns"]) for rows in tables]
    assert len(set(returns)) == 3, returns
    assert [rows[0].seed for rows in tables] == [1, 2, 1]


def test_a_second_fit_into_the_same_folder_keeps_the_earlier_run(
    small: SmallRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    assert small.vlmq("fit", run_dir, "--trainer.max_steps", "2") == 0
    first = (run_dir / "checkpoints" / "last.ckpt").stat()
    assert small.vlmq("fit", run_dir, "--trainer.max_steps", "2") == 0
    kept = (tmp_path / "run-1" / "checkpoints" / "last.ckpt").stat()
    assert (kept.st_ino, kept.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    assert (run_dir / "checkpoints" / "last.ckpt").is_file()
    assert f"it is now {tmp_path / 'run-1'}" in capfd.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["run", "run-1"]
