"""Rules of pages to look through: tabs, menus, trees, lists of results, posts and goods."""

from __future__ import annotations

import math
import re

from vlmq_env_miniwob.actions import click, write
from vlmq_env_miniwob.experts.seen import (
    Expert,
    Seen,
    click_on,
    fill_all,
    first,
    nearest,
    ordinal,
    quoted,
    scroll,
    submit,
)
from vlmq_env_miniwob.view import Point

POST_PX = 62
"""How far below its author's name the buttons of a post may lie."""
ROW_PX = 8
FOOT_PX = 185
MORE = ("Share via DM", "Copy link", "Embed", "Mute", "Block", "Report")
ICONS = {"Reply": "reply", "Retweet": "retweet", "Like": "like", "Share": "share"}


def _on_a_tab(seen: Seen) -> str | None:
    found = [bid for bid in seen.all_named(quoted(seen)[0]) if seen.elements[bid].role == "generic"]
    if found:
        return click(found[0])
    tabs = [bid for bid in seen.of("link") if not seen.clicks(bid)]
    # The tab that is open at first need not be clicked, but it costs nothing to know that.
    return click_on(next(iter(tabs[1:] if not seen.past else tabs), None))


def _section(seen: Seen) -> str | None:
    sections = [bid for bid in seen.of("tab") if not seen.clicks(bid) and seen.elements[bid].name != "Submit"]
    return click(sections[0]) if sections and not seen.past else submit(seen)


def _link_in_sections(seen: Seen) -> str | None:
    found = seen.named(quoted(seen)[0], "generic", "link")
    if found is not None and not seen.past[-1].startswith("click"):
        return click(found)
    if seen.past and seen.past[-1].startswith("click"):
        return write("noop")  # it unfolds for a while
    sections = [bid for bid in seen.like("Section #") if not seen.clicks(bid)]
    return click_on(next(iter(sections), None)) or scroll(60)


def _menu_path(seen: Seen) -> str | None:
    path = seen.utterance.removeprefix("Select ").split(">")
    shown = (bid for name in reversed(path) if (bid := seen.named(name, "menuitem")) is not None)
    deepest = next(shown, None)
    if deepest is None:
        return write("noop")
    return click(deepest) if seen.elements[deepest].name == path[-1] else _unfold(seen, deepest)


def _unfold(seen: Seen, item: str) -> str:
    """Points at an item of a menu and waits there for what it holds."""
    point = write("hover", item)
    pointed = [action for action in seen.past if action.startswith("hover")]
    return write("noop") if pointed and pointed[-1] == point else point


def _menu_item(seen: Seen) -> str | None:
    wanted = _menu_label(seen)
    if wanted is not None:
        return click(wanted)
    button = seen.named("Menu", "button")
    if button is not None and not seen.of("menuitem"):
        return write("noop") if seen.past else click(button)
    arrows = [each for each in seen.figures if each.kind == "icon" and each.name.endswith("-1-e")]
    holders = [nearest_row(seen, each.centre, seen.of("menuitem")) for each in arrows]
    closed = [bid for bid in holders if bid and seen.past.count(write("hover", bid)) == 0]
    if seen.past and seen.past[-1].startswith("hover"):
        return write("noop")
    return _unfold(seen, closed[0]) if closed else write("noop")


def _menu_label(seen: Seen) -> str | None:
    """The item that the instruction names, or shows the icon of."""
    if "icon" not in seen.utterance:
        return seen.named(quoted(seen)[-1], "menuitem")
    icons = sorted((each for each in seen.figures if each.kind == "icon"), key=lambda each: each.centre[1])
    asked, *others = icons
    same = next((each for each in others if each.name.split()[-1] == asked.name.split()[-1]), None)
    return None if same is None else nearest_row(seen, same.centre, seen.of("menuitem"))


def nearest_row(seen: Seen, point: Point, bids: list[str]) -> str | None:
    """The element at the height of a point; where there are several, the nearest to it."""
    level = [bid for bid in bids if abs(seen.elements[bid].centre[1] - point[1]) < ROW_PX]
    return nearest(seen, point, level)


def _scroll_list(seen: Seen) -> str | None:
    wanted = first(r"Select (.*) from the scroll list", seen.utterance).split(", ")
    options = seen.of("combobox")[0]
    if sorted(seen.chosen(options)) == sorted(wanted):
        return submit(seen)
    return write("select_option", options, tuple(wanted))


def _tree(seen: Seen) -> str | None:
    found = seen.named(quoted(seen)[0])
    return click_on(found or next(iter(seen.like("expandable-hitarea")), None)) or scroll(60)


def _search(seen: Seen) -> str | None:
    place = ordinal(seen.utterance)
    links = seen.of("link")
    if not links:
        return fill_all(seen, {seen.of("textbox")[0]: quoted(seen)[0]})
    page = seen.named(str(place // 3 + 1), "link")
    if place >= 3 and page is not None and not seen.clicks(page):
        return click(page)
    results = [bid for bid in links if re.search("[A-Za-z]{3}", seen.elements[bid].name)]
    results = [bid for bid in results if seen.elements[bid].name not in ("First", "Last")]
    return click(results[place % 3]) if place % 3 < len(results) else scroll(60)


def _contact(seen: Seen) -> str | None:
    name, detail = re.findall(r"Find (\S+) in the contact book and click on their (.*)\.", seen.utterance)[0]
    label = next((each for each in seen.texts if each.text == f"{detail.split()[0].capitalize()}:"), None)
    if seen.written(name) is None:
        return click_on(seen.named(">"))
    if label is None:
        return None
    # What is too long for the line of its label stands below it.
    below = (label.centre[0], label.centre[1] + label.boxes[0][3])
    links = seen.of("link")
    return click_on(nearest_row(seen, label.centre, links) or nearest_row(seen, below, links))


def _post(seen: Seen) -> str | None:
    user, wish = first(r"user (@\S+),", seen.utterance), quoted(seen)[0]
    icons = _under(seen, user, ICONS.get(wish, "more"))
    if wish in ICONS:
        return click(icons[0]) if icons else scroll(60)
    items = [bid for bid in seen.of("generic") if seen.elements[bid].name.startswith(MORE)]
    wanted = next((bid for bid in items if seen.elements[bid].name.startswith(wish)), None)
    if wanted is not None:
        return click(wanted)
    if items or not icons:
        return scroll(40)
    # A menu that opens at the foot of the page goes on below it.
    low = seen.elements[icons[0]].centre[1] > FOOT_PX and seen.past and seen.past[-1] == click(icons[0])
    return scroll(60) if low else click(icons[0])


def _posts(seen: Seen) -> str | None:
    user, wish = first(r"posts? by (@\S+?)(?: and|$)", seen.utterance), quoted(seen)[0]
    most = int(first(r"on (\d+) posts?", seen.utterance) or 99)
    done = sum(action.startswith("click") for action in seen.past)
    icons = [bid for bid in _under(seen, user, ICONS[wish]) if not seen.clicks(bid)]
    if icons and done < most:
        return click(icons[0])
    return click_on(seen.named("Submit", "button")) or scroll(100)


def _under(seen: Seen, user: str, icon: str) -> list[str]:
    """The icons of one kind that belong to posts of a user, as far as both can be seen."""
    authors = [each for each in seen.texts if each.text.startswith("@")]
    found = []
    for bid in seen.all_named(icon):
        above = [each for each in authors if 0 < seen.elements[bid].centre[1] - each.centre[1] < POST_PX]
        if above and max(above, key=lambda each: each.centre[1]).text == user:
            found.append(bid)
    return found


def _order(seen: Seen) -> str | None:
    wanted = first(r"each item: (.*)", seen.utterance).split(", ")
    most = int(first(r"Order (\d+) items", seen.utterance) or 0)
    kind = first(r"that are (.*)", seen.utterance)
    done = sum(action.startswith("click") for action in seen.past)
    # A dish's name stands at the top of its row, its icons beneath, and the plus beside or beneath.
    tops = sorted((each.boxes[0][1], each.text) for each in seen.texts if len(each.text) > 2)
    for plus in seen.all_named("+"):
        height = seen.elements[plus].centre[1]
        above = [top for top in tops if top[0] <= height]
        below = [top for top in tops if top[0] > height]
        if not above:
            continue
        (begins, dish), ends = above[-1], min(below, default=(math.inf, ""))[0]
        icons = [
            each.name for each in seen.figures if each.kind == "image" and begins < each.centre[1] < ends
        ]
        fits = dish in wanted if not most else any(kind in icon for icon in icons)
        if fits and not seen.clicks(plus) and not (most and done >= most):
            return click(plus)
    return click_on(seen.named("Order!")) or scroll(80)


RULES: dict[str, Expert] = {
    "click-collapsible": _section,
    "click-collapsible-2": _link_in_sections,
    "click-collapsible-2-nodelay": _link_in_sections,
    "click-collapsible-nodelay": _section,
    "click-menu": _menu_path,
    "click-menu-2": _menu_item,
    "click-scroll-list": _scroll_list,
    "click-tab-2": _on_a_tab,
    "click-tab-2-easy": _on_a_tab,
    "click-tab-2-hard": _on_a_tab,
    "click-tab-2-medium": _on_a_tab,
    "navigate-tree": _tree,
    "order-food": _order,
    "phone-book": _contact,
    "search-engine": _search,
    "social-media": _post,
    "social-media-all": _posts,
    "social-media-some": _posts,
}
"""The rule of each of these tasks."""
