"""The content hash of an episode: equal exactly where every field and every pixel is."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from vlmq.api import Episode
from vlmq.data.images import content_key
from vlmq.data.schema import ImageRef, encode


def episode_hash(episode: Episode) -> str:
    """32 hexadecimal digits that tell an episode by all it holds, bit for bit, NaNs included.

    It is the blake2b of the episode's stored record in which each picture is named by its content, so it does not
    depend on which store the episode lies in. Raises DataError for an episode that a store would refuse.
    """
    record, _ = encode(episode, _by_content)
    return hashlib.blake2b(record, digest_size=16).hexdigest()


def _by_content(image: NDArray[np.uint8]) -> ImageRef:
    key = content_key(image)
    return ImageRef(int.from_bytes(key[8:], "little"), 1, int.from_bytes(key[:8], "little"))
