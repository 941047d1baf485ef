"""Every environment that is installed here keeps the contract, whoever wrote it."""

from __future__ import annotations

import os
from hashlib import blake2b

import pytest

from vlmq.api import PluginError
from vlmq.env.check import check
from vlmq.env.registry import Plugin, discover, make, metadata_of, plugin_of

SAMPLE = int(os.environ.get("VLMQ_TEST_SAMPLE", "0"))
"""Another number, other ids of the plugins that have many."""

MOST_IDS = 2
MOST_SLOW_IDS = 1
"""Of a plugin whose environments want a process each: a browser takes seconds to start."""

PLUGINS = [plugin for plugin in discover().plugins if plugin.specs]


def sampled(plugin: Plugin) -> list[str]:
    """Some ids of a plugin, the same in every process."""
    ids = [spec.id for spec in plugin.specs]
    ids.sort(key=lambda env_id: blake2b(f"{SAMPLE} {env_id}".encode()).digest())
    return sorted(ids[: MOST_SLOW_IDS if is_slow(ids[0]) else MOST_IDS])


def is_slow(env_id: str) -> bool:
    """Whether it asks for a process of its own."""
    try:
        return bool((metadata_of(env_id).get("vlmq") or {}).get("workers"))
    except PluginError:  # its test will tell
        return True


def demand_available(env_id: str) -> None:
    unavailable = plugin_of(env_id).unavailable
    if unavailable is not None:
        assert os.environ.get("CI") != "true", f"CI must have it: {unavailable}"
        pytest.skip(unavailable)
    if (metadata_of(env_id).get("vlmq") or {}).get("requirements"):
        try:
            make(env_id).close()
        except PluginError as error:  # one id of several may want data that nobody can install for a test
            pytest.skip(str(error))


def test_no_installed_plugin_is_broken_and_none_is_warned_about() -> None:
    assert discover().quarantined == {}
    assert PLUGINS


@pytest.mark.parametrize("env_id", [env_id for plugin in PLUGINS for env_id in sampled(plugin)])
def test_an_installed_environment_keeps_the_contract(env_id: str) -> None:
    demand_available(env_id)
    # Too few cycles to tell whether memory grows, which takes long: the slow test asks, and the plugin itself.
    report = check(env_id, seeds=range(3), cycles=4 if is_slow(env_id) else 6)
    assert report.ok, report.as_text()


@pytest.mark.slow
@pytest.mark.parametrize("env_id", sorted(discover().specs))
def test_an_installed_environment_keeps_the_contract_for_two_hundred_seeds(env_id: str) -> None:
    demand_available(env_id)
    report = check(env_id, seeds=range(200), cycles=6 if is_slow(env_id) else 1000)
    assert report.ok, report.as_text()
