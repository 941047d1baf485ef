"""The second version: 1.4 M parameters that know household things, grids, plans, widgets, and commands."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""The directory that `AutoModelForImageTextToText` and `AutoProcessor` load: `pkg:vlmq_model_tiny.v2`."""

__all__ = ["WEIGHTS"]
