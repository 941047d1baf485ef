"""What an environment is, in words that a person reads once."""

from __future__ import annotations

from typing import Any

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec

from vlmq.api.contract import Shape
from vlmq.env import facts


def test_spaces_name_their_units() -> None:
    said = facts.of_spaces(Shape((48, 64, 3), 1024, 256))
    assert said["picture"] == "48 x 64 pixels (height x width)"
    assert said["text"] == "at most 1,024 bytes"
    assert said["action"] == "a text of at most 256 bytes"
    assert facts.of_spaces(Shape(None, 9, 9))["picture"] == "none: it shows text alone"


@pytest.mark.parametrize(
    ("name", "value", "label", "said"),
    [
        ("reward_range", (-1.0, 1.0), "reward of a turn", "-1 to 1"),
        ("reward_range", [0, 0.25], "reward of a turn", "0 to 0.25"),
        ("reward_range", ("low", "high"), "reward of a turn", "low, high"),
        ("requirements", (), "needs", "nothing beyond its package"),
        ("requirements", ("Linux",), "needs", "Linux"),
        ("requirements", ({"needs": "ink", "command": "buy ink"}, "a pen"), "needs", "ink: `buy ink`; a pen"),
        ("requirements", ({"needs": "ink"},), "needs", "needs: ink"),
        ("chance_level", 0.25, "success by chance", "25 %"),
        ("expert_success", 1, "expert's success", "100 %"),
        ("open_actions", True, "more actions than listed", "yes"),
        ("modalities", ("image", "text"), "modalities", "image, text"),
        ("secrets", (), "kept secret", "none"),
        ("made_by", "hand", "made by", "hand"),
        ("nested", ((1, 2), "x"), "nested", "1; 2; x"),
    ],
)
def test_a_declaration_is_put_in_words(name: str, value: Any, label: str, said: str) -> None:
    assert facts.of_declaration({name: value}) == {label: said}


def test_declarations_of_the_contract_come_first_and_others_in_their_own_order() -> None:
    declared = {"zebra": 1, "licence": "MIT", "ant": 2, "success": "x", "reward_range": (0, 1)}
    assert list(facts.of_declaration(declared)) == ["reward of a turn", "success", "licence", "zebra", "ant"]


class Base(gymnasium.Env[Any, Any]):
    def __init__(self, size: int = 64, seed_text: str = "a") -> None: ...


class Passes(Base):
    """Passes on what it does
    not know.

    More of it.
    """

    def __init__(
        self, level: int, *, render_mode: str | None = None, size: int = 32, **kwargs: Any
    ) -> None: ...


class Keeps(Base):
    def __init__(self, level: int = 1) -> None: ...


def build(level: int = 3) -> gymnasium.Env[Any, Any]:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("creator", "given", "said"),
    [
        (Passes, {}, "level (required), size=32, seed_text='a'"),
        (Passes, {"level": 2}, "level=2, size=32, seed_text='a'"),
        (Keeps, {}, "level=1"),
        (build, {}, "level=3"),
        (dict, {}, "none"),
    ],
)
def test_arguments_are_shown_with_what_the_id_gives_or_their_defaults(
    creator: Any, given: dict[str, Any], said: str
) -> None:
    spec = EnvSpec("a/B-v0", entry_point=creator, kwargs=given)
    assert facts.of_arguments(spec, creator) == {"arguments": said}


def test_the_purpose_is_the_first_paragraph_of_its_own_docstring() -> None:
    assert facts.purpose(Passes) == "Passes on what it does not know."
    assert facts.purpose(Keeps) == "", "what a base class says is no word about this one"


def test_the_maker_is_the_class_whichever_way_it_is_named() -> None:
    assert facts.maker(EnvSpec("a/B-v0", entry_point=Keeps)) is Keeps
    assert facts.maker(EnvSpec("a/B-v0", entry_point="line_games:Walk")).__name__ == "Walk"
