"""Runs side by side: which belong together, what each arm is called, what may not be compared."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from vlmq.api import DataError, UserError
from vlmq.report.compare import as_markdown, compare, cost_table, draw, table, task_table
from vlmq.report.results import Row, write_results

CONFIG: dict[str, Any] = {
    "seed_everything": 1,
    "trainer": {"default_root_dir": "runs/a", "devices": 1},
    "model": {
        "reply_format": "json",
        "critic": {"value": "policy"},
        "phases": [{"name": "warmup", "updates": 4, "margin": 0.0}, {"name": "afsft", "updates": 8, "margin": -0.03}],
    },
    "data": {"env": "line/Walk-v0", "env_args": {}, "dataset": "runs/a/dataset", "seed": 1,
             "evaluation": {"seed": 0, "env_args": {"split": "held_out"}, "blank_images": False}},
}  # fmt: skip


def run(folder: Path, seed: int, successes: dict[str, int], change: dict[str, Any] | None = None) -> Path:
    """The folder of a finished run: what each phase reached, of 100 episodes."""
    config = copy.deepcopy(CONFIG)
    config["seed_everything"] = config["data"]["seed"] = seed
    config["trainer"]["default_root_dir"] = str(folder)
    for name, value in (change or {}).items():
        place: Any = config
        *path, last = name.split(".")
        for key in path:
            place = place[key]
        place[last] = value
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    rows = [
        Row.from_counts(
            name, successes=won, episodes=100, episode_return=won / 100, syntax=1.0, seed=seed, seconds=seed
        )
        for name, won in {"data": 10, **successes}.items()
    ]
    write_results(folder / "results.json", rows)
    return folder


def lines(found: list[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {line[0]: line[1:] for line in found[1:]}


def test_seeds_of_one_setting_are_one_arm_for_each_row(tmp_path: Path) -> None:
    runs = [run(tmp_path / f"r{seed}", seed, {"warmup": 40 + seed, "afsft": 90 + seed}) for seed in (3, 1, 2)]
    arms = compare(runs)
    assert [(arm.name, arm.success) for arm in arms] == [
        ("warmup", [0.41, 0.42, 0.43]), ("afsft", [0.91, 0.92, 0.93]),
    ]  # fmt: skip
    found = table(arms, "warmup")
    assert found[0][-1] == "better than warmup"
    # mean 92 %, standard error 1 / sqrt(3) %, t(2) = 4.303
    assert lines(found)["afsft"] == (
        "3",
        "92.0 % [89.5, 94.5]",
        "92.0 % [91.0, 93.0]",
        "0.92 [0.90, 0.94]",
        "100.0 % [100.0, 100.0]",
        "100.0 %",
    )
    assert lines(found)["warmup"][-1] == ""
    assert lines(table(arms, "afsft"))["warmup"][-1] == "0.0 %"


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    arms = compare([run(tmp_path / "r", 1, {"afsft": 91})])
    assert lines(table(arms, "afsft"))["afsft"][1] == "91.0 % (one seed: no interval)"


def test_what_differs_is_in_the_name_and_what_came_before_it_is_one_arm(tmp_path: Path) -> None:
    other = copy.deepcopy(CONFIG["model"]["phases"])
    other[1]["margin"] = 0.0
    runs = [
        run(tmp_path / "a", 1, {"warmup": 40, "afsft": 91}),
        run(tmp_path / "b", 1, {"warmup": 40, "afsft": 80}, {"model.phases": other}),
        run(tmp_path / "c", 1, {"warmup": 30, "afsft": 70}, {"model.critic.value": "topk"}),
    ]
    assert [arm.name for arm in compare(runs)] == [
        "warmup (value policy)", "afsft (value policy, margin -0.03)", "afsft (value policy, margin 0.0)",
        "warmup (value topk)", "afsft (value topk, margin -0.03)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("data.env", "line/Recall-v0"),
        ("data.env_args", {"size": 96}),
        ("data.evaluation.env_args", {}),
        ("data.evaluation.blank_images", True),
        ("data.evaluation.temperature", 0.5),
        ("model.reply_format", "plain"),
    ],
)
def test_what_was_judged_differently_is_not_compared(tmp_path: Path, setting: str, value: Any) -> None:
    runs = [run(tmp_path / "a", 1, {"afsft": 91}), run(tmp_path / "b", 1, {"afsft": 91}, {setting: value})]
    with pytest.raises(UserError, match=f"cannot be compared: {setting} is .* there and .* here"):
        compare(runs)


def test_tasks_are_the_strata(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", 1, {})
    tasks = [{"env_id": f"t/{name}-v0", "success": won, "low": 0, "high": 1, "episodes": 9} for name, won in
             zip("ABCD", (0.0, 0.5, 0.7, 1.0), strict=True)]  # fmt: skip
    row = Row.from_counts("afsft", successes=5, episodes=10, episode_return=0, syntax=1, seed=1, tasks=tasks)
    write_results(folder / "results.json", [row])
    assert lines(table(compare([folder]), "afsft"))["afsft"][2].startswith("60.0 %"), "of the middle two"


def test_each_task_has_its_own_success_return_and_syntax(tmp_path: Path) -> None:
    for seed in (1, 2):
        folder = run(tmp_path / f"r{seed}", seed, {})
        tasks = [
            {"env_id": "t/A-v0", "success": 0.2 * seed, "return": float(seed), "syntax": 1.0},
            {"env_id": "t/B-v0", "success": 1.0},  # as an earlier version wrote it
        ]
        row = Row.from_counts(
            "afsft", successes=5, episodes=9, episode_return=0, syntax=1, seed=seed, tasks=tasks
        )
        write_results(folder / "results.json", [row])
    found = task_table(compare([tmp_path / "r1", tmp_path / "r2"]))
    # Two seeds, 0.2 and 0.4: mean 0.3, half of the interval 12.706 * 0.1, cut at 0 and 1; return 1.5 +- 6.35.
    assert found[1:] == [
        ("t/A-v0", "afsft", "2", "30.0 % [0.0, 100.0]", "1.50 [-4.85, 7.85]", "100.0 % [100.0, 100.0]"),
        ("t/B-v0", "afsft", "2", "100.0 % [100.0, 100.0]", "", ""),
    ]
    assert task_table(compare([run(tmp_path / "alone", 1, {"afsft": 91})])) == []


def test_what_it_cost_to_reach_a_success(tmp_path: Path) -> None:
    for seed, reached in {1: 0.9, 2: 0.95, 3: 0.5}.items():
        folder = run(tmp_path / f"r{seed}", seed, {})
        curve = [
            {
                "updates": 100 * n,
                "success": success,
                "tokens": 1000 * n,
                "seconds": 60.0 * n * seed,
                "own_turns": n,
            }
            for n, success in ((1, 0.2), (2, reached), (3, 1.0 if seed < 3 else 0.5))
        ]
        rows = [
            Row.from_counts(
                "data", successes=1, episodes=10, episode_return=0, syntax=1, seed=seed, turns=4.0
            ),
            Row.from_counts(
                "afsft", successes=9, episodes=9, episode_return=0, syntax=1, seed=seed, curve=curve
            ),
        ]
        write_results(folder / "results.json", rows)
    arms = compare([tmp_path / f"r{seed}" for seed in (1, 2, 3)])
    # Seeds 1 and 2 reach it at the second evaluation: (2 + 4) / 2 minutes, 2 own turns and 40 of the data.
    assert cost_table(arms, 0.9)[1:] == [("afsft", "2 of 3", "200", "2", "42", "2,000", "3.0")]
    assert cost_table(arms, 1.0)[1][:3] == ("afsft", "2 of 3", "300")
    assert cost_table(compare([tmp_path / "r3"]), 0.9)[1] == ("afsft", "0 of 1", "never", "", "", "", "")
    assert cost_table(compare([run(tmp_path / "older", 1, {"afsft": 91})]), 0.9) == []


def test_faults_are_named(tmp_path: Path) -> None:
    one = run(tmp_path / "a", 1, {"afsft": 91})
    with pytest.raises(UserError, match="has the settings and the seed \\(1\\) of a run before it"):
        compare([one, one])
    with pytest.raises(UserError, match="no row is named 'sft'; there are afsft"):
        table(compare([one]), "sft")
    (one / "config.yaml").write_text(": [")
    with pytest.raises(DataError, match="holds no readable config.yaml"):
        compare([one])
    with pytest.raises(DataError, match="holds no readable config.yaml"):
        compare([tmp_path / "nowhere"])


def test_the_table_and_the_picture_can_be_kept(tmp_path: Path) -> None:
    arms = compare([run(tmp_path / f"r{seed}", seed, {"sft": 40, "afsft": 90 + seed}) for seed in (1, 2)])
    markdown = as_markdown(table(arms, "sft")).splitlines()
    assert markdown[0].startswith("|  | seeds | success |")
    assert {line.count("|") for line in markdown} == {8}
    draw(arms, tmp_path / "arms.png")
    assert (tmp_path / "arms.png").read_bytes().startswith(b"\x89PNG")
