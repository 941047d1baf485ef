"""The action language accepts its few calls and nothing else, and never takes long to do so."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlmq_env_miniwob.actions import CALLS, Call, Refusal, click, parse, signature, syntax, write


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("click('12')", Call("click", ("12",))),
        ('  click( "7" )\n', Call("click", ("7",))),
        ("dblclick('3')", Call("dblclick", ("3",))),
        ("hover('3')", Call("hover", ("3",))),
        ("focus('3')", Call("focus", ("3",))),
        ("clear('3')", Call("clear", ("3",))),
        ("fill('12', 'a, b) \\'c\\' \\\\')", Call("fill", ("12", "a, b) 'c' \\"))),
        ("fill('12', \"it's\")", Call("fill", ("12", "it's"))),
        ("fill('12', 'two\\nlines')", Call("fill", ("12", "two\nlines"))),
        ("fill('12', '')", Call("fill", ("12", ""))),
        ("press('12', 'Control+a')", Call("press", ("12", "Control+a"))),
        ("press('12', 'Enter')", Call("press", ("12", "Enter"))),
        ("select_option('12', 'blue')", Call("select_option", ("12", ("blue",)))),
        ("select_option('12', ['red' , \"it's\"])", Call("select_option", ("12", ("red", "it's")))),
        ("drag_and_drop('1','2')", Call("drag_and_drop", ("1", "2"))),
        ("scroll(0, -50)", Call("scroll", (0.0, -50.0))),
        ("mouse_click(80, 60)", Call("mouse_click", (80.0, 60.0))),
        ("mouse_click(0,209.5)", Call("mouse_click", (0.0, 209.5))),
        ("mouse_dblclick(1, 2)", Call("mouse_dblclick", (1.0, 2.0))),
        ("mouse_drag(1, 2, 3, 4)", Call("mouse_drag", (1.0, 2.0, 3.0, 4.0))),
        ("mouse_move(1, 2)", Call("mouse_move", (1.0, 2.0))),
        ("keyboard_press('Control+a')", Call("keyboard_press", ("Control+a",))),
        ("keyboard_type('it\\'s')", Call("keyboard_type", ("it's",))),
        ("noop()", Call("noop")),
        ("noop( )", Call("noop")),
    ],
)
def test_legal_calls_are_read(text: str, call: Call) -> None:
    assert parse(text) == call


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "12", "click", "click(12)", "click('12\")", "click('012')", "click('a12')", "click('')", "click()",
        "click('12') click('13')", "click('12');noop()", "Click('12')", "xclick('12')", "click('１２')",
        "click('12', '13')", "click('12',)", "click(,'12')", "click(['12'])", "click('12'", "click 'x'",
        "fill('12')", "fill('12', abc)", "fill('12', 3)", "fill('12', 'a\\q')", "fill('12', 'open)", "fill('a', 'b')",
        "press('12', 'Foo')", "press('12', 'Enter+Control')", "press('12', '')", "press('12', 'ab')",
        "select_option('12', [])", "select_option('12', ['a',])", "select_option('12', [1])",
        "select_option('12', ['a'",
        "scroll(0)", "scroll('0', 1)", "scroll(0, 5000)", "scroll(--1, 2)",
        "mouse_click(-1, 5)", "mouse_click(160, 5)", "mouse_click(5, 210)", "mouse_click(nan, 5)",
        "mouse_click(1e1, 5)",
        "keyboard_press('ab')", "keyboard_press('12', 'a')", "keyboard_type(12)", f"keyboard_type('{'x' * 201}')",
        "mouse_click(5)", "mouse_drag(1, 2, 3)", "mouse_drag(1, 2, 3, 300)", "noop", "noop(1)",
        '{"action": "noop()"}', "__import__('os').getcwd()", "click('12')\x00", "x" * 10_000,
    ],
)  # fmt: skip
def test_near_misses_are_refused_with_one_line(text: str) -> None:
    refusal = parse(text)
    assert isinstance(refusal, Refusal)
    assert refusal.reason
    assert "\n" not in refusal.reason


_TEXTS = st.text(alphabet=st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=20)
_POINT = st.tuples(st.integers(0, 159).map(float), st.integers(0, 209).map(float))
_BID = st.integers(1, 99_999).map(str)


@given(
    st.one_of(
        _BID.map(lambda bid: Call("click", (bid,))),
        st.tuples(_BID, _TEXTS).map(lambda both: Call("fill", both)),
        st.tuples(_BID, st.lists(_TEXTS, min_size=1, max_size=3).map(tuple)).map(
            lambda b: Call("select_option", b)
        ),
        st.tuples(_BID, _BID).map(lambda both: Call("drag_and_drop", both)),
        _POINT.map(lambda point: Call("mouse_click", point)),
        st.tuples(_POINT, _POINT).map(lambda two: Call("mouse_drag", two[0] + two[1])),
    )
)
def test_what_is_written_reads_back(call: Call) -> None:
    assert parse(write(call.name, *call.arguments)) == call


@given(st.floats(0, 159.99999), st.floats(0, 209.99999), st.floats(-1000, 1000))
def test_a_number_is_written_with_the_decimals_that_are_read(x: float, y: float, step: float) -> None:
    for name, values in (("mouse_click", (x, y)), ("scroll", (step, step))):
        call = parse(write(name, *values))
        assert isinstance(call, Call)
        assert call.arguments == pytest.approx(values, abs=0.001)
        assert parse(write(name, *call.arguments)) == call
    assert write("mouse_click", 123.456789, 0.0001) == "mouse_click(123.456, 0)"
    assert write("scroll", -999.125, 100.0) == "scroll(-999.125, 100)"


@pytest.mark.parametrize(
    "text", ["click(['{}'])", "mouse_click('{}', 1)", "press('1', ['{}'])", "scroll(['{}'], 1)"]
)
def test_a_refusal_quotes_the_beginning_of_what_is_wrong(text: str) -> None:
    refusal = parse(text.format("x" * 10_000))
    assert isinstance(refusal, Refusal)
    assert "xxxx" in refusal.reason
    assert len(refusal.reason) < 120


@given(st.text(alphabet="clickfilselectoption_mouse()[]'\",\\ 0123456789.-\n\t\ud800é", max_size=60))
def test_any_text_is_a_call_of_the_grammar_or_a_refusal(text: str) -> None:
    call = parse(text)
    if isinstance(call, Call):
        assert call.name in CALLS
        assert len(call.arguments) == len(CALLS[call.name])
        assert parse(write(call.name, *call.arguments)) == call


@pytest.mark.parametrize(
    "text",
    [
        "fill('1', '" + "\\" * 9_999,
        "fill('1', '" + "a" * 9_999,
        "select_option('1', [" + "'a'," * 2_500,
        "fill('1'," + " " * 9_999,
        "(" * 10_000,
        "click(" + "'1'," * 2_500,
    ],
)
def test_no_text_is_slow_to_read(text: str) -> None:
    times = []
    for _ in range(5):
        started = time.process_time()
        assert isinstance(parse(text), Refusal)
        times.append(time.process_time() - started)
    # A few milliseconds on a common machine. Reading that goes back over the text, once for each letter, takes seconds.
    assert min(times) < 0.1


def test_each_call_says_how_it_is_written() -> None:
    assert signature("fill") == "fill('bid', 'text')"
    assert signature("mouse_click") == "mouse_click(x, y)"
    assert "click('bid')" in syntax(by_element=True)
    assert "bid" not in syntax(by_element=False)
    assert click("7") == "click('7')"
