"""Loading the processor of a vision-language model, for text and pictures alone.

Nothing here shows videos, yet many processors cannot be loaded without a library for them. So a processor that takes
videos, too, is loaded without that part: what it makes of text and pictures stays the same, whatever else is installed.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES, processor_class_from_name
from transformers.processing_utils import ProcessorMixin
from transformers.utils import cached_file

from vlmq.api import ModelError, adapter_for

_PROCESSOR, _VIDEO = "processor_config.json", "video_preprocessor_config.json"
_NAMED_IN = (_PROCESSOR, "preprocessor_config.json", "tokenizer_config.json")
"""Files of a model that may say which class its processor is of."""


class _PicturesOnly(ProcessorMixin):  # type: ignore[misc]  # untyped
    """Comes after a processor's own class in the order of resolution: in place of the base it calls."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kept = {name: value for name, value in kwargs.items() if "video" not in name}
        super().__init__(*[part for part in args if part is not None], **kept)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return [name for name in super().get_attributes() if "video" not in name]

    @classmethod
    def from_args_and_dict(cls, args: Any, processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        # Some classes will not be made without something in that part's place.
        given = list(args)
        placed: list[Any] = []
        for name in list(inspect.signature(cls.__init__).parameters)[1:]:
            if "video" in name:
                placed.append(None)
            elif given:
                placed.append(given.pop(0))
            else:
                break
        return super().from_args_and_dict(placed + given, processor_dict, **kwargs)


class _NoVideos:
    """In place of the part, for a class that asks it for its defaults whenever it renders a conversation."""

    num_frames = fps = None


def load(path: str | Path, *, trust_remote_code: bool = False) -> Any:
    """The processor of a model directory or Hub id; pictures are always processed by Pillow.

    Args:
        path: the directory or id.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        OSError, ValueError, KeyError, ImportError: transformers cannot load it, in its words.
        ModelError: an adapter loads it by code that comes with the model, and that may not run.
    """
    kind = str((_said_in(path, "config.json") or {}).get("model_type", ""))
    adapter = adapter_for(kind)
    if adapter is not None:
        if adapter.remote_code and not trust_remote_code:
            raise ModelError(
                f"'{path}' is a {kind} model, whose code comes with it and was not run; if you have read and trust it, "
                "set model.trust_remote_code true."
            )
        return adapter.load_processor(str(path))
    own = _class_of(path, trust_remote_code)
    if own is None or not any("video" in name for name in inspect.signature(own.__init__).parameters):
        return AutoProcessor.from_pretrained(path, backend="pil", trust_remote_code=trust_remote_code)
    return pictures_only(own).from_pretrained(path, backend="pil")


def pictures_only(processor: Any) -> Any:
    """The same processor class without its part for videos: made with None in that part's place."""
    asks = {"video_processor": _NoVideos()} if "apply_chat_template" in vars(processor) else {}
    return type(processor.__name__, (processor, _PicturesOnly), asks)


def reads_conversations(processor: Any) -> bool:
    """Whether it has a way of its own from a conversation to ids: transformers' have, an adapter's has not."""
    return isinstance(processor, ProcessorMixin)


def save(processor: Any, folder: str | Path, source: str | Path) -> None:
    """Write a processor, with the part for videos that `load` left out.

    Args:
        processor: what `load` gave.
        folder: where to.
        source: the directory or Hub id it was loaded from.
    """
    processor.save_pretrained(folder)
    if not isinstance(processor, _PicturesOnly):
        return
    if (videos := _said_in(source, _VIDEO)) is not None:
        _write(Path(folder) / _VIDEO, videos)
    if (part := (_said_in(source, _PROCESSOR) or {}).get("video_processor")) is not None:
        written = Path(folder) / _PROCESSOR
        _write(written, json.loads(written.read_text(encoding="utf-8")) | {"video_processor": part})


def _said_in(source: str | Path, file: str) -> dict[str, Any] | None:
    """What a JSON file of a model directory or Hub id holds, if there is one."""
    found = cached_file(
        source,
        file,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if found is None:
        return None
    said: dict[str, Any] = json.loads(Path(found).read_text(encoding="utf-8"))
    return said


def _write(path: Path, said: dict[str, Any]) -> None:
    path.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _class_of(path: str | Path, trust_remote_code: bool) -> Any:
    """The class among transformers' own, or None: what comes with code of its own is left to `AutoProcessor`."""
    name: str | None = None
    for file in _NAMED_IN:
        said = _said_in(path, file) or {}
        if "AutoProcessor" in said.get("auto_map", {}):
            return None
        name = name or said.get("processor_class")
    if name is None:
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
        name = PROCESSOR_MAPPING_NAMES.get(config.model_type)
    return None if name is None else processor_class_from_name(name)
