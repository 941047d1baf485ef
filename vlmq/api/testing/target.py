"""Which environment is checked: found from an id, a spec, a class or a function, made here and elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from vlmq.api.contract import ENTRY_POINT_GROUP
from vlmq.api.errors import PluginError
from vlmq.api.testing import deadline

Checkable = str | EnvSpec | Callable[..., gymnasium.Env[Any, Any]]
"""An id such as "foo/Bar-v0", a spec, or whatever makes an environment when it is called."""


@dataclass(frozen=True)
class Target:
    """An environment and the arguments it is made with; it pickles if they do.

    Attributes:
        spec: how it is made.
        module: the spec module that offers it, or None where it is not installed.
        kwargs: arguments of its constructor, on top of the spec's.
        bare: whether it was given as a class or a function, and the spec is of our making.
    """

    spec: EnvSpec
    module: str | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    bare: bool = False

    @property
    def env_id(self) -> str:
        """Its id, or the name of its class."""
        return self.spec.id

    def make(self, **more: Any) -> gymnasium.Env[Any, Any]:
        """A new instance; `more` overrides the arguments."""
        with deadline.time_limit(deadline.MAKING_LIMIT_S):
            return gymnasium.make(self.spec, disable_env_checker=True, **{**self.kwargs, **more})


def find_target(env: Checkable, kwargs: Mapping[str, Any]) -> Target:
    """The target of whatever `check_env` was given.

    Raises:
        PluginError: no installed plugin offers this id, or its spec module does not import.
    """
    if isinstance(env, str):
        spec, module = _installed(env)
        return Target(spec, module, kwargs)
    if isinstance(env, EnvSpec):
        return Target(env, _module_of(env), kwargs)
    if not callable(env):
        raise PluginError(
            f"check_env was given {type(env).__name__}; give an id, a gymnasium EnvSpec, or a class."
        )
    name = re.sub(r"\W", "", getattr(env, "__name__", "")) or "unnamed"
    return Target(EnvSpec(id=name, entry_point=env), None, kwargs, bare=True)


def _installed(env_id: str) -> tuple[EnvSpec, str]:
    namespace = env_id.partition("/")[0]
    for point in entry_points(group=ENTRY_POINT_GROUP, name=namespace):
        try:
            specs = point.load()
        except deadline.FAILURES as error:
            raise PluginError(
                f"'{env_id}' cannot be checked: {point.module} raises {type(error).__name__}: {error}"
            ) from error
        for spec in specs:
            if spec.id == env_id:
                return spec, point.module
    raise PluginError(f"no installed plugin offers '{env_id}'; `vlmq envs` lists what there is.")


def _module_of(spec: EnvSpec) -> str | None:
    """The installed spec module that offers this very spec."""
    try:
        found, module = _installed(spec.id)
    except PluginError:
        return None
    return module if found == spec else None
