"""What an environment is, in words: the lines that `vlmq envs show` prints."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from gymnasium.envs.registration import EnvSpec, load_env_creator

from vlmq.api.contract import Shape

_LABELS = {
    "reward_range": "reward of a turn",
    "success": "success",
    "modalities": "modalities",
    "requirements": "needs",
    "licence": "licence",
    "turn_limit": "turns at most",
    "chance_level": "success by chance",
    "expert_success": "expert's success",
    "open_actions": "more actions than listed",
    "workers": "a process each",
    "secrets": "kept secret",
}
"""How each declaration of the contract is called here, in this order; others follow under their own names."""


def of_spaces(shape: Shape) -> dict[str, str]:
    """What its spaces promise."""
    picture = "none: it shows text alone"
    if shape.image is not None:
        picture = f"{shape.image[0]} x {shape.image[1]} pixels (height x width)"
    return {
        "picture": picture,
        "text": f"at most {shape.text_bytes:,} bytes",
        "action": f"a text of at most {shape.action_bytes:,} bytes",
    }


def of_declaration(declared: Mapping[str, Any]) -> dict[str, str]:
    """What it declares in its metadata."""
    found, order = {}, {name: place for place, name in enumerate(_LABELS)}
    for name in sorted(declared, key=lambda name: order.get(name, len(order))):
        found[_LABELS.get(name, str(name).replace("_", " "))] = _in_words(name, declared[name])
    return found


def of_arguments(spec: EnvSpec, creator: Callable[..., Any]) -> dict[str, str]:
    """Its constructor's arguments: `name=value` each, with what the id gives or else the default."""
    given = {**_defaults(creator), **spec.kwargs}
    shown = [
        f"{name} (required)" if value is inspect.Parameter.empty else f"{name}={value!r}"
        for name, value in given.items()
        if name != "render_mode"  # gymnasium's own; nothing here renders
    ]
    return {"arguments": ", ".join(shown) or "none"}


def maker(spec: EnvSpec) -> Callable[..., Any]:
    """The class or function that makes it."""
    entry = spec.entry_point
    return entry if callable(entry) else load_env_creator(str(entry))


def purpose(creator: object) -> str:
    """The first paragraph of the class's own docstring as one line, or ""."""
    said = (getattr(creator, "__doc__", None) or "").strip()
    return " ".join(said.split("\n\n")[0].split())


def _defaults(creator: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of what makes it. A class that passes **kwargs on takes those of its bases, too."""
    calls: list[Callable[..., Any]] = [creator]
    if isinstance(creator, type):
        calls = [vars(cls)["__init__"] for cls in creator.__mro__[:-1] if "__init__" in vars(cls)]
    found: dict[str, Any] = {}
    for call in calls:
        try:
            parameters = list(inspect.signature(call).parameters.values())
        except (TypeError, ValueError):  # written in C: it does not say what it takes
            break
        for parameter in parameters[1:] if isinstance(creator, type) else parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(parameter.name, parameter.default)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def _in_words(name: str, value: object) -> str:
    parts = list(value) if isinstance(value, (tuple, list)) else []
    if name == "reward_range" and len(parts) == 2 and all(isinstance(end, Real) for end in parts):
        return f"{parts[0]:g} to {parts[1]:g}"
    if name == "requirements" and not value:
        return "nothing beyond its package"
    if name in ("chance_level", "expert_success") and isinstance(value, (int, float)):
        return f"{100 * value:g} %"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        needs, command = value.get("needs"), value.get("command")
        return (
            f"{needs}: `{command}`" if needs and command else ", ".join(f"{k}: {v}" for k, v in value.items())
        )
    if isinstance(value, (tuple, list)):
        short = all(isinstance(part, str) and len(part) < 40 for part in parts)
        return (", " if short else "; ").join(_in_words("", part) for part in parts) or "none"
    return str(value)
