"""A conversation between a user and an assistant as an episode: what most trajectory formats boil down to.

One message of the user, or several in a row, is an observation; the assistant's next message is the reply. What the
system says stands before the first observation. A last message of the user is the final observation.

Rewards: a file that has none gives the last turn 1 where the trajectory succeeded, and all else 0.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmq.api import DataError, Episode, Observation, Turn
from vlmq.data.damage import Damage, kind_of
from vlmq.data.foreign.tally import ActionIn, Choices, LeftOut, Tally
from vlmq.data.pictures import decode_picture, load_picture
from vlmq.prompt.parse import format_reply

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"
PLACEHOLDER = "<image>"

_ROLES = {
    "human": USER, "user": USER, "tool": USER, "observation": USER, "function": USER,
    "gpt": ASSISTANT, "assistant": ASSISTANT, "model": ASSISTANT, "system": SYSTEM, "developer": SYSTEM,
}  # fmt: skip
_ACTION = re.compile(r'"action"\s*:\s*("(?:[^"\\]|\\.)*")')
_THOUGHTS = re.compile(r'"thoughts?"\s*:\s*("(?:[^"\\]|\\.)*")')
_REACT = re.compile(r"(?:\A|\n)\s*(?:Action)\s*:[ \t]*", re.IGNORECASE)
_THOUGHT_LABEL = re.compile(r"\A\s*Thoughts?\s*:\s*", re.IGNORECASE)
_DATA_URI = re.compile(r"\Adata:image/[\w.+-]+;base64,", re.IGNORECASE)


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        role: USER, ASSISTANT or SYSTEM.
        text: what it says.
        pictures: references to its pictures.
        action: what was executed, where that was recorded beside a reply.
    """

    role: str
    text: str
    pictures: tuple[Any, ...] = ()
    action: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a trajectory ended.

    Attributes:
        success: None where the file does not say.
        total: the return; None where the file does not say.
        truncated: whether it was cut.
    """

    success: bool | None = None
    total: float | None = None
    truncated: bool = False


def role_of(name: Any, where: str) -> str:
    """USER, ASSISTANT or SYSTEM for the names that formats give them."""
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise LeftOut("a message of an unknown role", f"{where}: the role {name!r} is not known")
    return role


def episode(
    messages: Sequence[Message],
    outcome: Outcome,
    choices: Choices,
    tally: Tally,
    where: str,
    *,
    env_id: str,
    source: str,
    folder: Path,
    action: ActionIn,
    seed: int = 0,
) -> Episode:
    """The episode of a conversation.

    Args:
        messages: in order.
        outcome: how it ended, as far as the file says.
        choices: what the user says of it; `choices.success` counts only where the file does not say.
        tally: takes the notes.
        where: what a sentence about it begins with.
        env_id: the environment, unless `choices` names one.
        source: the `source` of the episode.
        folder: of the file; pictures lie in it, or in `choices.pictures`.
        action: where this format's actions stand, unless `choices` says.
        seed: of the episode.

    Raises:
        LeftOut: it cannot be used.
    """
    success = outcome.success if outcome.success is not None else choices.success
    if success is None:
        raise LeftOut(
            "it does not say whether it succeeded",
            f"{where}: say --success yes for demonstrations, or --success no for failed attempts",
        )
    root = choices.pictures or folder
    turns: list[Turn] = []
    waiting: list[Message] = []
    for message in messages:
        if message.role != ASSISTANT:
            waiting.append(message)
            continue
        if not waiting:
            raise LeftOut(
                "a reply to nothing", f"{where}: two replies follow each other, or it begins with one"
            )
        observation = _observation(waiting, root, where)
        waiting = []
        turns.append(_turn(observation, message, choices, choices.action or action, tally, source))
    if not turns:
        raise LeftOut("no reply", f"{where}: there is no message of the assistant")
    final = _observation(waiting, root, where) if waiting else None
    total = outcome.total if outcome.total is not None else float(success)
    last = turns[-1]
    turns[-1] = Turn(
        last.observation, last.reply, last.action, total, last.parsed, last.action_ok, source=source
    )
    return Episode(
        env_id=choices.env or env_id, seed=seed, turns=tuple(turns), final_observation=final,
        terminated=not outcome.truncated, truncated=outcome.truncated, success=success, source=source,
    )  # fmt: skip


def with_placeholders(texts: Sequence[tuple[str, str]], pictures: Sequence[Any], where: str) -> list[Message]:
    """Messages from (role, text) whose `<image>` marks stand for the pictures of a list, in order.

    Without any mark the pictures belong to the user's first message, as ms-swift and TRL have it.
    """
    marks = sum(text.count(PLACEHOLDER) for role, text in texts if role == USER)
    if not pictures:
        return [Message(role, text) for role, text in texts]  # "<image>" may be a page's own word
    if marks not in (0, len(pictures)):
        raise LeftOut(
            "pictures and marks do not match",
            f"{where}: {len(pictures)} pictures, and {marks} times {PLACEHOLDER}",
        )
    rest = list(pictures)
    made = []
    for role, text in texts:
        mine: list[Any] = []
        if role == USER:
            count = text.count(PLACEHOLDER) if marks else len(rest)
            mine, rest = rest[:count], rest[count:]
            if marks:
                text = re.sub(rf"\n?{PLACEHOLDER}\n?", "\n", text).strip("\n")
        made.append(Message(role, text, tuple(mine)))
    return made


def find_action(reply: str, where: ActionIn) -> tuple[str, str] | None:
    """The action of a reply and the thoughts before it; None where there is none of that kind."""
    if where in ("json", "auto"):
        matches = list(_ACTION.finditer(reply))
        if matches:
            thoughts = _THOUGHTS.search(reply)
            return _string(matches[-1][1]).strip(), _string(thoughts[1]) if thoughts else ""
    if where in ("react", "auto"):
        labels = list(_REACT.finditer(reply))
        if labels:
            before = _THOUGHT_LABEL.sub("", reply[: labels[-1].start()]).strip()
            return reply[labels[-1].end() :].strip(), before
    if where in ("plain", "auto") and reply.strip():
        return reply.strip(), ""
    return None


def _turn(
    observation: Observation, message: Message, choices: Choices, mode: ActionIn, tally: Tally, source: str
) -> Turn:
    reply = message.text
    found = find_action(reply, mode)
    if message.action is not None:
        found = message.action, found[1] if found else ""
    if found is None or not found[0]:
        tally.notes["replies without an action, which count as unparsed"] += 1
        return Turn(observation, reply, "", 0.0, parsed=False, source=source)
    action, thoughts = found
    if choices.rewrite is not None:
        new = format_reply(action, choices.rewrite, thoughts if choices.rewrite != "plain" else "")
        if new != reply:
            tally.notes[f"replies rewritten as {choices.rewrite}"] += 1
        reply = new
    return Turn(observation, reply, action, 0.0, source=source)


def _observation(messages: Sequence[Message], root: Path, where: str) -> Observation:
    pictures = [picture for message in messages for picture in message.pictures]
    if len(pictures) > 1:
        raise LeftOut(
            "several pictures in one observation",
            f"{where}: {len(pictures)} pictures before one reply; vlmq shows one",
        )
    text = "\n".join(message.text for message in messages if message.text)
    return Observation(text, _picture(pictures[0], root, where) if pictures else None)


def _picture(reference: Any, root: Path, where: str) -> NDArray[np.uint8]:
    """A picture by its path, a data URI, or an object with bytes or a path, as `datasets` writes it."""
    if isinstance(reference, dict):
        reference = reference.get("bytes") or reference.get("path") or reference.get("url")
    try:
        if isinstance(reference, (bytes, bytearray)):
            return decode_picture(bytes(reference), "the picture", where)
        if not isinstance(reference, str) or not reference:
            raise LeftOut(
                "no picture where one is named", f"{where}: a picture is {type(reference).__name__}"
            )
        if re.match(r"https?://", reference, re.IGNORECASE):
            raise LeftOut("a picture on the net", f"{where}: {reference[:80]!r}; fetch it, and give its path")
        if head := _DATA_URI.match(reference):
            return decode_picture(
                base64.b64decode(reference[head.end() :], validate=True), "the picture", where
            )
        return load_picture(root, _relative(reference.removeprefix("file://"), root), where)
    except binascii.Error as error:
        raise LeftOut("broken picture", f"{where}: its base64 is broken ({error})") from error
    except Damage as error:
        raise LeftOut(str(kind_of(error)), str(error)) from error


def _relative(name: str, root: Path) -> str:
    """An absolute path that lies in the folder may be named; any other is for `load_picture` to refuse."""
    path = Path(name)
    if path.is_absolute() and "\0" not in name:
        try:
            return str(path.relative_to(root.resolve()))
        except ValueError:
            return name
    return name


def _string(literal: str) -> str:
    try:
        return str(json.loads(literal, strict=False))
    except ValueError:
        return literal[1:-1]


def number_or_none(value: Any) -> float | None:
    """A finite number of a file, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        return None
    return float(value)


def flag_or_none(value: Any) -> bool | None:
    """True or false of a file, as a boolean or as 1 and 0; or None."""
    return bool(value) if isinstance(value, (bool, int, float)) and value in (0, 1) else None


def wrong_fields(where: str, what: str) -> DataError:
    """The error for a file of another format."""
    return DataError(f"{where}: {what}; name the right format with --from")
