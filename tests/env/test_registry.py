"""The registry finds what is installed, loads no more than it must, and says why a plugin is broken."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import gymnasium
import pytest

from vlmq.api import PluginError
from vlmq.env import registry

Install = Callable[..., None]

GOOD = """
from gymnasium.envs.registration import EnvSpec
SPECS = (
    EnvSpec(id="good/NumberLine-v0", entry_point="good_env:Line"),
    EnvSpec(id="good/Points-v0", entry_point="good_env:missing"),
    EnvSpec(id="good/Broken-v0", entry_point="good_env:Broken"),
)
"""

GOOD_ENV = """
import gymnasium
from vlmq.api import ContractError, action_space, observation_space

class Line(gymnasium.Env):
    metadata = {"render_modes": [], "vlmq": {"success": "there"}}
    def __init__(self, start, length=5):
        if length < 1:
            raise ValueError(f"length is {length}: it must be 1 or more")
        self.start, self.length = start, length
        self.observation_space, self.action_space = observation_space(4, 4), action_space()

class Broken(gymnasium.Env):
    metadata = {"render_modes": []}
    def __init__(self, mine=False, quits=False):
        if quits:
            raise SystemExit(0)
        raise ContractError("mine") if mine else RuntimeError("no browser found\\nsecond line")
"""

SPEC = "from gymnasium.envs.registration import EnvSpec\n"


def error_of(env_id: str, **kwargs: object) -> str:
    with pytest.raises(PluginError) as caught:
        registry.make(env_id, **kwargs)
    return str(caught.value)


def fresh(code: str) -> str:
    """Run code in a fresh interpreter with this one's path; what it printed."""
    whole = f"import sys; sys.path[:] = {sys.path!r}\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", whole], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_light_imports_load_no_torch_and_no_environment() -> None:
    code = """
import vlmq.api, vlmq.env.registry, vlmq.env.pool, vlmq.env.wrappers, vlmq.env.worker
heavy = {"torch", "lightning", "transformers", "torchrl", "tensordict", "PIL"} & set(sys.modules)
plugins = ("vlmq_env_", "vlmq_model_", "line_")
print(sorted(heavy), [name for name in sys.modules if name.startswith(plugins)])
vlmq.env.registry.find_spec("line/Walk-v0")
print([name for name in sys.modules if name.startswith(plugins)])
vlmq.env.registry.discover()
print([name for name in ("torch", "PIL", "line_games") if name in sys.modules])
"""
    assert fresh(code).splitlines() == ["[] []", "['line_specs']", "[]"]


def test_making_an_id_imports_no_other_plugin(install: Install) -> None:
    install("good", GOOD, good_env=GOOD_ENV)
    install("other", "raise RuntimeError('imported')")
    env = registry.make("good/NumberLine-v0", start=2)
    assert isinstance(env, gymnasium.Env)
    assert (env.unwrapped.start, env.unwrapped.length) == (2, 5)  # type: ignore[attr-defined]
    assert "other_specs" not in sys.modules
    assert not any("PassiveEnvChecker" in str(type(layer)) for layer in (env, getattr(env, "env", None)))


def test_metadata_needs_no_instance(install: Install) -> None:
    install("good", GOOD, good_env=GOOD_ENV)
    assert registry.metadata_of("good/NumberLine-v0")["vlmq"] == {"success": "there"}
    assert registry.metadata_of("line/Walk-v0")["vlmq"]["licence"] == "Apache-2.0"


def test_the_catalogue_lists_what_is_installed(install: Install) -> None:
    install("good", GOOD, good_env=GOOD_ENV)
    catalogue = registry.discover()
    assert {"good/NumberLine-v0", "good/Points-v0", "line/Walk-v0"} <= set(catalogue.specs)
    assert "good_env" not in sys.modules, "a spec module names its environments and does not import them"
    plugin = registry.plugin_of("good/Points-v0")
    assert (plugin.name, plugin.distribution, plugin.module) == ("good", "vlmq-env-good 1.0", "good_specs")
    assert plugin in catalogue.plugins


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_thing", "does not import: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("import sys; sys.exit('bye')", "does not import: SystemExit: bye"),
        ("import asyncio; raise asyncio.CancelledError('c')", "does not import: CancelledError: c"),
        ("raise KeyboardInterrupt", "does not import: KeyboardInterrupt"),
        ("SPECS = ()", "offers no environment: bad_specs:SPECS is empty; list an EnvSpec for each."),
        ("", "does not import: AttributeError: "),
        ("def SPECS(:", "does not import: SyntaxError: "),
        (
            "SPECS = ['bad/A-v0']",
            "offers bad_specs:SPECS, which is a list: it must be a tuple of gymnasium EnvSpec.",
        ),
        ("SPECS = ('bad/A-v0',)", "lists a str in bad_specs:SPECS: it must be a tuple of gymnasium EnvSpec."),
        (
            SPEC + "SPECS = (EnvSpec('good/A-v0', 'm:A'),)",
            "lists 'good/A-v0', which is outside its namespace",
        ),
        (SPEC + "SPECS = (EnvSpec('bad/A-v0', 'm:A'),) * 2", "lists 'bad/A-v0' twice: ids must differ."),
        (SPEC + "SPECS = (EnvSpec('bad/A-v0'),)", "lists 'bad/A-v0' without an entry_point"),
        ("REQUIRES_API = '>=2,<3'\nSPECS = ()", "needs vlmq.api >=2,<3, and this is 1.2: install versions"),
        ("REQUIRES_API = 'new'\nSPECS = ()", "declares REQUIRES_API = 'new', which is no version range"),
    ],
)
def test_a_broken_plugin_is_set_aside_with_its_reason(install: Install, source: str, reason: str) -> None:
    install("good", GOOD, good_env=GOOD_ENV)
    install("bad", source)
    catalogue = registry.discover()
    assert reason in catalogue.quarantined["bad"]
    assert "good/NumberLine-v0" in catalogue.specs
    assert not any(env_id.startswith("bad/") for env_id in catalogue.specs)
    said = error_of("bad/A-v0")
    assert said.startswith("'bad/A-v0' cannot be used: plugin 'bad' ")
    assert reason in said
    assert registry.make("good/NumberLine-v0", start=0) is not None


def test_an_entry_point_that_names_no_module_is_set_aside(install: Install, tmp_path: Path) -> None:
    install("good", GOOD, good_env=GOOD_ENV)
    install("bad", GOOD)
    points = tmp_path / "vlmq_env_bad-1.0.dist-info" / "entry_points.txt"
    points.write_text("[vlmq.envs]\nbad = bad_specs SPECS\n")
    catalogue = registry.discover()
    assert catalogue.quarantined["bad"] == (
        "(vlmq-env-bad 1.0) has the entry point 'bad_specs SPECS': give 'module:SPECS'."
    )
    assert "good/NumberLine-v0" in catalogue.specs


def test_ctrl_c_during_an_import_is_no_fault_of_the_plugin(install: Install) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
    try:
        install("slow", "import signal; signal.raise_signal(signal.SIGINT)")
        with pytest.raises(KeyboardInterrupt):
            registry.discover()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_two_distributions_with_one_namespace_are_both_named(install: Install) -> None:
    install("twin", GOOD.replace("good/", "twin/"))
    install("twin", GOOD.replace("good/", "twin/"), distribution="vlmq-env-impostor")
    reason = registry.discover().quarantined["twin"]
    assert reason == "is claimed by vlmq-env-impostor 1.0 and vlmq-env-twin 1.0: uninstall one of them."


def test_a_spec_module_that_imports_torch_is_warned_about(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a module of that name stands in for the real one, which this process may have loaded already
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    loads = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')\n"
    install("heavy", loads + GOOD.replace("good/", "heavy/"))
    plugin = next(plugin for plugin in registry.discover().plugins if plugin.name == "heavy")
    sys.modules.pop("torch", None)
    assert plugin.warnings == ("importing heavy_specs imports torch: keep it out of the spec module.",)
    assert plugin.reason is None


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("auto", {"good", "other"}),
        ("", {"good", "other"}),
        ("none", set()),
        ("good", {"good"}),
        ("good, other", {"good", "other"}),
    ],
)
def test_the_environment_variable_restricts_what_may_load(
    install: Install, monkeypatch: pytest.MonkeyPatch, setting: str, allowed: set[str]
) -> None:
    install("good", GOOD, good_env=GOOD_ENV)
    install("other", SPEC + "SPECS = (EnvSpec('other/A-v0', 'm:A'),)")
    monkeypatch.setenv("VLMQ_PLUGINS", setting)
    catalogue = registry.discover()
    assert {env_id.split("/")[0] for env_id in catalogue.specs} & {"good", "other"} == allowed
    assert {name for name in ("good", "other") if f"{name}_specs" in sys.modules} == allowed
    if "good" not in allowed:
        said = "'good/Points-v0' cannot be used: plugin 'good' is kept from loading by VLMQ_PLUGINS=none"
        assert error_of("good/Points-v0").startswith(said)


def test_an_unknown_id_is_answered_with_the_nearest(install: Install) -> None:
    install("good", GOOD, good_env=GOOD_ENV)
    assert error_of("good/NumberLin-v0") == (
        "unknown environment 'good/NumberLin-v0'; did you mean 'good/NumberLine-v0'? `vlmq envs` lists all."
    )
    assert error_of("good/Xyzzyqwert") == (
        "unknown environment 'good/Xyzzyqwert'; plugin 'good' offers good/Broken-v0, good/NumberLine-v0,"
        " good/Points-v0; `vlmq envs` lists all."
    )


def test_an_unknown_namespace_is_answered_with_what_to_install(install: Install) -> None:
    install("good", GOOD, good_env=GOOD_ENV)
    said = error_of("goood/NumberLine-v0")
    assert said.startswith(
        "no installed plugin offers 'goood/NumberLine-v0'; did you mean 'good/NumberLine-v0'?"
        " installed namespaces:"
    )
    assert said.endswith("try `pip install vlmq-env-goood`.")
    assert {"good", "line"} <= set(re.split(r"\W+", said))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "", "good/", "/A-v0"])
def test_an_id_without_a_namespace_is_refused(env_id: str) -> None:
    assert "is not an environment id: ids look like 'namespace/Name-v0'" in error_of(env_id)


def test_wrong_arguments_are_named(install: Install) -> None:
    install("good", GOOD, good_env=GOOD_ENV)
    line = "good/NumberLine-v0"
    assert error_of(line, start=0, lenght=3) == (
        "'good/NumberLine-v0' has no argument 'lenght'; did you mean 'length'?"
        " its arguments are: start, length."
    )
    assert (
        error_of(line) == "'good/NumberLine-v0' needs the argument 'start'; its arguments are: start, length."
    )
    assert error_of(line, start=0, length=0) == (
        "'good/NumberLine-v0' cannot be built with start=0, length=0:"
        " ValueError: length is 0: it must be 1 or more"
    )
    assert "with start=0, length='x': TypeError: '<' not supported between" in error_of(
        line, start=0, length="x"
    )


COLOURS = """
from gymnasium.envs.registration import EnvSpec
SPECS = (
    *(EnvSpec(id=f"hue/{c.title()}-v0", entry_point="hue_env:Hue", kwargs={"colour": c}) for c in ("red", "blue")),
    *(EnvSpec(id=f"hue/{c.title()}Big-v0", entry_point="hue_env:Hue", kwargs={"colour": c, "size": 9})
      for c in ("red", "blue")),
)
"""

HUE = """
import gymnasium
from vlmq.api import action_space, observation_space
class Hue(gymnasium.Env):
    def __init__(self, colour, size=1, turns=5):
        self.made = colour, size, turns
        self.observation_space, self.action_space = observation_space(4, 4), action_space()
"""


def test_an_id_is_not_made_into_another(install: Install) -> None:
    install("hue", COLOURS, hue_env=HUE)
    assert error_of("hue/Red-v0", colour="blue") == (
        "'hue/Red-v0' stands for colour='red'; for colour='blue' name 'hue/Blue-v0' instead."
    )
    assert error_of("hue/RedBig-v0", colour="blue", turns=3).endswith("name 'hue/BlueBig-v0' instead.")
    with pytest.raises(PluginError, match="name 'hue/Blue-v0' instead"):
        registry.check_arguments(registry.find_spec("hue/Red-v0"), {"colour": "blue"})


@pytest.mark.parametrize(
    ("env_id", "given", "made"),
    [
        ("hue/Red-v0", {"turns": 3}, ("red", 1, 3)),
        ("hue/Red-v0", {"colour": "red"}, ("red", 1, 5)),
        ("hue/Red-v0", {"colour": "green"}, ("green", 1, 5)),
        ("hue/RedBig-v0", {"size": 4}, ("red", 4, 5)),
    ],
    ids=["what no id gives", "what the id itself gives", "what is no other id's", "a size between"],
)
def test_other_arguments_of_an_id_may_be_changed(
    install: Install, env_id: str, given: dict[str, object], made: tuple[object, ...]
) -> None:
    install("hue", COLOURS, hue_env=HUE)
    assert registry.make(env_id, **given).unwrapped.made == made  # type: ignore[attr-defined]


def test_an_environment_that_cannot_be_built_says_why(install: Install) -> None:
    install("good", GOOD, good_env=GOOD_ENV)
    assert error_of("good/Broken-v0") == (
        "'good/Broken-v0' cannot be built with no arguments: RuntimeError: no browser found"
    )
    assert error_of("good/Broken-v0", quits=True) == (
        "'good/Broken-v0' cannot be built with quits=True: SystemExit: 0"
    )
    install("gone", GOOD.replace("good", "gone"), gone_env="raise SystemExit(0)")
    assert (
        error_of("gone/Broken-v0") == "'gone/Broken-v0' cannot be built: gone_env:Broken gives SystemExit: 0"
    )
    assert "good_env:missing gives AttributeError" in error_of("good/Points-v0")
    install("dots", GOOD.replace("good/", "dots/").replace(":", "."))
    assert error_of("dots/Broken-v0") == (
        "'dots/Broken-v0' cannot be built: its entry_point is 'good_env.Broken'; write 'module:Class'."
    )
    with pytest.raises(Exception, match="^mine$") as caught:
        registry.make("good/Broken-v0", mine=True)
    assert type(caught.value).__name__ == "ContractError", "an error of ours keeps its class"


PHONE = """
import socket
{what}
from gymnasium.envs.registration import EnvSpec
SPECS = (EnvSpec(id="phone/A-v0", entry_point="m:A"),)
"""


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "with socket.socket() as s:\n    s.settimeout(1)\n    s.connect_ex(('127.0.0.1', 9))",
            "connect to 127.0.0.1:9",
        ),
        ("with socket.socket() as s:\n    s.bind(('127.0.0.1', 0))", "bind to 127.0.0.1:0"),
        ("socket.getaddrinfo('localhost', 80)", "getaddrinfo of localhost"),
    ],
)
def test_a_spec_module_that_opens_a_connection_is_set_aside_by_name(
    install: Install, what: str, said: str
) -> None:
    install("good", GOOD, good_env=GOOD_ENV)
    install("phone", PHONE.format(what=what))
    for _ in range(2):  # the second time the module is loaded already
        reason = registry.discover().quarantined["phone"]
        assert reason == (
            f"(vlmq-env-phone 1.0) opens a connection while it is imported: socket.{said};"
            " move that into the environment."
        )
    assert "good" not in registry.discover().quarantined


def test_only_the_import_itself_is_listened_to(install: Install) -> None:
    # a module may prepare what connects later, and others may connect meanwhile
    code = "a, b = socket.socketpair(); a.close(); b.close(); port = socket.socket; socket.socket().close()"
    install("phone", PHONE.format(what=code))
    stop, talked = threading.Event(), threading.Event()

    def talk() -> None:
        while not stop.is_set():
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
            talked.set()

    thread = threading.Thread(target=talk)
    thread.start()
    talked.wait()
    try:
        assert registry.discover().quarantined.get("phone") is None
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    ("body", "unavailable", "warning"),
    [
        ("return None", None, None),
        ("return ''", None, None),
        ("return 'No loom here:\\n  apt-get install loom.'", "No loom here: apt-get install loom.", None),
        ("raise OSError('no path')", None, "raises OSError: no path: it must return a sentence or None."),
        ("raise SystemExit(3)", None, "raises SystemExit: 3: it must return a sentence or None."),
        ("return 3", None, "returns int: it must return a sentence or None."),
    ],
)
def test_a_plugin_says_itself_why_it_cannot_run_here_and_keeps_its_ids(
    install: Install, body: str, unavailable: str | None, warning: str | None
) -> None:
    install("good", f"{GOOD}\ndef unavailable():\n    {body}\n", good_env=GOOD_ENV)
    (plugin,) = [plugin for plugin in registry.discover().plugins if plugin.name == "good"]
    assert plugin.reason is None
    assert len(plugin.specs) == 3
    assert plugin.unavailable == unavailable
    assert list(plugin.warnings) == ([f"good_specs.unavailable() {warning}"] if warning else [])
    assert registry.make("good/NumberLine-v0", start=0) is not None, "making one tries all the same"


def test_unavailable_that_is_no_function_is_a_warning(install: Install) -> None:
    install("good", f"{GOOD}\nunavailable = 'no loom'\n")
    plugin = registry.plugin_of("good/Points-v0")
    assert (plugin.unavailable, plugin.reason) == (None, None)
    assert "good_specs.unavailable() raises TypeError" in plugin.warnings[0]


def test_twenty_plugins_are_listed_in_a_second_without_one_environment(install: Install) -> None:
    names = [f"many{number:02}" for number in range(20)]
    for name in names:
        specs = GOOD.replace("good/", f"{name}/").replace("good_env", f"{name}_env")
        install(name, specs, **{f"{name}_env": GOOD_ENV})
    code = """
import sys, time
from vlmq.cli import main
code = main(["envs"])
print(code, time.process_time(), *sys.modules, sep="|")
"""
    *listing, facts = fresh(code).splitlines()
    status, seconds, *loaded = facts.split("|")
    assert status == "0"
    assert sum(line.startswith("many") for line in listing) == 60
    assert {f"{name}_specs" for name in names} <= set(loaded)
    assert not {f"{name}_env" for name in names} & set(loaded)
    assert not {"torch", "transformers", "PIL"} & set(loaded)
    assert float(seconds) < 1.0
