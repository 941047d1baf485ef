"""What can be wrong with recorded episodes, by kind, so that a sentence can be counted as well as read."""

from __future__ import annotations

from enum import StrEnum

from vlmq.api import DataError


class Kind(StrEnum):
    """A kind of damage; its value is how `vlmq data lint` names it."""

    TRUNCATED = "cut short"
    CHECKSUM = "damaged bytes"
    VERSION = "wrong version"
    MISSING_PICTURE = "missing picture"
    PICTURE = "broken picture"
    BOMB = "picture bomb"
    TRAVERSAL = "path that leads out"
    DUPLICATE = "index used twice"
    TOKENIZERS = "mixed tokenizers"
    FIELD = "wrong field"
    NUMBER = "not a number"
    PICKLE = "pickle"
    STRANGE = "strange file"


class Damage(DataError):
    """A DataError that says of which kind it is."""

    def __init__(self, kind: Kind, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def kind_of(error: DataError) -> Kind:
    """The kind of any DataError; one that does not say is about a field."""
    return error.kind if isinstance(error, Damage) else Kind.FIELD
