"""The weights of a checkpoint, all of them or none: transformers itself would draw at random what is missing."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoModelForImageTextToText

from vlmq.api import ModelError


def pretrained(name: str, source: str, **options: Any) -> Any:
    """A model with every weight from its checkpoint.

    Args:
        name: as the user calls it.
        source: directory or Hub id.
        options: of `from_pretrained`.

    Raises:
        ModelError: a file is damaged; a weight is missing, or of another size than the configuration says.
    """
    try:
        # Sizes are judged here, where they can be named.
        model, found = AutoModelForImageTextToText.from_pretrained(
            source, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    except Exception as error:  # a damaged file raises errors of many classes
        if (file := _damaged(source)) is not None:
            raise ModelError(
                f"{file} is truncated or damaged; download or copy the checkpoint again."
            ) from error
        if "conversion of the weights" in str(error):
            raise ModelError(
                f"the weights of '{name}' are not those that its config.json says: transformers cannot convert them; "
                "give it the configuration that it was saved with."
            ) from error
        raise
    if wrong := sorted(found["mismatched_keys"]):
        weight, there, expected = wrong[0]
        raise ModelError(
            f"{len(wrong)} weights of '{name}' are of another size than its config.json says: {weight} is "
            f"{tuple(there)}, not {tuple(expected)}; give it the configuration that it was saved with."
        )
    if missing := sorted(found["missing_keys"]):
        raise ModelError(
            f"the checkpoint '{name}' lacks {len(missing)} of the weights that its config.json asks for, {missing[0]} "
            "first; download or copy it again, or give it the configuration that it was saved with."
        )
    return model


def _damaged(source: str) -> Path | None:
    """The first file of weights in a directory that cannot be opened; those of a Hub id are not looked for."""
    for file in sorted(Path(source).glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError):
            return file
    pickled = sorted(Path(source).glob("*.bin"))
    return next((file for file in pickled if not zipfile.is_zipfile(file)), None)
