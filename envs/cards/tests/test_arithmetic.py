"""Formulas are judged exactly, symbol by symbol."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlmq_env_cards.arithmetic import evaluate, is_number, uses_exactly


@given(st.lists(st.integers(0, 99), min_size=1, max_size=6), st.data())
def test_every_well_formed_row_has_the_value_of_arithmetic(numbers: list[int], data: st.DataObject) -> None:
    signs = data.draw(st.lists(st.sampled_from("+*"), min_size=len(numbers) - 1, max_size=len(numbers) - 1))
    # A sum of products: cut the row at every "+".
    products = [numbers[0]]
    for sign, number in zip(signs, numbers[1:], strict=True):
        if sign == "*":
            products[-1] *= number
        else:
            products.append(number)
    row = [str(numbers[0])] + [s for pair in zip(signs, map(str, numbers[1:]), strict=True) for s in pair]
    assert evaluate(row) == Fraction(sum(products))


def test_multiplication_binds_closer_than_addition() -> None:
    assert evaluate(["2", "+", "3", "*", "4"]) == 14
    assert evaluate(["2", "*", "3", "+", "4"]) == 10


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("8 / ( 3 - 8 / 3 )", 24),
        ("( 1 + 2 ) * ( 3 + 4 )", 21),
        ("10 - 4 - 3", 3),
        ("12 / 2 / 3", 2),
        ("2 * ( ( 3 ) )", 6),
        ("7 / 2", Fraction(7, 2)),
    ],
)
def test_brackets_and_all_four_operators(formula: str, value: Fraction | int) -> None:
    assert evaluate(formula.split()) == value


@pytest.mark.parametrize(
    "formula", ["( 1 + 2", "1 + 2 )", "( )", "2 ( 3 )", "( 2 ) 3", "1 / ( 2 - 2 )", "( + 2 )", ") 1 ("]
)
def test_misplaced_brackets_and_division_by_zero_have_no_value(formula: str) -> None:
    assert evaluate(formula.split()) is None


@pytest.mark.parametrize(
    "row",
    [
        [],
        ["+"],
        ["1", "2"],
        ["1", "2", "3"],
        ["3", "*", "*", "4"],
        ["2", "**", "3"],
        ["2", "//", "3"],
        ["+", "3", "+", "9"],
        ["3", "+"],
        ["3", "+", "=", "9"],
        ["03", "+", "9"],
        ["-3", "+", "9"],
        ["²", "+", "9"],
        ["3", "+", "__import__('os')"],
    ],
)
def test_anything_but_numbers_and_operators_in_turn_has_no_value(row: list[str]) -> None:
    assert evaluate(row) is None


def test_numbers_are_plain_digits() -> None:
    texts = ("0", "7", "10", "010", "", "-1", "1.0", "１", "²", "1_0")
    assert [text for text in texts if is_number(text)] == ["0", "7", "10"]


def test_each_card_counts_once() -> None:
    assert uses_exactly(["6", "+", "6"], (6, 6))
    assert uses_exactly(["4", "*", "3"], (3, 4))
    assert not uses_exactly(["6"], (6, 6))
    assert not uses_exactly(["6", "+", "6"], (6,))
    assert not uses_exactly(["3", "*", "4"], (3, 9))
