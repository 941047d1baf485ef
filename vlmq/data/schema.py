"""The bytes of one stored episode: the record layout, its table row, encoding, decoding and validation.

A record is a fixed header, a body and a trailer. All numbers are little-endian, all text is UTF-8 (lone
surrogates included), nothing is pickled.

    header   magic "VQEP", bytes that follow the header, the table row, crc32 of the header so far
    body     prelude: byte lengths of four episode texts, number of turn rows, number of tokens, bytes of text
             turn rows: one per turn, and one more for the final observation where there is one
             int32 reply ids of all turns, float32 log-probabilities of all turns
             texts: env_id, source, tokenizer, env_args, then text, reply, action, source of each turn row
    trailer  crc32 of all before it

The table row sits in the header, so that a store opens by hopping from header to header. Every part has a
place that the rows tell, so that a slice of turns is read without touching the others.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmq.api import DataError, Episode, Observation, Turn

SCHEMA_VERSION = 1
"""Version of the layout. A reader refuses a newer one and must go on reading every older one."""

TABLE_DTYPE = np.dtype(
    [
        ("index", "<i8"),
        ("seed", "<i8"),
        ("policy_version", "<i8"),
        ("episode_return", "<f8"),
        ("num_turns", "<i4"),
        ("num_valid", "<i4"),
        ("num_tokens", "<i4"),
        ("num_images", "<i4"),
        ("success", "?"),
        ("terminated", "?"),
        ("truncated", "?"),
        ("has_final", "?"),
    ]
)
"""One row per episode. `num_valid` counts turns whose reply parsed and was legal, `num_tokens` stored reply
tokens, `num_images` observations with a picture; `has_final` says whether the final observation is there."""


MAX_PIXELS = 4096 * 4096
"""The most pixels of one picture: what is larger is taken for a bomb, and neither stored nor decoded."""


class ImageRef(NamedTuple):
    """Where a picture lies in the image file.

    Attributes:
        offset: byte at which its record starts.
        length: bytes of its record after the header; 0 stands for "no picture".
        key: first 8 bytes of its content hash, so that a wrong picture is never taken for the right one.
    """

    offset: int
    length: int
    key: int


NO_IMAGE = ImageRef(0, 0, 0)

MAGIC = b"VQEP"
_FRONT = struct.Struct("<4s4xQ")
_ROW = struct.Struct("<qqqdiiii????")  # TABLE_DTYPE
_NUM_TURNS = struct.Struct("<32xi")  # within a row
_CRC = struct.Struct("<I")
HEADER_BYTES = _FRONT.size + _ROW.size + _CRC.size
CRC_OF_INTACT = 0x2144DF1C
"""crc32 of any bytes followed by their own crc32, so that one call checks a whole record."""

_PRELUDE = struct.Struct("<IIIIIIQ")
_TURN = struct.Struct("<dQQQIIIIIIIIB7x")
_PARSED, _ACTION_OK = 1, 2
_INT32, _FLOAT32 = np.dtype("<i4"), np.dtype("<f4")
_MAX_BODY_BYTES = 2**31 - 1

assert _ROW.size == TABLE_DTYPE.itemsize
assert (HEADER_BYTES + _PRELUDE.size) % 8 == _TURN.size % 8 == 0  # so that the arrays are aligned


def encode(episode: Episode, place: Callable[[NDArray[np.uint8]], ImageRef]) -> tuple[bytes, bytes]:
    """The record of an episode and its table row; `place` tells where each of its pictures is stored.

    Raises DataError, naming the field, for an episode that does not keep to `vlmq.api.Episode`.
    """
    _check_episode(episode)
    blob = bytearray()
    lengths = [_put(blob, text) for text in _episode_texts(episode)]
    rows: list[bytes] = []
    ids: list[NDArray[np.int32]] = []
    logprobs: list[NDArray[np.float32]] = []
    num_tokens = num_images = 0
    for turn in episode.turns:
        ref = NO_IMAGE if turn.observation.image is None else place(turn.observation.image)
        num_images += ref.length > 0
        start, count = len(blob), len(turn.reply_ids)
        sizes = [_put(blob, t) for t in (turn.observation.text, turn.reply, turn.action, turn.source)]
        flags = _PARSED * bool(turn.parsed) | _ACTION_OK * bool(turn.action_ok)
        rows.append(
            _TURN.pack(turn.reward, turn.digest, ref.offset, ref.key, ref.length, num_tokens, count, start,
                       *sizes, flags)
        )  # fmt: skip
        ids.append(turn.reply_ids)
        logprobs.append(turn.logprobs)
        num_tokens += count
    final = episode.final_observation
    if final is not None:
        ref = NO_IMAGE if final.image is None else place(final.image)
        num_images += ref.length > 0
        start = len(blob)
        rows.append(_TURN.pack(0.0, 0, ref.offset, ref.key, ref.length, num_tokens, 0, start,
                               _put(blob, final.text), 0, 0, 0, 0))  # fmt: skip
    prelude = _PRELUDE.pack(*lengths, len(rows), num_tokens, len(blob))
    arrays = [np.ascontiguousarray(a, dtype=_INT32).tobytes() for a in ids]
    arrays += [np.ascontiguousarray(a, dtype=_FLOAT32).tobytes() for a in logprobs]
    body = b"".join([prelude, *rows, *arrays, bytes(blob)])
    if len(body) > _MAX_BODY_BYTES:
        raise DataError(f"{_name(episode)}: it takes {len(body)} bytes, more than 2 GiB; split it")
    row = _ROW.pack(
        episode.index, episode.seed, episode.policy_version, episode.episode_return, episode.num_turns,
        sum(turn.valid for turn in episode.turns), num_tokens, num_images,
        episode.success, episode.terminated, episode.truncated, final is not None,
    )  # fmt: skip
    header = _FRONT.pack(MAGIC, len(body) + _CRC.size) + row
    record = b"".join([header, _CRC.pack(zlib.crc32(header)), body])
    return record + _CRC.pack(zlib.crc32(record)), row


def parse_header(header: bytes) -> tuple[bytes, int] | None:
    """The table row and the bytes that follow a record's header; None where it is damaged."""
    magic, length = _FRONT.unpack_from(header)
    (crc,) = _CRC.unpack_from(header, HEADER_BYTES - _CRC.size)
    if magic != MAGIC or zlib.crc32(header[: -_CRC.size]) != crc:
        return None
    return header[_FRONT.size : _FRONT.size + _ROW.size], length


def is_intact(record: bytes) -> bool:
    """Whether the bytes of a whole record agree with its checksum."""
    return zlib.crc32(record) == CRC_OF_INTACT


class Record:
    """An intact record, decoded turn by turn on request. Its arrays are read-only views of its bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        (self.num_turns,) = _NUM_TURNS.unpack_from(data, _FRONT.size)
        *lengths, self._num_rows, self._num_tokens, _ = _PRELUDE.unpack_from(data, HEADER_BYTES)
        self._lengths = lengths
        self._rows_at = HEADER_BYTES + _PRELUDE.size
        self._ids_at = self._rows_at + self._num_rows * _TURN.size
        self._logprobs_at = self._ids_at + 4 * self._num_tokens
        self._texts_at = self._logprobs_at + 4 * self._num_tokens

    def turns(
        self, start: int, stop: int, load: Callable[[ImageRef], NDArray[np.uint8]]
    ) -> tuple[tuple[Turn, ...], Observation | None]:
        """Turns start..stop-1 and the observation that follows them; `load` decodes a picture."""
        turns = tuple(self._turn(row, load) for row in range(start, stop))
        return turns, self._observation(stop, load) if stop < self._num_rows else None

    def episode(self, load: Callable[[ImageRef], NDArray[np.uint8]]) -> Episode:
        """The whole episode."""
        index, seed, version, *_, success, terminated, truncated, _ = _ROW.unpack_from(
            self._data, _FRONT.size
        )
        turns, final = self.turns(0, self.num_turns, load)
        texts, at = [], 0
        for length in self._lengths:
            texts.append(self._text(at, length))
            at += length
        env_id, source, tokenizer, env_args = texts
        return Episode(
            env_id=env_id, seed=seed, turns=turns, final_observation=final, terminated=terminated,
            truncated=truncated, success=success, source=source, index=index, policy_version=version,
            tokenizer=tokenizer, env_args=env_args,
        )  # fmt: skip

    def image_refs(self) -> list[ImageRef]:
        """Where the pictures of its observations are, in order, those without a picture left out."""
        found = []
        for row in range(self._num_rows):
            _, _, offset, key, length, *_ = _TURN.unpack_from(self._data, self._rows_at + row * _TURN.size)
            if length:
                found.append(ImageRef(offset, length, key))
        return found

    def _turn(self, row: int, load: Callable[[ImageRef], NDArray[np.uint8]]) -> Turn:
        (reward, digest, offset, key, length, first, count, at, text, reply, action, source, flags) = (
            _TURN.unpack_from(self._data, self._rows_at + row * _TURN.size)
        )
        image = load(ImageRef(offset, length, key)) if length else None
        return Turn(
            observation=Observation(self._text(at, text), image),
            reply=self._text(at + text, reply),
            action=self._text(at + text + reply, action),
            reward=reward,
            parsed=bool(flags & _PARSED),
            action_ok=bool(flags & _ACTION_OK),
            reply_ids=np.frombuffer(self._data, _INT32, count, self._ids_at + 4 * first),
            logprobs=np.frombuffer(self._data, _FLOAT32, count, self._logprobs_at + 4 * first),
            digest=digest,
            source=self._text(at + text + reply + action, source),
        )

    def _observation(self, row: int, load: Callable[[ImageRef], NDArray[np.uint8]]) -> Observation:
        _, _, offset, key, length, _, _, at, text, *_ = _TURN.unpack_from(
            self._data, self._rows_at + row * _TURN.size
        )
        image = load(ImageRef(offset, length, key)) if length else None
        return Observation(self._text(at, text), image)

    def _text(self, at: int, length: int) -> str:
        start = self._texts_at + at
        return self._data[start : start + length].decode("utf-8", "surrogatepass")


def _episode_texts(episode: Episode) -> tuple[str, str, str, str]:
    return episode.env_id, episode.source, episode.tokenizer, episode.env_args


def _put(blob: bytearray, text: str) -> int:
    encoded = text.encode("utf-8", "surrogatepass")
    blob += encoded
    return len(encoded)


def _name(episode: Episode) -> str:
    return f"episode of {episode.env_id!r} (index {episode.index}, seed {episode.seed})"


def _check_episode(episode: Episode) -> None:
    """Refuse what would not come back the same, with one sentence that names the field."""
    name = _name(episode)
    if not episode.turns:
        raise DataError(f"{name}: it has no turns; an episode holds at least one")
    for field, number in (
        ("seed", episode.seed),
        ("index", episode.index),
        ("policy_version", episode.policy_version),
    ):
        if not isinstance(number, (int, np.integer)) or not -(2**63) <= number < 2**63:
            raise DataError(f"{name}: {field} is {number}; expected an integer that fits in 64 signed bits")
    for field in ("env_id", "source", "tokenizer", "env_args"):
        text = getattr(episode, field)
        if not isinstance(text, str):
            raise DataError(f"{name}: {field} is a {type(text).__name__}; expected text")
    for k, turn in enumerate(episode.turns):
        _check_turn(f"{name}, turn {k}", turn)
    if episode.final_observation is not None:
        _check_observation(f"{name}, final observation", episode.final_observation)


def _check_turn(name: str, turn: Turn) -> None:
    _check_observation(name, turn.observation)
    for field, text in (("reply", turn.reply), ("action", turn.action), ("source", turn.source)):
        if not isinstance(text, str):
            raise DataError(f"{name}: {field} is a {type(text).__name__}; expected text")
    _check_array(name, "reply_ids", turn.reply_ids, np.int32)
    _check_array(name, "logprobs", turn.logprobs, np.float32)
    if turn.reply_ids.shape != turn.logprobs.shape:
        raise DataError(
            f"{name}: {len(turn.reply_ids)} reply_ids but {len(turn.logprobs)} logprobs; give one for each"
            " token, NaN where it is not known"
        )
    if not 0 <= turn.digest < 2**64:
        raise DataError(f"{name}: digest is {turn.digest}; expected an unsigned 64-bit integer")


def _check_array(name: str, field: str, value: Any, dtype: type[np.generic]) -> None:
    if not isinstance(value, np.ndarray) or value.dtype != np.dtype(dtype) or value.ndim != 1:
        what = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise DataError(f"{name}: {field} is {what}; expected {np.dtype(dtype)} (n,)")


def _check_observation(name: str, observation: Observation) -> None:
    if not isinstance(observation.text, str):
        raise DataError(f"{name}: its text is a {type(observation.text).__name__}; expected text")
    image = observation.image
    if image is None:
        return
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"{name}: image is {what}; expected uint8 (H, W, 3)")
    if image.size == 0:
        raise DataError(f"{name}: image is empty, shape {image.shape}; give None where there is no picture")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise DataError(
            f"{name}: image is {image.shape[1]} x {image.shape[0]}, the most is {MAX_PIXELS} pixels; shrink it in"
            " the env"
        )
