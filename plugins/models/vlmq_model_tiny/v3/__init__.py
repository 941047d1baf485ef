"""The third version: the second's eyes, trained on, and 1.1 M parameters of text that know what is not in a list."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""The directory that `AutoModelForImageTextToText` and `AutoProcessor` load: `pkg:vlmq_model_tiny.v3`."""

__all__ = ["WEIGHTS"]
