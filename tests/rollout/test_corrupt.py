"""Garbled replies: they never say what they meant, and the mix of mistakes is what it claims to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlmq.prompt.encode import Encoder
from vlmq.prompt.parse import Parsed, ParseError, ReplyFormat, format_reply, parse_agent
from vlmq.rollout.corrupt import corrupt

FORMATS: tuple[ReplyFormat, ...] = get_args(ReplyFormat)
ACTIONS = st.one_of(
    st.sampled_from(["+", "-", "go to shelf 1", "click(3)", "action", "aa", "well"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1).map(str.strip),
).filter(lambda action: bool(action) and not set(action) & {"<", ">"})


@pytest.fixture(scope="module")
def encoders(tiny_directory: Path) -> dict[ReplyFormat, Encoder]:
    return {name: Encoder.load(tiny_directory, name) for name in FORMATS}


@pytest.mark.parametrize("reply_format", FORMATS)
@settings(max_examples=60, deadline=None)
@given(action=ACTIONS, key=st.tuples(st.integers(0, 9), st.integers(0, 9999), st.integers(0, 9)))
def test_a_garbled_reply_never_parses_to_the_action_it_came_from(
    encoders: dict[ReplyFormat, Encoder], reply_format: ReplyFormat, action: str, key: tuple[int, ...]
) -> None:
    encoder = encoders[reply_format]
    ids = corrupt(action, encoder, key)
    found = parse_agent(encoder.decode(ids), reply_format)
    assert not (isinstance(found, Parsed) and found.action == action)
    if reply_format != "plain":
        assert isinstance(found, ParseError)
    assert ids.tolist() == corrupt(action, encoder, key).tolist()


@pytest.mark.parametrize("reply_format", FORMATS)
def test_a_garbled_reply_ends_like_any_other(
    encoders: dict[ReplyFormat, Encoder], reply_format: ReplyFormat
) -> None:
    encoder = encoders[reply_format]
    for turn in range(50):
        ids = corrupt("go to shelf 1", encoder, (1, 2, turn)).tolist()
        assert ids[-1] == encoder.end_id
        assert encoder.end_id not in ids[:-1]


def _kinds(action: str, encoder: Encoder) -> list[str]:
    return [_kind(corrupt(action, encoder, (3, episode, 0)), action, encoder) for episode in range(800)]


def test_the_four_kinds_of_mistake_are_equally_likely(encoders: dict[ReplyFormat, Encoder]) -> None:
    counts = Counter(_kinds("+", encoders["json"]))
    assert set(counts) == {"swapped", "truncated", "key", "extra"}
    assert min(counts.values()) > 150
    assert max(counts.values()) < 250


@pytest.mark.parametrize("action", ["-", "go to shelf 1"])
def test_the_kind_of_mistake_does_not_depend_on_the_action(
    encoders: dict[ReplyFormat, Encoder], action: str
) -> None:
    assert _kinds(action, encoders["json"]) == _kinds("+", encoders["json"])


def _kind(reply: NDArray[np.int32], action: str, encoder: Encoder) -> str:
    """Which mistake was made, told from the reply alone."""
    clean = format_reply(action, "json")
    ids, body, said = reply.tolist(), encoder.reply(clean).tolist(), encoder.decode(reply)
    if clean in said:
        return "extra"
    if sorted(ids) == sorted(body) and _differences(ids, body) == 2:
        return "swapped"
    if ids[:-1] == body[: len(ids) - 1]:
        return "truncated"
    assert sorted(said) == sorted(clean)
    return "key"


def _differences(one: Iterable[int], other: Iterable[int]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))
