"""The learning curve is a picture of the numbers it was given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmq.report.plots import Band, Point, learning_curve, phase_label

POINTS = [
    Point(0, 0.3, 0.25, 0.35, "warmup"),
    Point(100, 0.4, 0.35, 0.45, "warmup"),
    Point(200, 0.6, 0.55, 0.65, "afsft_offline"),
    Point(400, 0.9, 0.85, 0.95, "afsft_online"),
]


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def _has(pixels: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(pixels - np.array(colour)).max(axis=-1) <= 2).sum())


def test_each_phase_is_drawn_in_its_own_colour(tmp_path: Path) -> None:
    learning_curve(POINTS, tmp_path / "new" / "curve.png", title="a run", data_success=0.5)
    pixels = _pixels(tmp_path / "new" / "curve.png")
    for colour in [(0x7A, 0x85, 0x94), (0xC7, 0x7B, 0x1E), (0x2F, 0x6F, 0xB3)]:
        assert _has(pixels, colour) > 50
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["curve.png"]


def test_a_higher_curve_is_drawn_higher(tmp_path: Path) -> None:
    rows = []
    for name, success in (("low", 0.2), ("high", 0.8)):
        points = [Point(u, success, success - 0.05, success + 0.05, "sft") for u in (0, 50, 100)]
        learning_curve(points, tmp_path / f"{name}.png", title="t")
        found = np.abs(_pixels(tmp_path / f"{name}.png") - np.array((0x7A, 0x85, 0x94))).max(axis=-1) <= 2
        rows.append(np.bincount(np.nonzero(found)[0]).argmax())
    assert rows[0] - rows[1] > 200


def test_the_order_of_points_does_not_matter(tmp_path: Path) -> None:
    learning_curve(POINTS, tmp_path / "a.png", title="t")
    learning_curve(POINTS[::-1], tmp_path / "b.png", title="t")
    assert np.array_equal(_pixels(tmp_path / "a.png"), _pixels(tmp_path / "b.png"))


def test_given_bands_change_the_background(tmp_path: Path) -> None:
    learning_curve(POINTS, tmp_path / "a.png", title="t")
    learning_curve(POINTS, tmp_path / "b.png", title="t", bands=[Band("warmup", 0, 300), Band("x", 300, 400)])
    assert not np.array_equal(_pixels(tmp_path / "a.png"), _pixels(tmp_path / "b.png"))


def test_a_single_point_is_drawn_and_no_point_is_refused(tmp_path: Path) -> None:
    learning_curve(POINTS[:1], tmp_path / "one.png", title="t")
    assert _has(_pixels(tmp_path / "one.png"), (0x7A, 0x85, 0x94)) > 10
    with pytest.raises(ValueError, match="at least one point"):
        learning_curve([], tmp_path / "none.png", title="t")


def test_phases_are_named_for_people() -> None:
    assert phase_label("afsft_offline") == "AFSFT offline"
    assert phase_label("warmup") == "warmup"


def test_importing_plots_does_not_import_matplotlib() -> None:
    code = "import sys, vlmq.report.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
