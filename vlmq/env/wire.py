"""Messages between an environment server and its clients: length-prefixed JSON, and a PNG where there is a picture.

    header   magic "VQEN", bytes of JSON, bytes of PNG (big-endian, 4 bytes each)
    JSON     one object
    PNG      those rows of the picture that have changed since the last, or nothing

Nothing of a message is ever executed. Sizes are looked at before anything is read, and every wait has an end.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import math
import select
import socket
import struct
import time
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 2
MOST_REQUEST_BYTES = 64 * 1024
"""Of JSON from a client; a longer action has its own room."""
MOST_ANSWER_BYTES = 16 * 2**20
MOST_PICTURE_BYTES = 64 * 2**20
MOST_PIXELS = 4096 * 4096
HELLO_TIMEOUT_S = 10.0
"""For everything up to the proof that the client knows the token."""

_RAW_UP_TO_BYTES = 64 * 1024
_HEADER = struct.Struct(">4sII")
_MAGIC = b"VQEN"
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}
"""A peer that is cut off without a word is noticed within about a minute."""


class Malformed(Exception):
    """A message that is none, or is too long. Ours; its text says which."""


class Link:
    """One end of a connection.

    Args:
        sock: connected; the link takes it over.
        timeout_s: longest wait for the peer in the middle of a message.
    """

    def __init__(self, sock: socket.socket, timeout_s: float = 30.0) -> None:
        self._socket = sock
        # The system's own limits, set once: Python's cost three more calls of the system for each of ours.
        sock.settimeout(None)
        limit = struct.pack("ll", int(timeout_s), int(timeout_s % 1 * 1e6))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE.items():
                if hasattr(socket, name):  # Linux has all of them
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def fileno(self) -> int:
        """For waiting on several."""
        return self._socket.fileno()

    def send(self, message: dict[str, Any], png: bytes = b"") -> None:
        """Send one message; raises OSError where the peer is gone or takes nothing in."""
        text = _encode(message).encode("ascii")
        try:
            self._socket.sendall(_HEADER.pack(_MAGIC, len(text), len(png)) + text + png)
        except BlockingIOError as error:
            raise TimeoutError("the other end takes nothing in") from error

    def wait(self, deadline: float) -> bool:
        """Whether something has come, or the peer is gone; awaited until `deadline` (monotonic seconds)."""
        left_s = deadline - time.monotonic()
        return bool(self._poll.poll(None if math.isinf(left_s) else max(0.0, left_s) * 1e3))

    def receive(
        self, *, deadline: float, most: int, most_png: int = 0, message_s: float = 30.0
    ) -> tuple[dict[str, Any], bytes]:
        """The next message, its first byte awaited until `deadline` (monotonic seconds), the rest for `message_s`.

        Args:
            deadline: of the first byte.
            most: bytes of JSON that are taken.
            most_png: bytes of PNG that are taken.
            message_s: for the whole message, once it has begun.

        Raises:
            Malformed: it is no message of this protocol, or too long.
            OSError: the peer is gone, or the time is up (`TimeoutError`).
        """
        if not self.wait(deadline):
            raise TimeoutError("nothing came in time")
        deadline = time.monotonic() + message_s
        magic, length, png_length = _HEADER.unpack(self._read(_HEADER.size, deadline))
        if magic != _MAGIC:
            raise Malformed("this is no message of a vlmq environment server")
        if length > most or png_length > most_png:
            raise Malformed(
                f"a message of {length:,} + {png_length:,} bytes is longer than the {most:,} + {most_png:,} allowed"
            )
        content = self._read(length + png_length, deadline)
        try:
            message = json.loads(content[:length].decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise Malformed("a message that is no JSON") from error
        if not isinstance(message, dict):
            raise Malformed("a message that is no JSON object")
        return message, content[length:]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _read(self, count: int, deadline: float) -> bytes:
        parts, left = [], count
        while left:
            try:
                part = self._socket.recv(min(left, 1 << 20))
            except BlockingIOError as error:
                raise TimeoutError("it stopped in the middle of a message") from error
            if not part:
                raise ConnectionResetError("the connection was closed")
            parts.append(part)
            left -= len(part)
            if left and time.monotonic() > deadline:
                raise TimeoutError("a message came too slowly")
        return b"".join(parts)


def proof(token: str, nonce: str) -> str:
    """Shows that one knows the token, without sending it."""
    return hmac.new(token.encode(), nonce.encode(), hashlib.sha256).hexdigest()


def to_png(image: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, 3), lossless; small ones as they are, larger ones packed quickly.

    Pillow's encoder looks for the best filter of each row, and takes 15 times as long over a small picture.
    """
    height, width, _ = image.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = image.reshape(height, -1)
    packed = zlib.compress(rows.data, 0 if rows.size <= _RAW_UP_TO_BYTES else 1)
    return _head(height, width) + _chunk(b"IDAT", packed) + _END


def from_png(png: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The picture back; it is not decoded unless it has the size that was promised.

    Raises:
        Malformed: it is no picture, or one of another size.
    """
    plain = _from_plain(png, shape)
    if plain is not None:
        return plain
    from PIL import Image  # not before it is needed: most pictures are those of `to_png`

    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if (image.height, image.width, 3) != shape or image.mode != "RGB":
                raise Malformed(
                    f"a picture of {image.width} x {image.height} {image.mode}, not the promised one"
                )
            return np.array(image, np.uint8)
    except (OSError, ValueError, SyntaxError) as error:
        raise Malformed(f"a picture that cannot be read ({error})") from error


def _from_plain(png: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8] | None:
    """The picture of `to_png`, read in a quarter of Pillow's time; None where it is anything else, or damaged."""
    height, width, _ = shape
    head = _head(height, width)
    packed = png[len(head) + 8 : -len(_END) - 4]
    if png[: len(head)] != head or png[len(head) :] != _chunk(b"IDAT", packed) + _END:
        return None
    size = height * (1 + 3 * width)
    try:
        content = zlib.decompressobj().decompress(packed, size + 1)
    except zlib.error:
        return None
    if len(content) != size:
        return None
    rows = np.frombuffer(content, np.uint8).reshape(height, -1)
    return None if rows[:, 0].any() else rows[:, 1:].reshape(shape)


def _head(height: int, width: int) -> bytes:
    """A PNG's beginning: 8 bits, RGB, nothing interlaced."""
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


_END = _chunk(b"IEND", b"")
