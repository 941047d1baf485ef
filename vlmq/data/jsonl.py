"""Episodes as JSON lines: the format people write their own episodes in, and a readable export of a store.

One episode a line, pictures as files beside it; docs/data.md lists the fields. Reading is strict: a field
that is missing, misspelt or of the wrong kind is one sentence naming the file, line, field and mend.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmq.api import DataError, Episode, Observation, Turn
from vlmq.data.damage import Damage, Kind
from vlmq.data.fields import REQUIRED, Fields, parse_object
from vlmq.data.images import content_key
from vlmq.data.pictures import load_picture, save_png

IMPORTED = "imported"
"""The `source` of an imported episode that names none."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def read_jsonl(path: str | Path) -> Iterator[Episode]:
    """The episodes of a JSONL file, in order, read as they are asked for.

    Raises DataError for a file that is not there, and, on reaching it, for the first line that is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"{path}: there is no such file; give the path of a .jsonl file with one episode a line"
        )
    return _read(path)


def write_jsonl(episodes: Iterable[Episode], path: str | Path) -> int:
    """Export episodes to a JSONL file, their pictures as PNG in a folder beside it; returns the episode count.

    `read_jsonl` gives the same episodes back, exactly but for which NaN a NaN is. Raises DataError where the
    file is there already, and for a reward that is not a finite number.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path}: the file is there already; choose another name, or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = path.parent / f"{path.stem}_images"
    temporary = path.with_name(f".{path.name}.new")
    count = 0
    try:
        with open(temporary, "wb") as file:
            for episode in episodes:
                line = json.dumps(_episode_to_json(episode, pictures, count), ensure_ascii=False)
                # A lone surrogate is no UTF-8; the backslash form is its very JSON escape.
                file.write(line.encode("utf-8", "backslashreplace") + b"\n")
                count += 1
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def numbered(path: str | Path) -> Iterator[tuple[str, Episode | DataError]]:
    """Each line that is not blank with its place, as an episode or as what is wrong with it."""
    path = Path(path)
    indices: dict[int, int] = {}
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number}"
            try:
                content = parse_object(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, where)
                if content is None:
                    continue
                episode = _episode(Fields(content, where), path.parent)
                if episode.index >= 0 and indices.setdefault(episode.index, number) != number:
                    raise Damage(
                        Kind.DUPLICATE,
                        f"{where}: index {episode.index} was used on line {indices[episode.index]}; number each"
                        " episode once, or leave the field out",
                    )
            except DataError as error:
                yield where, error
            else:
                yield where, episode


def _read(path: Path) -> Iterator[Episode]:
    for _, found in numbered(path):
        if isinstance(found, DataError):
            raise found
        yield found


def _episode(fields: Fields, folder: Path) -> Episode:
    source = fields.text("source", IMPORTED)
    terminated = fields.flag("terminated", not fields.flag("truncated", False))
    final = fields.object("final")
    env_args = fields.take("env_args", (dict, str), "an object", {})
    episode = Episode(
        env_id=fields.text("env", REQUIRED),
        seed=fields.integer("seed", 0),
        turns=tuple(_turn(turn, folder, source) for turn in fields.objects("turns")),
        final_observation=None if final is None else _final(final, folder),
        terminated=terminated,
        truncated=fields.flag("truncated", not terminated),
        success=fields.flag("success", REQUIRED),
        source=source,
        index=fields.integer("index", -1),
        policy_version=fields.integer("policy_version", -1),
        tokenizer=fields.text("tokenizer", ""),
        env_args=env_args if isinstance(env_args, str) else json.dumps(env_args, sort_keys=True),
    )
    fields.finish()
    return episode


def _final(fields: Fields, folder: Path) -> Observation:
    observation = _observation(fields, folder)
    fields.finish()
    return observation


def _observation(fields: Fields, folder: Path) -> Observation:
    name = fields.text("image", None)
    image = None if name is None else load_picture(folder, name, f"{fields.where}, field 'image'")
    return Observation(fields.text("text", REQUIRED), image)


def _turn(fields: Fields, folder: Path, source: str) -> Turn:
    parsed = fields.flag("parsed", True)
    # One of the two is enough: what was said is what was done, unless the line tells them apart.
    action = fields.text("action", None)
    reply = fields.text("reply", REQUIRED if action is None else action)
    reply_ids = np.array(fields.integers("reply_ids", 0, 2**31 - 1), np.int32)
    turn = Turn(
        observation=_observation(fields, folder),
        reply=reply,
        action=action if action is not None else reply if parsed else "",
        reward=fields.number("reward", 0.0),
        parsed=parsed,
        action_ok=fields.flag("action_ok", True),
        reply_ids=reply_ids,
        logprobs=_logprobs(fields, len(reply_ids)),
        digest=fields.integer("digest", 0, 0, 2**64 - 1),
        source=fields.text("source", source),
    )
    fields.finish()
    return turn


def _logprobs(fields: Fields, num_tokens: int) -> NDArray[np.float32]:
    values = fields.take("logprobs", list, "a list of numbers or nulls", None)
    if values is None:
        return np.full(num_tokens, np.nan, np.float32)
    if len(values) != num_tokens:
        raise fields.error(
            "logprobs", f"has {len(values)} entries for {num_tokens} reply_ids; give one for each"
        )
    return np.array([_logprob(fields, value) for value in values], np.float32)


def _logprob(fields: Fields, value: Any) -> float:
    if value is None or value in ("inf", "-inf"):
        return math.nan if value is None else float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _FLOAT32_MAX:
        raise fields.error("logprobs", f'holds {value!r}; give numbers, null where unknown, or "-inf"')
    return float(value)


def _episode_to_json(episode: Episode, pictures: Path, position: int) -> dict[str, Any]:
    content: dict[str, Any] = {
        "env": episode.env_id,
        "seed": episode.seed,
        "success": episode.success,
        "terminated": episode.terminated,
        "truncated": episode.truncated,
        "source": episode.source,
        "index": episode.index,
        "policy_version": episode.policy_version,
        "tokenizer": episode.tokenizer,
        "env_args": _readable_args(episode.env_args),
        "turns": [],
    }
    for k, turn in enumerate(episode.turns):
        if not math.isfinite(turn.reward):
            raise DataError(
                f"episode {position}, turn {k}: the reward is {turn.reward}, which JSON cannot hold; mend the"
                " environment or the importer that made it"
            )
        line = _observation_to_json(turn.observation, pictures)
        line |= {"reply": turn.reply, "action": turn.action, "reward": turn.reward, "parsed": turn.parsed}
        line |= {"action_ok": turn.action_ok, "digest": turn.digest, "source": turn.source}
        if len(turn.reply_ids):
            line["reply_ids"] = turn.reply_ids.tolist()
            line["logprobs"] = [_readable_number(value) for value in turn.logprobs.tolist()]
        content["turns"].append(line)
    if episode.final_observation is not None:
        content["final"] = _observation_to_json(episode.final_observation, pictures)
    return content


def _observation_to_json(observation: Observation, pictures: Path) -> dict[str, Any]:
    if observation.image is None:
        return {"text": observation.text}
    file = pictures / f"{content_key(observation.image).hex()}.png"
    if not file.exists():
        save_png(file, observation.image)
    return {"text": observation.text, "image": f"{pictures.name}/{file.name}"}


def _readable_args(text: str) -> Any:
    """The object that `text` writes, where reading it back gives the same text; else the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) and json.dumps(value, sort_keys=True) == text else text


def _readable_number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)
