"""Checks of an environment's arguments: what passes, and the sentence of a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from vlmq.api import PluginError, check_choice, check_flags, check_seconds, check_whole


def test_what_will_do_passes() -> None:
    check_choice("Memory", "modality", "image", ("image", "text"))
    check_whole("Memory", "delay", 0, 0, 5)
    check_whole("Memory", "delay", 5, 0, 5)
    check_seconds("Memory", "timeout_s", 0.5)
    check_seconds("Memory", "timeout_s", 30)
    check_flags("Memory", plain=True, loud=False)


@pytest.mark.parametrize("value", ["pictures", None, 1, ["image"]])
def test_a_choice_is_refused_with_what_there_is(value: Any) -> None:
    with pytest.raises(PluginError) as caught:
        check_choice("Memory", "modality", value, ("image", "text"))
    assert str(caught.value) == f"Memory: modality={value!r} is unknown; choose one of image, text."


@pytest.mark.parametrize("value", [-1, 6, 2.0, "3", True, None])
def test_a_number_is_refused_with_its_bounds(value: Any) -> None:
    with pytest.raises(PluginError) as caught:
        check_whole("Memory", "delay", value, 0, 5)
    assert str(caught.value) == f"Memory: delay={value!r} will not do; give a whole number from 0 to 5."


@pytest.mark.parametrize("value", [0, -1.5, float("inf"), float("nan"), "10", True, None])
def test_a_time_is_refused(value: Any) -> None:
    with pytest.raises(PluginError) as caught:
        check_seconds("Memory", "timeout_s", value)
    assert str(caught.value) == f"Memory: timeout_s={value!r} will not do; give a number of seconds above 0."


@pytest.mark.parametrize("value", ["no", 0, 1, None])
def test_a_flag_that_is_neither_is_named(value: Any) -> None:
    with pytest.raises(PluginError) as caught:
        check_flags("Memory", plain=True, loud=value)
    assert str(caught.value) == f"Memory: loud={value!r} will not do; give true or false."
