"""The action language accepts its few calls and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlmq_env_miniwob.actions import Click, MouseClick, Noop, Refusal, click, parse


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("click('12')", Click("12")),
        ('  click( "7" )\n', Click("7")),
        ("mouse_click(80, 60)", MouseClick(80, 60)),
        ("mouse_click(0,209.5)", MouseClick(0, 209.5)),
        ("noop()", Noop()),
    ],
)
def test_legal_calls_are_read(text: str, action: object) -> None:
    assert parse(text) == action


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "12",
        "click",
        "click(12)",
        "click('12\")",
        "click('012')",
        "click('a12')",
        "click('')",
        "click('12') click('13')",
        "click('12');noop()",
        "Click('12')",
        "xclick('12')",
        "click('１２')",
        "mouse_click(-1, 5)",
        "mouse_click(160, 5)",
        "mouse_click(5, 210)",
        "mouse_click(nan, 5)",
        "mouse_click(1e1, 5)",
        "mouse_click(5)",
        "noop",
        "noop(1)",
        '{"action": "noop()"}',
        "__import__('os').getcwd()",
        "click('12')\x00",
        "x" * 10_000,
    ],
)
def test_near_misses_are_refused_with_one_line(text: str) -> None:
    refusal = parse(text)
    assert isinstance(refusal, Refusal)
    assert refusal.reason
    assert "\n" not in refusal.reason


@given(st.text(alphabet="clickmouse_nop()'\", 0123456789.\n\t\ud800é", max_size=40))
def test_any_text_is_an_action_of_the_grammar_or_a_refusal(text: str) -> None:
    grammar = r"\s*(click\( *(['\"])[1-9]\d{0,4}\2 *\)|mouse_click\( *[\d.]+ *, *[\d.]+ *\)|noop\( *\))\s*"
    if not isinstance(parse(text), Refusal):
        assert re.fullmatch(grammar, text)


@given(st.integers(1, 99_999))
def test_the_canonical_click_reads_back(bid: int) -> None:
    assert parse(click(str(bid))) == Click(str(bid))
