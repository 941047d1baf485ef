"""Finds environments: entry points of installed distributions, loaded lazily, the broken ones with a reason.

Each entry point of the group `vlmq.envs` is one plugin: its name is the namespace of its ids, its value a
tuple of gymnasium `EnvSpec`. Nothing is loaded ahead of need: making one id imports the plugin of its
namespace and no other.

A spec module may say why its environments cannot run on this machine: `unavailable() -> str | None`, one
sentence with the mend, found by something as cheap as `shutil.which`. Its ids stay listed, and making one tries.
"""

from __future__ import annotations

import difflib
import inspect
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from importlib.metadata import EntryPoint, entry_points
from types import FrameType, ModuleType
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

from vlmq import api
from vlmq.api import PluginError, UserError
from vlmq.api.contract import ENTRY_POINT_GROUP
from vlmq.api.imports import watched_import
from vlmq.env import address

RESTRICT = "VLMQ_PLUGINS"
"""Environment variable: `auto` (the default), `none`, or the comma-separated names that may load."""

FAULTS = (Exception, SystemExit)
"""What a plugin's code may raise: it can also ask to end the process, which is not its own."""


@dataclass(frozen=True)
class Plugin:
    """One namespace.

    Attributes:
        name: the namespace: every id of the plugin starts with it and a slash.
        distribution: name and version of the distribution that provides it; several where they clash.
        module: the module that holds the specs.
        specs: what it offers; empty where it is quarantined.
        reason: why it is quarantined, or None.
        unavailable: why its environments cannot run on this machine, as it says itself, or None.
        warnings: what is wrong with it though it works.
    """

    name: str
    distribution: str
    module: str
    specs: tuple[EnvSpec, ...] = ()
    reason: str | None = None
    unavailable: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """Every installed plugin, in the order of their names."""

    plugins: tuple[Plugin, ...]

    @property
    def specs(self) -> dict[str, EnvSpec]:
        """The specs that can be made, by id."""
        return {spec.id: spec for plugin in self.plugins for spec in plugin.specs}

    @property
    def quarantined(self) -> dict[str, str]:
        """The reason of each plugin that cannot be used, by its name."""
        return {plugin.name: plugin.reason for plugin in self.plugins if plugin.reason is not None}


def discover() -> Catalogue:
    """Import every plugin's spec module and say what each offers; a broken plugin never raises."""
    return Catalogue(tuple(_load(name, points) for name, points in sorted(_installed().items())))


def plugin_of(env_id: str) -> Plugin:
    """The plugin that an id belongs to; imports no other.

    Raises:
        PluginError: there is no such plugin, or it is quarantined.
    """
    if address.is_remote(env_id):
        place = f"the environment server at {address.address_of(env_id)}"
        return Plugin("remote", place, "vlmq.env.remote", (address.spec_of(env_id),))
    namespace, slash, name = env_id.partition("/")
    if not (namespace and slash and name):
        raise PluginError(
            f"'{env_id}' is not an environment id: ids look like 'namespace/Name-v0'; `vlmq envs` lists all."
        )
    installed = _installed()
    if namespace not in installed:
        near = difflib.get_close_matches(namespace, installed, n=1)
        known = ", ".join(sorted(installed)) or "none"
        raise PluginError(
            f"no installed plugin offers '{env_id}'; {_did_you_mean(near, f'/{name}')}installed namespaces:"
            f" {known}; try `pip install vlmq-env-{namespace}`."
        )
    plugin = _load(namespace, installed[namespace])
    if plugin.reason is not None:
        raise PluginError(f"'{env_id}' cannot be used: plugin '{namespace}' {plugin.reason}")
    return plugin


def find_spec(env_id: str) -> EnvSpec:
    """The spec of an id; imports only the plugin of its namespace. `remote://host:port/ID` is a server's.

    Raises:
        PluginError: the id is unknown (the nearest names are given), or its plugin is quarantined.
    """
    if address.is_remote(env_id):
        return address.spec_of(env_id)
    plugin = plugin_of(env_id)
    known = {spec.id: spec for spec in plugin.specs}
    if env_id in known:
        return known[env_id]
    # the namespace is right, and must not make every id look near
    names = {name.partition("/")[2].lower(): name for name in known}
    near = difflib.get_close_matches(env_id.partition("/")[2].lower(), names, n=3)
    hint = (
        _did_you_mean([names[name] for name in near])
        or f"plugin '{plugin.name}' offers {', '.join(sorted(known)[:8])}; "
    )
    raise PluginError(f"unknown environment '{env_id}'; {hint}`vlmq envs` lists all.")


def metadata_of(env_id: str) -> dict[str, Any]:
    """What the environment's class declares, without making one; `["vlmq"]` holds our part of it.

    Raises:
        PluginError: the id is unknown, or its module does not import.
    """
    metadata = getattr(_creator(find_spec(env_id)), "metadata", None)
    return dict(metadata) if isinstance(metadata, Mapping) else {}


def make(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Make one environment, with the keyword arguments its constructor takes.

    Raises:
        PluginError: the id is unknown, an argument is wrong, or it cannot be built on this machine.
    """
    return build(find_spec(env_id), kwargs)


def build(spec: EnvSpec, kwargs: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    """Make one environment of a spec that is already found. See `make`."""
    check_arguments(spec, kwargs)
    try:
        return gymnasium.make(spec, disable_env_checker=True, **kwargs)
    except UserError:
        raise
    except FAULTS as error:
        # gymnasium repeats the whole call in a TypeError; its cause is what the constructor said
        said = error.__cause__ if isinstance(error, TypeError) and error.__cause__ else error
        given = ", ".join(f"{name}={value!r}" for name, value in kwargs.items()) or "no arguments"
        raise PluginError(f"'{spec.id}' cannot be built with {given}: {one_line(said)}") from error


def check_arguments(spec: EnvSpec, kwargs: Mapping[str, Any]) -> None:
    """Compare keyword arguments with those that the constructor takes, and with other ids; nothing is made.

    Raises:
        PluginError: there is no argument of such a name, one is missing, one makes of this id what another id of the
            plugin stands for, or the module does not import.
    """
    _refuse_another_id(spec, kwargs)
    try:
        signature = inspect.signature(_creator(spec))
    except (TypeError, ValueError):  # a class written in C has none: then the constructor itself must speak
        return
    parameters = signature.parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes = ", ".join(names) or "none"
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for name in kwargs:
            if name not in names:
                near = _did_you_mean(difflib.get_close_matches(name, names, n=1))
                raise PluginError(f"'{spec.id}' has no argument '{name}'; {near}its arguments are: {takes}.")
    for parameter in parameters:
        name = parameter.name
        required = name in names and parameter.default is parameter.empty
        if required and name not in kwargs and name not in spec.kwargs:
            raise PluginError(f"'{spec.id}' needs the argument '{name}'; its arguments are: {takes}.")


def _refuse_another_id(spec: EnvSpec, kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments that belong to another id: what is played with them would be recorded under the wrong one."""
    changed = {name: kwargs[name] for name, own in spec.kwargs.items() if kwargs.get(name, own) != own}
    points = _installed().get(spec.id.partition("/")[0]) if changed else None
    if points is None:
        return
    others = [
        other
        for other in _load(points[0].name, points).specs
        if other.entry_point == spec.entry_point and other.id != spec.id
    ]
    for name, value in changed.items():
        named = [other for other in others if name in other.kwargs and other.kwargs[name] == value]
        if named:
            wanted = {**spec.kwargs, **kwargs}.items()
            best = max(named, key=lambda other: sum(other.kwargs.get(key) == one for key, one in wanted))
            raise PluginError(
                f"'{spec.id}' stands for {name}={spec.kwargs[name]!r}; for {name}={value!r} name '{best.id}' instead."
            )


def one_line(error: BaseException) -> str:
    """An exception as one line: its class and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _installed() -> dict[str, list[EntryPoint]]:
    points: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        points.setdefault(point.name, []).append(point)
    return points


def _load(name: str, points: list[EntryPoint]) -> Plugin:
    """Import one plugin's spec module and judge it. Every fault becomes the plugin's reason."""
    owners = sorted({f"{point.dist.name} {point.dist.version}" for point in points if point.dist is not None})
    point = points[0]
    found = Plugin(name, " and ".join(owners), point.value.partition(":")[0].strip())
    if not _may_load(name):
        setting = f"{RESTRICT}={os.environ[RESTRICT]}"
        return _quarantine(found, f"is kept from loading by {setting}: add '{name}' to it.")
    if len(points) > 1:
        return _quarantine(found, f"is claimed by {found.distribution}: uninstall one of them.")
    try:
        attribute = point.attr
    except AttributeError:  # the standard library's answer to what it cannot read
        said = f"has the entry point '{point.value}': give 'module:SPECS'."
        return _quarantine(found, f"({found.distribution}) {said}")
    try:
        with _contained():
            module, trace = watched_import(point.module)
            if trace.network:
                said = f"opens a connection while it is imported: {', '.join(trace.network)}"
                return _quarantine(found, f"({found.distribution}) {said}; move that into the environment.")
            reason = _wrong_version(module)
            if reason is not None:
                return _quarantine(found, reason)
            value = reduce(getattr, attribute.split("."), module) if attribute else module
    except _Broke as broke:
        return _quarantine(found, f"({found.distribution}) does not import: {broke}")
    reason = _wrong_specs(name, point.value, value)
    if reason is not None:
        return _quarantine(found, reason)
    # only a warning: it shows only where they were not loaded yet, and no verdict may depend on that
    warnings = tuple(
        f"importing {point.module} imports {library}: keep it out of the spec module."
        for library in trace.heavy
    )
    unavailable, wrong = _unavailable(module)
    return replace(
        found, specs=tuple(value), unavailable=unavailable, warnings=(*warnings, *([wrong] if wrong else []))
    )


def _quarantine(plugin: Plugin, reason: str) -> Plugin:
    return replace(plugin, reason=reason)


def _unavailable(module: ModuleType) -> tuple[str | None, str | None]:
    """What the module's `unavailable()` says, and what is wrong with that function itself."""
    ask = getattr(module, "unavailable", None)
    if ask is None:
        return None, None
    try:
        with _contained():
            said = ask()
    except _Broke as broke:
        return None, f"{module.__name__}.unavailable() raises {broke}: it must return a sentence or None."
    if said is None or isinstance(said, str):
        return (" ".join(said.split()) or None) if said else None, None
    kind = type(said).__name__
    return None, f"{module.__name__}.unavailable() returns {kind}: it must return a sentence or None."


class _Broke(Exception):
    """What a plugin's code raised, in one line."""


@contextmanager
def _contained() -> Iterator[None]:
    """Keep whatever a plugin's code raises from the other plugins: it becomes `_Broke`.

    What a signal from outside raises, Ctrl-C above all, is not the plugin's and passes.
    """
    heard: list[int] = []
    handlers: dict[signal.Signals, Callable[[int, FrameType | None], Any]] = {}
    if threading.current_thread() is threading.main_thread():  # the only one that signals interrupt
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                handlers[number] = handler

    def note(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        handlers[signal.Signals(number)](number, frame)

    for number in handlers:
        signal.signal(number, note)
    try:
        yield
    except BaseException as error:
        if heard:
            raise
        raise _Broke(one_line(error)) from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _may_load(name: str) -> bool:
    allowed = os.environ.get(RESTRICT, "").strip() or "auto"
    if allowed in ("auto", "none"):
        return allowed == "auto"
    return name in (part.strip() for part in allowed.split(","))


def _wrong_version(module: ModuleType) -> str | None:
    wanted = getattr(module, "REQUIRES_API", None)
    if wanted is None:
        return None
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        fits = SpecifierSet(wanted).contains(api.VERSION)
    except (InvalidSpecifier, TypeError, AttributeError):
        return f"declares REQUIRES_API = {wanted!r}, which is no version range such as '>=1.0,<2'."
    if fits:
        return None
    return f"needs vlmq.api {wanted}, and this is {api.VERSION}: install versions of the two that match."


def _wrong_specs(name: str, path: str, value: object) -> str | None:
    if not isinstance(value, tuple):
        return f"offers {path}, which is a {type(value).__name__}: it must be a tuple of gymnasium EnvSpec."
    if not value:
        return f"offers no environment: {path} is empty; list an EnvSpec for each."
    seen: set[str] = set()
    for spec in value:
        if not isinstance(spec, EnvSpec):
            return f"lists a {type(spec).__name__} in {path}: it must be a tuple of gymnasium EnvSpec."
        if not spec.id.startswith(f"{name}/"):
            return f"lists '{spec.id}', which is outside its namespace: ids must start with '{name}/'."
        if spec.id in seen:
            return f"lists '{spec.id}' twice: ids must differ."
        if spec.entry_point is None:
            return f"lists '{spec.id}' without an entry_point: give 'module:Class'."
        seen.add(spec.id)
    return None


def _creator(spec: EnvSpec) -> Callable[..., Any]:
    """The environment's class or factory; this imports its module."""
    if callable(spec.entry_point):
        return spec.entry_point
    if ":" not in str(spec.entry_point):
        raise PluginError(
            f"'{spec.id}' cannot be built: its entry_point is '{spec.entry_point}'; write 'module:Class'."
        )
    try:
        creator: Callable[..., Any] = load_env_creator(str(spec.entry_point))
    except FAULTS as error:
        said = one_line(error)
        raise PluginError(f"'{spec.id}' cannot be built: {spec.entry_point} gives {said}") from error
    return creator


def _did_you_mean(near: list[str], suffix: str = "") -> str:
    return f"did you mean {' or '.join(repr(name + suffix) for name in near)}? " if near else ""
