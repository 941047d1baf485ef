"""What is typed is read strictly, and what is wrong with it is said in one sentence."""

from __future__ import annotations

import pytest

from vlmq.cli.words import FLAG, VALUE, Given, Wrong, one_word, read

OPTIONS = {"--json": FLAG, "--seed": VALUE, "--set": VALUE, "--png": ".png"}


def given(line: str) -> Given:
    return read(line.split(), "vlmq try", "an ID", OPTIONS)


def test_words_and_options_stand_in_any_order() -> None:
    for line in ("a --json --seed 3", "--seed 3 a --json", "--json --seed=3 a"):
        found = given(line)
        assert found.words == ["a"]
        assert (found.has("--json"), found.has("--png"), found.number("--seed", 0)) == (True, False, 3)


def test_an_option_that_repeats_keeps_every_value_and_the_last_one_counts() -> None:
    found = given("--set a=1 --seed 3 --set b=x --seed 4")
    assert found.settings() == {"a": 1, "b": "x"}
    assert found.number("--seed", 0) == 4


def test_an_option_with_a_suffix_takes_the_next_word_only_if_that_has_it() -> None:
    assert given("--png a").options == {"--png": [""]}
    assert given("--png a").words == ["a"]
    assert given("--png a.png").text("--png", "") == "a.png"
    assert given("--png=b.png a").text("--png", "") == "b.png"


def test_a_lone_dash_and_a_negative_number_are_words() -> None:
    assert given("- -1").words == ["-", "-1"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-0.5", -0.5),
        ("true", True),
        ("False", False),
        ("null", None),
        ("None", None),
        ("left", "left"),
        ("'3'", "3"),
        ("(1,2)", (1, 2)),
        ("", ""),
        ("a=b", "a=b"),
        ("__import__('os')", "__import__('os')"),
    ],
)
def test_a_setting_is_a_literal_or_plain_text(text: str, value: object) -> None:
    found = read(["--set", f"name={text}"], "vlmq try", "an ID", OPTIONS).settings()
    assert found == {"name": value}
    assert type(found["name"]) is type(value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--jsno", "it has no option '--jsno', did you mean --json?;"),
        ("-x", "it has no option '-x';"),
        ("--json=1", "--json takes no value;"),
        ("--seed", "--seed needs a value;"),
        ("--png=a.jpg", "--png is 'a.jpg', which must end in .png;"),
    ],
)
def test_a_wrong_option_is_named(line: str, said: str) -> None:
    with pytest.raises(Wrong) as caught:
        given(line)
    assert str(caught.value) == f"`vlmq try` takes an ID; {said} see `vlmq try --help`."


@pytest.mark.parametrize("number", ["-1", "x", "", "1.5", "٣"])
def test_a_number_is_a_whole_one(number: str) -> None:
    with pytest.raises(Wrong, match=f"--seed is '{number}'; give a whole number."):
        given(f"--seed={number}").number("--seed", 0)
    with pytest.raises(Wrong, match="give a whole number of at least 2."):
        given("--seed 1").number("--seed", 0, least=2)


@pytest.mark.parametrize("setting", ["delay", "=3", "a-b=3", "3=a"])
def test_a_setting_without_a_name_is_refused(setting: str) -> None:
    with pytest.raises(Wrong, match=f"--set is '{setting}'; give name=value"):
        given(f"--set {setting}").settings()


def test_one_word_is_neither_none_nor_two() -> None:
    assert one_word(given("a"), "vlmq try", "an ID", "look") == "a"
    for line, said in (
        ("", "`vlmq try` takes an ID; look."),
        ("a b", "takes an ID, and got 'a' and 'b'; look."),
    ):
        with pytest.raises(Wrong) as caught:
            one_word(given(line), "vlmq try", "an ID", "look")
        assert str(caught.value).endswith(said)
