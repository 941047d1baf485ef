"""The picture file of an episode store: every distinct picture once, found by its content hash.

A record is a fixed header and the pixels: as they are up to 64 KiB, else zlib level 1 where that is smaller.

    header   magic "VQIM", height, width, bytes stored, codec (0 raw, 1 zlib), 16-byte blake2b of shape and
             pixels, crc32 of the header so far
    pixels
    trailer  crc32 of all before it
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from vlmq.data.damage import Damage, Kind
from vlmq.data.schema import CRC_OF_INTACT, MAX_PIXELS, ImageRef

_MAGIC = b"VQIM"
_FIELDS = struct.Struct("<4sIIIB7x16s")
_CRC = struct.Struct("<I")
_SHAPE = struct.Struct("<4xIIIB7xQ")  # the fields that a read needs
IMAGE_HEADER_BYTES = _FIELDS.size + _CRC.size

_RAW, _ZLIB = 0, 1
_RAW_UP_TO_BYTES = 64 * 1024


def content_key(image: NDArray[np.uint8]) -> bytes:
    """16 bytes that name a picture by its shape and pixels."""
    pixels = np.ascontiguousarray(image)
    digest = hashlib.blake2b(struct.pack("<II", image.shape[0], image.shape[1]), digest_size=16)
    digest.update(pixels.data)
    return digest.digest()


def short_key(key: bytes) -> int:
    """The part of a content key that an episode record repeats."""
    return int.from_bytes(key[:8], "little")


def encode_image(image: NDArray[np.uint8], key: bytes) -> tuple[list[bytes | memoryview], int]:
    """The record of a picture in pieces to be joined, and the bytes that follow its header."""
    stored: bytes | memoryview = np.ascontiguousarray(image).reshape(-1).data
    codec = _RAW
    if len(stored) > _RAW_UP_TO_BYTES:
        packed = zlib.compress(stored, 1)
        if len(packed) < len(stored):
            stored, codec = packed, _ZLIB
    fields = _FIELDS.pack(_MAGIC, image.shape[0], image.shape[1], len(stored), codec, key)
    header = fields + _CRC.pack(zlib.crc32(fields))
    trailer = _CRC.pack(zlib.crc32(stored, zlib.crc32(header)))
    return [header, stored, trailer], len(stored) + len(trailer)


def parse_image_header(header: bytes) -> tuple[bytes, int] | None:
    """The content key and the bytes that follow a picture's header; None where it is damaged."""
    magic, _, _, length, _, key = _FIELDS.unpack_from(header)
    (crc,) = _CRC.unpack_from(header, _FIELDS.size)
    intact = magic == _MAGIC and zlib.crc32(header[: _FIELDS.size]) == crc
    return (key, length + _CRC.size) if intact else None


class NewImages:
    """The pictures of one append: those already stored are referred to, the others get the next places."""

    def __init__(self, stored: dict[bytes, ImageRef], end: int) -> None:
        self._stored = stored
        self.end = end
        self.found: dict[bytes, ImageRef] = {}
        self.pieces: list[bytes | memoryview] = []

    def place(self, image: NDArray[np.uint8]) -> ImageRef:
        """Where this picture is, or will be once `pieces` are written at the end of the file."""
        key = content_key(image)
        ref = self._stored.get(key) or self.found.get(key)
        if ref is None:
            pieces, length = encode_image(image, key)
            ref = ImageRef(self.end, length, short_key(key))
            self.found[key] = ref
            self.pieces += pieces
            self.end += IMAGE_HEADER_BYTES + length
        return ref


class ImageReader:
    """Reads pictures from an open file; safe from several threads."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path

    def __call__(self, ref: ImageRef) -> NDArray[np.uint8]:
        """The picture, read-only; raises DataError where it is missing, damaged or too large."""
        offset, length, _ = ref
        record = os.pread(self._fd, IMAGE_HEADER_BYTES + length, offset)
        if len(record) != IMAGE_HEADER_BYTES + length or zlib.crc32(record) != CRC_OF_INTACT:
            raise self._broken(offset)
        return self._decoded(record, ref)

    def blank(self, ref: ImageRef) -> NDArray[np.uint8]:
        """A black picture of the same shape, which takes no memory: only the header is read."""
        header = os.pread(self._fd, IMAGE_HEADER_BYTES, ref.offset)
        parsed = parse_image_header(header) if len(header) == IMAGE_HEADER_BYTES else None
        if parsed is None or short_key(parsed[0]) != ref.key:
            raise self._broken(ref.offset)
        height, width, *_ = _SHAPE.unpack_from(header)
        return np.broadcast_to(np.uint8(0), (height, width, 3))

    def _decoded(self, record: bytes, ref: ImageRef) -> NDArray[np.uint8]:
        height, width, stored, codec, key = _SHAPE.unpack_from(record)
        size = height * width * 3
        if height * width > MAX_PIXELS:
            raise Damage(
                Kind.BOMB,
                f"{self._path}: a picture (byte {ref.offset}) says that it is {width} x {height}, the most is"
                f" {MAX_PIXELS} pixels; keep the other episodes with vlmq.data.salvage",
            )
        pixels: bytes | memoryview = memoryview(record)[IMAGE_HEADER_BYTES : IMAGE_HEADER_BYTES + stored]
        if codec == _ZLIB:
            try:
                # never more than the header says, however much is packed into it
                pixels = zlib.decompressobj().decompress(pixels, size + 1)
            except zlib.error:
                pixels = b""
        if key != ref.key or codec not in (_RAW, _ZLIB) or len(pixels) != size:
            raise self._broken(ref.offset)
        image = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
        image.flags.writeable = False
        return image

    def _broken(self, offset: int) -> Damage:
        end = os.fstat(self._fd).st_size
        return Damage(
            Kind.MISSING_PICTURE if offset >= end else Kind.CHECKSUM,
            f"{self._path}: a picture is missing or damaged (byte {offset}); restore the file from a copy, or keep"
            " the undamaged episodes with vlmq.data.salvage",
        )
