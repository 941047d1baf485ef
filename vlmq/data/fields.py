"""Strict reading of one JSON object: every mistake is one sentence with its place, its field and its mend."""

from __future__ import annotations

import difflib
import json
import sys
from typing import Any

from vlmq.api import DataError

REQUIRED: Any = object()
"""The default of a field that has none."""


class Fields:
    """The fields of one object, taken one by one; `finish` then refuses those that nobody asked for."""

    def __init__(self, content: dict[str, Any], where: str) -> None:
        self.where = where
        self._content = content
        self._known: set[str] = set()

    def take(self, name: str, kinds: type | tuple[type, ...], expected: str, default: Any) -> Any:
        """A value of one of these types, or the default where the field is absent or null."""
        self._known.add(name)
        value = self._content.get(name)
        if value is None:
            if default is REQUIRED:
                raise self._missing(name, expected)
            return default
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise self.error(name, f"is {_shown(value)}; write {expected}")
        return value

    def text(self, name: str, default: Any) -> Any:
        """A string, or the default, which may be None."""
        return self.take(name, str, "text in double quotes", default)

    def flag(self, name: str, default: Any) -> bool:
        """A boolean."""
        return bool(self.take(name, bool, "true or false", default))

    def number(self, name: str, default: Any) -> float:
        """A finite number."""
        value = self.take(name, (int, float), "a number", default)
        if not abs(value) <= sys.float_info.max:
            raise self.error(name, "is too large; write a finite number")
        return float(value)

    def integer(self, name: str, default: Any, low: int = -(2**63), high: int = 2**63 - 1) -> int:
        """A whole number from low to high."""
        value = int(self.take(name, int, "a whole number", default))
        if not low <= value <= high:
            raise self.error(name, f"is {value}; write a whole number from {low} to {high}")
        return value

    def integers(self, name: str, low: int, high: int) -> list[int]:
        """A list of whole numbers from low to high; empty where absent."""
        values: list[Any] = self.take(name, list, "a list of whole numbers", [])
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise self.error(name, f"holds {_shown(value)}; write whole numbers from {low} to {high}")
        return values

    def object(self, name: str) -> Fields | None:
        """The fields of an object; None where it is absent."""
        value = self.take(name, dict, "an object in braces", None)
        return None if value is None else Fields(value, f"{self.where}, {name}")

    def objects(self, name: str) -> list[Fields]:
        """The fields of each object of a list that is not empty."""
        values: list[Any] = self.take(name, list, "a list of objects", REQUIRED)
        if not values:
            raise self.error(name, "is empty; an episode has at least one turn")
        for k, value in enumerate(values):
            if not isinstance(value, dict):
                raise self.error(name, f"holds {_shown(value)} at place {k}; write an object in braces")
        return [Fields(value, f"{self.where}, {name}[{k}]") for k, value in enumerate(values)]

    def finish(self) -> None:
        """Raise DataError for a field that was never asked for: most likely it is misspelt."""
        for name in self._content:
            if name not in self._known:
                near = difflib.get_close_matches(name, self._known, 1)
                hint = (
                    f"did you mean {near[0]!r}?"
                    if near
                    else f"remove it (known: {', '.join(sorted(self._known))})"
                )
                raise DataError(f"{self.where}: there is no field {name!r}; {hint}")

    def error(self, name: str, problem: str) -> DataError:
        """The error to raise for a field that is wrong."""
        return DataError(f"{self.where}: field {name!r} {problem}")

    def _missing(self, name: str, expected: str) -> DataError:
        near = difflib.get_close_matches(name, set(self._content) - self._known, 1)
        hint = f" ({near[0]!r} looks like it)" if near else ""
        return DataError(f"{self.where}: field {name!r} is missing{hint}; add it as {expected}")


def parse_object(line: bytes, where: str) -> dict[str, Any] | None:
    """The object on one line; None for a blank one. NaN, Infinity and a field given twice are refused."""
    try:
        text = line.decode("utf-8")
        if not text.strip():
            return None
        value = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: it is not UTF-8 (byte {error.start}); save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: it is not JSON ({error.msg}, column {error.colno}); write one whole object on"
            " each line"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: {error}; mend the line") from error
    if not isinstance(value, dict):
        raise DataError(
            f"{where}: it holds {_shown(value)}; write one object in braces, the episode, on each line"
        )
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"field {next(n for n in names if names.count(n) > 1)!r} is given twice")
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
