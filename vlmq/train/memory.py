"""Running out of memory, said in a sentence that names what can be made smaller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vlmq.api import UserError

_SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Turn an allocator's failure into the user's sentence; anything else passes.

    Args:
        doing: what needed the memory, as the sentence begins.

    Raises:
        UserError: there was too little memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch.OutOfMemoryError is a RuntimeError; the CPU's allocator raises a plain one.
        if not isinstance(error, MemoryError) and not any(sign in str(error).lower() for sign in _SIGNS):
            raise
        reason = " ".join(str(error).split())
        asked = reason[:160].rstrip(". ") if reason else "the system had no more to give"
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise UserError(
            f"{doing} ran out of memory ({asked}); lower data.batch_size or model.history_pictures, train adapters "
            "(model.lora) with model.freeze_vision true and model.dtype bfloat16, or shrink model.critic, and see what "
            "fits with `vlmq fit --dry-run`."
        ) from error
