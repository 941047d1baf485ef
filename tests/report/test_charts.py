"""The curves of a page: the later log wins, damaged lines are passed over, calibration is what its name says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vlmq.report.charts import MOST_POINTS, Calibration, logged_charts, success_chart
from vlmq.report.plots import Band, Point
from vlmq.report.seen import SeenEpisode

MakeEpisode = Callable[..., SeenEpisode]


def _log(run: Path, version: int, text: str) -> None:
    file = run / "logs" / f"version_{version}" / "metrics.csv"
    file.parent.mkdir(parents=True)
    file.write_text(text)


def test_of_a_resumed_run_the_later_lines_are_drawn(tmp_path: Path) -> None:
    _log(tmp_path, 0, "pass_rate,phase,step\n1.0,0,0\n0.9,0,10\n0.8,1,20\n")
    _log(tmp_path, 2, "pass_rate,phase,step\n0.5,1,20\n")
    _log(tmp_path, 10, "pass_rate,phase,step\n0.25,1,20\n0.125,1,30\n")
    (chart,) = logged_charts(tmp_path, ["warmup", "afsft_online"])
    (series,) = chart.series
    assert list(series.points) == [(0.0, 1.0), (10.0, 0.9), (20.0, 0.25), (30.0, 0.125)]
    assert list(chart.bands) == [Band("warmup", 0, 10), Band("AFSFT online", 20, 30)]


def test_what_is_no_number_is_passed_over(tmp_path: Path) -> None:
    _log(
        tmp_path,
        0,
        "train/actor_loss,phase,step\n1.0,0,0\nnan,0,1\ninf,0,2\n,0,3\nwhat,0,4\n2.0,9,5\n3.0,0\n0.",
    )
    (chart,) = logged_charts(tmp_path, ["warmup"])
    assert list(chart.series[0].points) == [(0.0, 1.0), (5.0, 2.0)]
    assert [band.phase for band in chart.bands] == ["warmup", "9"], "a phase that the configuration lost"


def test_a_run_without_logs_has_no_curves(tmp_path: Path) -> None:
    assert logged_charts(tmp_path, []) == []


def test_long_curves_are_means_of_neighbours(tmp_path: Path) -> None:
    lines = "".join(f"{n % 2},0,{n}\n" for n in range(4 * MOST_POINTS))
    _log(tmp_path, 0, "pass_rate,phase,step\n" + lines)
    (series,) = logged_charts(tmp_path, ["warmup"])[0].series
    assert len(series.points) == MOST_POINTS
    assert list(series.points[:2]) == [(1.5, 0.5), (5.5, 0.5)], "of updates 0 to 3, and 4 to 7"


def test_success_has_a_curve_for_each_phase() -> None:
    points = [Point(100, 0.5, 0.4, 0.6, "warmup"), Point(200, 0.9, 0.8, 1.0, "afsft_offline")]
    chart = success_chart(points, [Band("warmup", 0, 100)], 0.25)
    assert [(one.name, list(one.points)) for one in chart.series] == [
        ("warmup", [(100, 0.5, 0.4, 0.6)]),
        ("AFSFT offline", [(200, 0.9, 0.8, 1.0)]),
    ]
    assert chart.level == (0.25, "the data's own")


def test_calibration_bins_hold_equally_many_replies(make_episode: MakeEpisode) -> None:
    calibration = Calibration()
    # Q of every reply is 0.5 (that of its last token); 30 returns of 0 and 10 of 1 followed
    for observed in [0.0] * 30 + [1.0] * 10:
        calibration.see(make_episode(0.1, -0.1, observed=observed))
    chart = calibration.chart()
    assert chart is not None
    assert chart.diagonal
    (series,) = chart.series
    assert len(series.points) == 4, "ten replies a bin"
    assert {point[0] for point in series.points} == {0.5}
    assert sum(point[1] for point in series.points) / 4 == pytest.approx(0.25)
    assert all(low <= mean <= high for _, mean, low, high in series.points)


@pytest.mark.parametrize("observed", [[0.5] * 19, [None] * 40])
def test_too_few_replies_give_no_calibration(make_episode: MakeEpisode, observed: list[float | None]) -> None:
    calibration = Calibration()
    for one in observed:
        calibration.see(make_episode(0.1, observed=one))
    assert calibration.chart() is None
