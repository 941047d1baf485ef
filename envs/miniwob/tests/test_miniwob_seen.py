"""What the page reports beside its elements, and rules on what they are given, without a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vlmq_env_miniwob.env import MiniWobEnv
from vlmq_env_miniwob.experts import EXPERTS, Seen
from vlmq_env_miniwob.view import Element, Figure, View, Writing

MakeEnv = Callable[..., MiniWobEnv]


def view(env: MiniWobEnv, seed: int = 0) -> View:
    env.reset(seed=seed)
    assert env._view is not None
    return env._view


def test_what_is_drawn_and_what_is_read_is_told_with_its_place(make_env: MakeEnv) -> None:
    env = make_env("click-shape", modality="elements")
    seen = view(env, 1)
    triangle = next(each for each in seen.figures if each.kind == "polygon")
    assert (triangle.fill, len(triangle.corners)) == ("red", 3)
    assert all(50 <= each.boxes[0][1] < 210 and 0 <= each.boxes[0][0] < 160 for each in seen.texts)
    assert {each.text for each in seen.texts} == {"7", "3", "5", "l", "w"}
    assert next(each.colour for each in seen.texts if each.text == "5") == "magenta"


def test_what_is_hidden_is_not_told(make_env: MakeEnv) -> None:
    env = make_env("find-greatest", modality="elements")
    seen = view(env)
    assert [each.text for each in seen.texts] == ["Submit"]
    assert not any(element.name.isdigit() for element in seen.elements), "the cards lie face down"


def test_things_to_drag_are_listed_and_the_list_around_them_is_no_thing(make_env: MakeEnv) -> None:
    env = make_env("drag-items-grid", modality="elements")
    observation, _ = env.reset(seed=0)
    assert observation["text"].count("', draggable\n") == 9


def test_scrolling_and_marking_are_told(make_env: MakeEnv) -> None:
    env = make_env("copy-paste", modality="elements")
    env.reset(seed=0)
    area = next(bid for bid, element in env._shown().items() if "multiline" in element.state)
    env.step(f"press('{area}', 'Control+a')")
    assert env._view is not None
    assert env._view.selected == env._shown()[area].text
    assert len(env._view.selected) > 20
    assert env._bid(env._view.focused or 0) == area


def test_an_instruction_is_what_is_read_and_nothing_else(make_env: MakeEnv) -> None:
    env = make_env("email-inbox-forward-nl", modality="elements")
    assert view(env, 1).utterance == "Forward to Cathrine the email from Evy."


def inbox(utterance: str, *senders: str) -> Seen:
    """An inbox with an email a sender, each with its two icons."""
    elements, texts = {}, []
    for place, sender in enumerate(senders):
        top = 73.0 + 39 * place
        elements[f"{10 + place}"] = Element(
            place, "generic", sender, (), (2.0, top, 155.0, 39.0), (79.0, top + 19), f"{sender}\nHi."
        )
        for name, left, bid in (("star", 118.0, 30), ("trash", 132.0, 50)):
            elements[f"{bid + place}"] = Element(
                bid, "generic", name, (), (left, top + 7, 12.0, 12.0), (left + 6, top + 13)
            )
        texts.append(Writing(sender, ((7.0, top + 2, 31.0, 12.0),), "black"))
    return Seen(utterance, "\n".join(senders), elements, texts=tuple(texts))


@pytest.mark.parametrize(
    ("utterance", "action"),
    [
        ("Find the email by Evy and click the trash icon to delete it.", "click('51')"),
        ("Delete the emails from Evy that are not marked as important.", "click('51')"),
        ("Mark the message that Evy sent as important.", "click('31')"),
        ("Give Odette the message you received from Evy,", "click('11')"),
        ("Send Ann Evy's email.", "click('11')"),
        ("Forward Evy the last message from Ann.", "click('10')"),
        ('Tell Evy "Ann, delete this."', "click('11')"),
        ("Find the email by Zoe and click the trash icon to delete it.", "scroll(0, 100)"),
    ],
)
def test_a_wish_about_an_email_is_understood(utterance: str, action: str) -> None:
    seen = inbox(utterance, "Ann", "Evy")
    if "Zoe" in utterance:
        seen = Seen(utterance, seen.text + "\nZoe", seen.elements, texts=seen.texts)
    assert EXPERTS["email-inbox"](seen) == action


def test_shapes_are_counted_by_what_they_are() -> None:
    button = Element(0, "button", "2", (), (10.0, 185.0, 25.0, 21.0), (22.0, 195.0))
    shapes = [Figure("circle", "", "cyan", (20.0 * i, 60.0, 20.0, 20.0), ()) for i in range(2)]
    small = Figure("circle", "", "cyan", (90.0, 60.0, 10.0, 10.0), ())
    signs = [
        Writing("7", ((120.0, 80.0, 11.0, 22.0),), "red"),
        Writing("2", ((18.0, 188.0, 7.0, 15.0),), "black"),
    ]
    for words in ("large circles", "large aqua items", "large shapes"):
        seen = Seen(
            f"How many {words} are there?", "", {"11": button}, texts=tuple(signs), figures=(*shapes, small)
        )
        assert EXPERTS["count-shape"](seen) == "click('11')", words
