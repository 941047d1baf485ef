"""Garbled replies: the fixed mix of mistakes that noisy data carries.

Four kinds, equally likely, chosen by (seed, episode, turn) and never by the state:

1. token swapped: two neighbouring tokens change places;
2. truncated: the reply stops early (its end token stays: it was said so);
3. key misspelt: two letters of the wrapping's key change places;
4. extra text: words stand before or after the reply.

A garbled reply never parses to the action it came from; it is executed as a penalty and a no-op.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vlmq import counter
from vlmq.prompt.encode import Encoder
from vlmq.prompt.parse import Parsed, format_reply, parse_agent

_CORRUPT = counter.purpose("corrupt")
_EXTRA = ("well", "the answer is", "ok", "I think", "done")
_KINDS = 4


def corrupt(action: str, encoder: Encoder, key: tuple[int, ...]) -> NDArray[np.int32]:
    """Ids of a garbled reply that meant `action`, end token included.

    Args:
        action: what the reply would have said.
        encoder: turns text into ids.
        key: counters that name the draw.
    """
    clean = format_reply(action, encoder.reply_format)
    first = int(counter.bits(*key, _CORRUPT) % np.uint64(_KINDS))
    for attempt in range(_KINDS):
        kind = (first + attempt) % _KINDS
        ids = _garble(kind, action, clean, encoder, float(counter.uniform(*key, _CORRUPT, kind)))
        if not _means(encoder.decode(ids), action, encoder):
            return ids
    raise AssertionError("extra text always changes what a reply means")


def _means(reply: str, action: str, encoder: Encoder) -> bool:
    parsed = parse_agent(reply, encoder.reply_format)
    return isinstance(parsed, Parsed) and (encoder.reply_format != "plain" or parsed.action == action)


def _garble(kind: int, action: str, clean: str, encoder: Encoder, draw: float) -> NDArray[np.int32]:
    ids = encoder.reply(clean)
    body = ids[:-1]
    if kind == 0:
        swaps = [_swapped(ids, place) for place in range(len(body) - 1)]
        swaps = [swap for swap in swaps if not _means(encoder.decode(swap), action, encoder)]
        return swaps[int(draw * len(swaps))] if swaps else ids
    if kind == 1:
        keep = int(draw * len(body))
        return np.concatenate([body[:keep], ids[-1:]])
    if kind == 2:
        place = clean.find("action")
        if place < 0:
            return ids
        swap = place + int(draw * 5)
        letters = list(clean)
        letters[swap], letters[swap + 1] = letters[swap + 1], letters[swap]
        return encoder.reply("".join(letters))
    words = _EXTRA[int(draw * len(_EXTRA))]
    return encoder.reply(f"{words} {clean}" if draw * 97 % 1 < 0.5 else f"{clean} {words}")


def _swapped(ids: NDArray[np.int32], place: int) -> NDArray[np.int32]:
    swapped = ids.copy()
    swapped[[place, place + 1]] = swapped[[place + 1, place]]
    return swapped
