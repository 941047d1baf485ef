"""Rules of the plain pages: one button, box, list or field, or a few of them."""

from __future__ import annotations

import re

from vlmq_env_miniwob.actions import click, write
from vlmq_env_miniwob.experts.seen import Expert, Seen, click_on, fill_all, quoted, submit


def _only_button(seen: Seen) -> str | None:
    buttons = seen.of("button")
    return click(buttons[0]) if len(buttons) == 1 else None


def _button_in_capitals(seen: Seen) -> str | None:
    asked = re.fullmatch(r"Click button (\S+)\.", seen.utterance)
    return click_on(seen.named(asked[1], "button")) if asked else None


def _quoted_button(seen: Seen) -> str | None:
    return click_on(seen.named(quoted(seen)[0], "button"))


def _button_sequence(seen: Seen) -> str | None:
    first, second = seen.named("ONE", "button"), seen.named("TWO", "button")
    # A button that was pressed keeps the focus, and nothing else tells the first from the second turn.
    return click_on(first or second)


def _dialog(seen: Seen) -> str | None:
    return click_on(next(iter(seen.of("button")), None))


def _dialog_button(seen: Seen) -> str | None:
    wanted = quoted(seen)[0]
    names = {"x": ("Close", "close", "")}.get(wanted, (wanted,))
    return click_on(next((bid for name in names if (bid := seen.named(name, "button"))), None))


def _quoted_anything(seen: Seen) -> str | None:
    return click_on(seen.named(quoted(seen)[0]))


def _option(seen: Seen) -> str | None:
    asked = re.fullmatch(r"Select (.*) and click Submit\.", seen.utterance)
    bid = seen.named(asked[1], "radio") if asked else None
    return None if bid is None else submit(seen) if seen.checked(bid) else click(bid)


def _checkboxes(seen: Seen) -> str | None:
    asked = re.fullmatch(r"Select (.*) and click Submit\.", seen.utterance)
    if asked is None:
        return None
    wanted = set() if asked[1] == "nothing" else set(asked[1].split(", "))
    for bid in seen.of("checkbox"):
        if (seen.elements[bid].name in wanted) != seen.checked(bid):
            return click(bid)
    return submit(seen)


def _text(seen: Seen) -> str | None:
    fields = seen.of("textbox")
    return fill_all(seen, {fields[0]: quoted(seen)[0]}) if fields else None


def _both_texts(seen: Seen) -> str | None:
    return fill_all(seen, dict.fromkeys(seen.of("textbox"), quoted(seen)[0]))


def _login(seen: Seen) -> str | None:
    return fill_all(seen, dict(zip(seen.of("textbox"), quoted(seen), strict=False)))


def _upper_or_lower(seen: Seen) -> str | None:
    fields = seen.of("textbox")
    text = quoted(seen)[0]
    changed = text.upper() if "upper case" in seen.utterance else text.lower()
    return fill_all(seen, {fields[0]: changed}) if fields else None


def _focus(seen: Seen) -> str | None:
    return click_on(next(iter(seen.of("textbox")), None))


def _focus_nth(seen: Seen) -> str | None:
    place = re.search(r"(\d)(?:st|nd|rd|th)", seen.utterance)
    fields = seen.of("textbox")
    return click(fields[int(place[1]) - 1]) if place and len(fields) >= int(place[1]) else None


def _list_entry(seen: Seen) -> str | None:
    asked = re.fullmatch(r"Select (.*) from the list and click Submit\.", seen.utterance)
    lists = seen.of("combobox")
    if asked is None or not lists:
        return None
    return submit(seen) if seen.chosen(lists[0]) == [asked[1]] else write("select_option", lists[0], asked[1])


def _widget(seen: Seen) -> str | None:
    wanted = quoted(seen)[0]
    if wanted in ("text", "textarea"):
        fields = (bid for bid in seen.of("textbox") if seen.multiline(bid) == (wanted == "textarea"))
        return click_on(next(fields, None))
    return click_on(next(iter(seen.of(wanted)), None))


def _tab(seen: Seen) -> str | None:
    asked = re.search(r"Tab #(\d)", seen.utterance)
    return click_on(seen.named(f"Tab #{asked[1]}")) if asked else None


def _sum(seen: Seen) -> str | None:
    asked = re.search(r"(\d+)\s*([-+x])\s*(\d+)\s*=", seen.text)
    fields = seen.of("textbox", "spinbutton")
    if asked is None or not fields:
        return None
    left, right = int(asked[1]), int(asked[3])
    result = {"+": left + right, "-": left - right, "x": left * right}[asked[2]]
    return fill_all(seen, {fields[0]: str(result)})


def _unknown(seen: Seen) -> str | None:
    asked = re.search(r"(x|\d+)\s*([-+])\s*(x|\d+)\s*=\s*(-?\d+)", seen.text)
    fields = seen.of("textbox", "spinbutton")
    if asked is None or not fields:
        return None
    left, sign, right, total = asked[1], asked[2], asked[3], int(asked[4])
    if left == "x":
        value = total - int(right) if sign == "+" else total + int(right)
    else:
        value = total - int(left) if sign == "+" else int(left) - total
    return fill_all(seen, {fields[0]: str(value)})


def _date(seen: Seen) -> str | None:
    asked = re.search(r"(\d\d)/(\d\d)/(\d{4})", seen.utterance)
    fields = seen.of("textbox")
    return fill_all(seen, {fields[0]: f"{asked[3]}-{asked[1]}-{asked[2]}"}) if asked and fields else None


def _clock(seen: Seen) -> str | None:
    asked = re.search(r"(\d+):(\d\d) ([AP])M", seen.utterance)
    fields = seen.of("textbox")
    if asked is None or not fields:
        return None
    hour = int(asked[1]) % 12 + (12 if asked[3] == "P" else 0)
    return fill_all(seen, {fields[0]: f"{hour:02}:{asked[2]}"})


RULES: dict[str, Expert] = {
    "click-test": _only_button,
    "click-test-2": _button_in_capitals,
    "click-test-transfer": _button_in_capitals,
    "click-button": _quoted_button,
    "click-dialog": _dialog,
    "click-dialog-2": _dialog_button,
    "click-link": _quoted_anything,
    "click-option": _option,
    "click-checkboxes": _checkboxes,
    "click-checkboxes-large": _checkboxes,
    "click-checkboxes-transfer": _checkboxes,
    "click-widget": _widget,
    "click-tab": _tab,
    "choose-list": _list_entry,
    "enter-text": _text,
    "enter-text-dynamic": _text,
    "enter-text-2": _upper_or_lower,
    "enter-password": _both_texts,
    "enter-date": _date,
    "enter-time": _clock,
    "focus-text": _focus,
    "focus-text-2": _focus_nth,
    "login-user": _login,
    "simple-arithmetic": _sum,
    "simple-algebra": _unknown,
    "unicode-test": _quoted_button,
}
"""The rule of each task that has one."""
