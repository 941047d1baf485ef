"""Rules of forms: fields to fill with what is to be read, and boxes that are to be marked."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vlmq_env_miniwob.actions import click
from vlmq_env_miniwob.experts.seen import (
    Expert,
    Seen,
    click_on,
    fill_all,
    first,
    only_field,
    ordinal,
    quoted,
    shown,
    submit,
)
from vlmq_env_miniwob.experts.words import DIGITS, SYNONYMS
from vlmq_env_miniwob.view import Writing


def _similar_boxes(seen: Seen) -> str | None:
    asked = set(first(r"similar to (.*) and click", seen.utterance).split(", "))
    wanted = asked.union(*(group for group in SYNONYMS if group & asked))
    for bid in seen.of("checkbox"):
        if (seen.elements[bid].name in wanted) != seen.checked(bid):
            return click(bid)
    return submit(seen)


def _digit_boxes(seen: Seen) -> str | None:
    marks = DIGITS[quoted(seen)[0]].replace(" ", "")
    for bid, mark in zip(seen.of("checkbox"), marks, strict=True):
        if (mark == "#") != seen.checked(bid):
            return click(bid)
    return submit(seen)


def _nth_word(seen: Seen) -> str | None:
    words = max((each.text for each in seen.texts), key=len).split()
    place = ordinal(seen.utterance)
    return only_field(seen, words[place].strip(".,")) if 0 <= place < len(words) else None


def _below(seen: Seen) -> str | None:
    text = "".join(each.text for each in seen.texts if each.text != "Submit")
    return only_field(seen, text)


def _table(seen: Seen) -> dict[str, str]:
    rows = [line.split("\t") for line in seen.text.splitlines()]
    return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}


def _table_value(seen: Seen) -> str | None:
    return only_field(seen, _table(seen)[first(r"value of (.*) into", seen.utterance)])


def _table_values(seen: Seen) -> str | None:
    table, labels = _table(seen), [each for each in seen.texts if each.text.endswith(":")]
    return _fill_labelled(seen, labels, {label.text: table[label.text.removesuffix(":")] for label in labels})


def _movie(seen: Seen) -> str | None:
    asked = re.search(r"for (.*) movies directed by (.*) from year (\d+)", seen.utterance)
    if asked is None:
        return None
    labels = [each for each in seen.texts if re.search("Genre|Director|Year|Date", each.text)]
    wanted = {
        label.text: asked[1 if "Genre" in label.text else 2 if "Director" in label.text else 3]
        for label in labels
    }
    return _fill_labelled(seen, labels, wanted)


def _fill_labelled(seen: Seen, labels: list[Writing], wanted: Mapping[str, str]) -> str | None:
    """Fields and labels go down the page in the same order, whichever side the labels are on."""
    in_order = sorted(labels, key=lambda each: each.centre[1])
    fields = sorted(seen.fields(), key=lambda bid: seen.elements[bid].centre[1])
    pairs = zip(fields, in_order, strict=False)
    action = fill_all(seen, {bid: wanted[label.text] for bid, label in pairs})
    return action or click_on(
        next((bid for bid in (seen.named("Submit"), seen.named("Search")) if bid), None)
    )


def _popup_login(seen: Seen) -> str | None:
    away = seen.named("Cancel", "button")
    if away is not None:
        return click(away)
    return fill_all(seen, dict(zip(seen.of("textbox"), quoted(seen), strict=False)))


def _guess(seen: Seen) -> str | None:
    low, high = 0, 9
    for told in (*seen.earlier, seen.texts):
        words = " ".join(shown(told).split())
        low = max(low, int(first(r"higher than (\d)", words) or -1) + 1)
        high = min(high, int(first(r"lower than (\d)", words) or 10) - 1)
    return only_field(seen, str((low + high) // 2))


def _generated(seen: Seen) -> str | None:
    number = next((each.text for each in seen.texts if each.text.isdigit()), None)
    if number is not None and _fits(int(number), seen.utterance):
        return submit(seen)
    return click_on(seen.named("Generate", "button"))


def _fits(number: int, wish: str) -> bool:
    if "odd" in wish or "even" in wish:
        return (number % 2 == 1) == ("odd" in wish)
    bound = int(first(r"(\d+)", wish))
    return number < bound if "less" in wish else number > bound


def _odd_or_even(seen: Seen) -> str | None:
    for number in seen.texts:
        if not re.fullmatch(r"-?\d+", number.text):
            continue
        name = "Odd" if int(number.text) % 2 else "Even"
        beside = seen.all_named(name, "button")
        bid = min(beside, key=lambda each: abs(seen.elements[each].centre[1] - number.centre[1]))
        if not seen.clicks(bid):
            return click(bid)
    return submit(seen)


def _radio_and_field(seen: Seen) -> str | None:
    places = [int(number) - 1 for number in re.findall(r"(\d)(?:st|nd|rd)", seen.utterance)]
    radio, field = seen.of("radio")[places[0]], seen.of("textbox")[places[1]]
    return fill_all(seen, {field: quoted(seen)[0]}) if seen.checked(radio) else click(radio)


RULES: dict[str, Expert] = {
    "click-checkboxes-soft": _similar_boxes,
    "find-word": _nth_word,
    "form-sequence-2": _radio_and_field,
    "generate-number": _generated,
    "guess-number": _guess,
    "login-user-popup": _popup_login,
    "multi-layouts": _movie,
    "multi-orderings": _movie,
    "number-checkboxes": _digit_boxes,
    "odd-or-even": _odd_or_even,
    "read-table": _table_value,
    "read-table-2": _table_values,
    "text-transform": _below,
}
"""The rule of each of these tasks."""
