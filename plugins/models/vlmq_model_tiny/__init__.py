"""A tiny vision-language model that sees and answers: its weights, and the curriculum that taught it."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""The directory that `AutoModelForImageTextToText` and `AutoProcessor` load: `pkg:vlmq_model_tiny`."""

__all__ = ["WEIGHTS"]
