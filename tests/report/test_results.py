"""Results survive the file, and the table says what the rows say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vlmq.api import DataError
from vlmq.report.results import Row, format_table, format_tasks, read_results, write_results
from vlmq.report.stats import wilson


def _rows() -> list[Row]:
    return [
        Row.from_counts("random", successes=61, episodes=100, episode_return=-1.25, syntax=1.0, seed=7),
        Row.from_counts(
            "after afsft", successes=195, episodes=200, episode_return=0.9, syntax=0.995, seed=7, updates=1000
        ),
    ]


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "run" / "results.json"
    write_results(path, _rows())
    assert read_results(path) == _rows()


def test_the_file_has_the_documented_keys_and_extras_beside_them(tmp_path: Path) -> None:
    write_results(tmp_path / "r.json", _rows())
    row = json.loads((tmp_path / "r.json").read_text())["rows"][1]
    assert row == {
        "name": "after afsft",
        "success": 0.975,
        "low": wilson(195, 200).low,
        "high": wilson(195, 200).high,
        "return": 0.9,
        "syntax": 0.995,
        "episodes": 200,
        "seed": 7,
        "updates": 1000,
    }


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, _rows())
    before = path.read_bytes()
    unwritable = Row("x", 0.5, 0.4, 0.6, 0.0, 1.0, 10, 0, {"what": object()})
    with pytest.raises(TypeError):
        write_results(path, [unwritable])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "vlmq validate"), ("{", "not a results file"), ("{}", "'rows'"), ('{"rows": [{}]}', "'name'")],
)
def test_an_unreadable_file_is_one_clear_sentence(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_results(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rate_in_percent_is_refused() -> None:
    with pytest.raises(ValueError, match="success is 97.5"):
        Row("x", 97.5, 0, 1, 0.0, 1.0, 10, 0)


def test_a_nan_return_is_refused() -> None:
    with pytest.raises(ValueError, match="return is nan"):
        Row("x", 0.5, 0, 1, float("nan"), 1.0, 10, 0)


def test_extras_cannot_shadow_a_field() -> None:
    with pytest.raises(ValueError, match="may not be named return"):
        Row("x", 0.5, 0, 1, 0.0, 1.0, 10, 0, {"return": 3})


def test_the_table_is_aligned_and_in_percent() -> None:
    low, high = wilson(195, 200).low, wilson(195, 200).high
    lines = format_table(_rows()).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert lines[3].split("  ")[0] == "after afsft"
    assert "97.5 %" in lines[3]
    assert f"{100 * low:.1f} - {100 * high:.1f}" in lines[3]


def test_tasks_are_a_table_of_their_own_where_there_are_several() -> None:
    def tasks(*successes: float) -> list[dict[str, object]]:
        return [
            {
                "env_id": f"toy/{name}-v0",
                "success": success,
                "low": success - 0.1,
                "high": 1.0,
                "episodes": 10,
            }
            for name, success in zip("AB", successes, strict=False)
        ]

    rows = [
        Row.from_counts(name, successes=5, episodes=10, episode_return=0.0, syntax=1.0, seed=1, **extras)
        for name, extras in {
            "data": {},
            "sft": {"tasks": tasks(0.5, 0.79)},
            "afsft": {"tasks": tasks(0.8)},
        }.items()
    ]
    lines = [line.split("  ") for line in format_tasks(rows).splitlines()]
    assert [[cell.strip() for cell in line if cell.strip()] for line in lines] == [
        ["task", "sft", "afsft"],
        ["-" * 14, "-" * 17, "-" * 17],
        ["toy/A-v0", "50.0 % (40 - 100)", "80.0 % (70 - 100)"],
        ["toy/B-v0", "79.0 % (69 - 100)"],
        ["80.0 % or more", "0 of 2", "1 of 2"],
    ]
    assert format_tasks(rows[:1]) == ""
