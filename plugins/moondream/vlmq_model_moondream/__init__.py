"""Moondream2 for vlmq: `ADAPTER` loads checkpoints of model type `moondream1`, whose code comes with them."""

from __future__ import annotations

from typing import Any

from vlmq.api import ModelAdapter


class _Adapter:
    """Imports torch only when a model is asked for."""

    remote_code = True

    def load_model(self, source: str, *, dtype: str, random_weights: bool) -> Any:
        from vlmq_model_moondream.model import load

        return load(source, dtype=dtype, random_weights=random_weights)

    def load_processor(self, source: str) -> Any:
        from vlmq_model_moondream.prompt import processor

        return processor(source)


ADAPTER: ModelAdapter = _Adapter()

__all__ = ["ADAPTER"]
