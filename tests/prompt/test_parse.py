"""Replies to actions: what is formatted parses back, and what is garbled is a value, never an exception."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmq.prompt.parse import (
    Parsed,
    ParseError,
    ReplyFormat,
    format_reply,
    instruction,
    parse_agent,
    thought_span,
)

FORMATS: tuple[ReplyFormat, ...] = get_args(ReplyFormat)
ACTIONS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)


@pytest.mark.parametrize("reply_format", FORMATS)
@given(action=ACTIONS)
def test_a_formatted_action_parses_back(reply_format: ReplyFormat, action: str) -> None:
    if reply_format == "tagged":
        action = action.replace("<", "(").replace(">", ")")
    assert parse_agent(format_reply(action, reply_format), reply_format) == Parsed(action)


@pytest.mark.parametrize("reply_format", ["tagged", "json"])
def test_thoughts_are_kept_apart_from_the_action(reply_format: ReplyFormat) -> None:
    reply = format_reply("+", reply_format, thoughts='5 > 3, so "more"')
    assert parse_agent(reply, reply_format) == Parsed("+", '5 > 3, so "more"')


@pytest.mark.parametrize("reply_format", FORMATS)
@given(reply=st.text())
def test_any_text_gives_a_value(reply_format: ReplyFormat, reply: str) -> None:
    assert isinstance(parse_agent(reply, reply_format), (Parsed, ParseError))


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["action", "thoughts", "x"]), st.none() | st.floats() | st.text()))
def test_any_json_gives_a_value(fields: dict[str, object]) -> None:
    found = parse_agent(json.dumps(fields), "json")
    if isinstance(found, Parsed):
        assert str(fields["action"]).strip() == found.action


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "not one JSON object"),
        ('{"action": "+"', "not one JSON object"),
        ('{"action": "+"} done', "not one JSON object"),
        ('ok {"action": "+"}', "not one JSON object"),
        ('["+"]', "not an object"),
        ('{"aciton": "+"}', "keys ['aciton']"),
        ('{"action": "+", "more": 1}', "keys ['action', 'more']"),
        ('{"thoughts": "?"}', "keys ['thoughts']"),
        ('{"action": 1}', "must be strings"),
        ('{"action": "+", "thoughts": null}', "must be strings"),
        ("[" * 100000, "not one JSON object"),
    ],
)
def test_broken_json_says_why(reply: str, reason: str) -> None:
    found = parse_agent(reply, "json")
    assert isinstance(found, ParseError)
    assert reason in found.reason


@pytest.mark.parametrize("fence", ["```json\n{}\n```", "```\n{}\n```", "  ```json\n{}```\n"])
def test_a_fence_around_json_is_no_mistake(fence: str) -> None:
    assert parse_agent(fence.replace("{}", '{"action": "go"}'), "json") == Parsed("go")


@pytest.mark.parametrize(
    "reply",
    ["+", "<action>+", "+</action>", "<action>+</action> ok", "<aciton>+</aciton>", "<action>a<b</action>"],
)
def test_a_reply_must_end_with_its_tagged_action(reply: str) -> None:
    assert isinstance(parse_agent(reply, "tagged"), ParseError)


def test_the_last_tagged_action_counts() -> None:
    found = parse_agent("<action>a</action> no: <action>b</action>", "tagged")
    assert found == Parsed("b", "<action>a</action> no:")


def test_an_empty_reply_holds_no_action() -> None:
    assert all(isinstance(parse_agent(" \n", name), ParseError) for name in FORMATS)


@pytest.mark.parametrize("reply_format", ["tagged", "json"])
def test_the_instruction_shows_a_reply_that_parses(reply_format: ReplyFormat) -> None:
    shown = instruction(reply_format).removeprefix("Reply: ")
    assert parse_agent(shown, reply_format) == Parsed("...")
    assert instruction("plain") == ""
    asked = instruction(reply_format, thoughts=True).removeprefix("Reply: ")
    assert parse_agent(asked, reply_format) == Parsed("...", "...")


@pytest.mark.parametrize("reply_format", ["tagged", "json"])
@given(action=ACTIONS, thoughts=st.text(st.characters(exclude_categories=["Cs"])))
def test_the_span_of_the_thoughts_is_exactly_them(
    reply_format: ReplyFormat, action: str, thoughts: str
) -> None:
    if reply_format == "tagged":
        action, thoughts = (text.replace("<", "(").replace(">", ")") for text in (action, thoughts))
    reply = format_reply(action, reply_format, thoughts)
    start, stop = thought_span(reply, reply_format)
    assert (
        reply[start:stop].strip()
        == (json.dumps(thoughts, ensure_ascii=False)[1:-1] if reply_format == "json" else thoughts).strip()
    )


@pytest.mark.parametrize(
    "reply", ["", "+", '{"thoughts": "+"}', '{"thoughts": "x", "act": "+"}', "x <action>+"]
)
def test_without_an_action_nothing_is_a_thought(reply: str) -> None:
    assert thought_span(reply, "json") == (0, 0)
    assert thought_span(reply, "tagged") == (0, 0)
