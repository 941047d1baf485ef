"""The third version: the second's eyes, and 1.1 M parameters of text side that know what a list does not hold."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""The directory that `AutoModelForImageTextToText` and `AutoProcessor` load: `pkg:vlmq_model_tiny.v3`."""

__all__ = ["WEIGHTS"]
