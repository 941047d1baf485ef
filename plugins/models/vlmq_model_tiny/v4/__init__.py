"""The fourth version: the third, which has learnt to look up on a page what only its letters tell apart."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""The directory that `AutoModelForImageTextToText` and `AutoProcessor` load: `pkg:vlmq_model_tiny.v4`."""

__all__ = ["WEIGHTS"]
