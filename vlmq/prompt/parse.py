"""Replies to actions: strip the wrapping and the thoughts, and find the one action.

The environment then judges the action itself. A reply in which no action is found is data, not an error: parsing
returns a `ParseError` value, and the agent pays the penalty of an illegal action.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

ReplyFormat = Literal["plain", "tagged", "json"]

_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*?)\n?```\Z", re.DOTALL)
_TAGGED = re.compile(r"\A(.*?)<action>([^<>]*)</action>\Z", re.DOTALL)
_KEYS = {"thoughts", "action"}
_THOUGHTS = re.compile(r'"thoughts"\s*:\s*"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Parsed:
    """An action found in a reply, and the thoughts that came with it."""

    action: str
    thoughts: str = ""


@dataclass(frozen=True)
class ParseError:
    """Why no action was found in a reply."""

    reason: str


@lru_cache(maxsize=8192)
def parse_agent(reply: str, reply_format: ReplyFormat) -> Parsed | ParseError:
    """The action of a reply.

    Args:
        reply: what the agent said, end token excluded.
        reply_format: `plain`: the whole reply is the action; `tagged`: `thoughts <action>...</action>`;
            `json`: one object with the keys "action" (a string) and, if wished, "thoughts".
    """
    text = reply.strip()
    if reply_format == "plain":
        return Parsed(text) if text else ParseError("the reply is empty")
    if reply_format == "tagged":
        match = _TAGGED.match(text)
        if match is None:
            return ParseError("no <action>...</action> ends the reply")
        return Parsed(match[2].strip(), match[1].strip())
    return _parse_json(text)


def thought_span(reply: str, reply_format: ReplyFormat) -> tuple[int, int]:
    """Where the thoughts of a reply stand: first character and the one after the last; (0, 0) without any.

    Of a reply in which no action is found nothing is a thought: all of it failed to say one.

    Args:
        reply: what the agent said, end token excluded.
        reply_format: see `parse_agent`.
    """
    found = parse_agent(reply, reply_format)
    if isinstance(found, ParseError) or not found.thoughts:
        return 0, 0
    if reply_format == "tagged":
        return 0, reply.index("<action>")
    match = _THOUGHTS.search(reply)
    return match.span(1) if match else (0, 0)


def format_reply(action: str, reply_format: ReplyFormat, thoughts: str = "") -> str:
    """The canonical reply that carries this action: `parse_agent` gives the action back."""
    if reply_format == "plain":
        return action
    if reply_format == "tagged":
        return f"{thoughts}<action>{action}</action>"
    fields = {"thoughts": thoughts, "action": action} if thoughts else {"action": action}
    return json.dumps(fields, ensure_ascii=False)


def instruction(reply_format: ReplyFormat, thoughts: bool = False) -> str:
    """What the prompt says of the reply's form; empty for `plain`, which has no place for thoughts."""
    if reply_format == "plain":
        return ""
    return f"Reply: {format_reply('...', reply_format, '...' if thoughts else '')}"


def _parse_json(text: str) -> Parsed | ParseError:
    fenced = _FENCE.match(text)
    try:
        fields = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return ParseError("the reply is not one JSON object")
    if not isinstance(fields, dict):
        return ParseError("the reply is JSON, but not an object")
    if not set(fields) <= _KEYS or "action" not in fields:
        return ParseError(
            f"the reply has the keys {sorted(fields)}; expected 'action' and, if wished, 'thoughts'"
        )
    action, thoughts = fields["action"], fields.get("thoughts", "")
    if not isinstance(action, str) or not isinstance(thoughts, str):
        return ParseError("'action' and 'thoughts' must be strings")
    return Parsed(action.strip(), thoughts)
