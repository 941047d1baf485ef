"""Checks of what an environment says of itself before it is played: spec, metadata, spaces."""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium
from gymnasium.utils.env_checker import check_env as gymnasium_check_env

from vlmq.api.errors import ContractError, UserError
from vlmq.api.testing import deadline
from vlmq.api.testing.deadline import FAILURES, time_limit
from vlmq.api.testing.fresh import Unanswered
from vlmq.api.testing.question import Fault, Skip, question, raised
from vlmq.api.testing.subject import Subject


@question()
def can_be_made(subject: Subject) -> str:
    """The environment is made from its spec and arguments."""
    try:
        env = subject.player.env
    except FAILURES as error:
        # gymnasium repeats the whole call in a TypeError; its cause is what the constructor said
        said = error.__cause__ if isinstance(error, TypeError) and error.__cause__ else error
        entry = subject.target.spec.entry_point
        raise Fault(
            str(said) if isinstance(said, UserError) else f"making it raises {raised(said)}",
            "an environment",
            _commands(entry) or "make the constructor work with the arguments of the spec.",
        ) from error
    return type(env.unwrapped).__name__


@question()
def import_is_light(subject: Subject) -> str:
    """Importing the spec module loads no environment and no heavy library, and opens no connection."""
    target = subject.target
    if target.module is None:
        raise Skip("it was given as a class or a spec, and no installed distribution offers it")
    entry = target.spec.entry_point
    if not isinstance(entry, str):
        raise Fault(
            f"the entry point of '{target.env_id}' is {entry!r}",
            "the text 'module:Class', so that the class is imported when it is made",
            f"name the class by its path in {target.module}.",
        )
    try:
        found = subject.fresh.part("import")
    except Unanswered as error:
        raise Fault(str(error), "an import in a fresh process", f"repair {target.module}.") from error
    module = entry.partition(":")[0]
    if module in found["loaded"]:
        raise Fault(
            f"importing {target.module} imports {module}, the module of the environment",
            "only values: listing all environments imports every spec module",
            f"keep {module} out of {target.module}; the text '{entry}' is enough.",
        )
    if found["heavy"]:
        raise Fault(
            f"importing {target.module} imports {', '.join(found['heavy'])}",
            "only the standard library, numpy, gymnasium and vlmq.api",
            "import it in the environment's module.",
        )
    if found["network"]:
        raise Fault(
            f"importing {target.module} opens a connection: {', '.join(found['network'])}",
            "no use of the network",
            "move that into the environment's constructor or reset.",
        )
    return f"{found['s'] * 1e3:.0f} ms"


@question()
def spec_pickles(subject: Subject) -> str:
    """The spec can be sent to another process."""
    spec = subject.target.spec
    if subject.target.bare:
        raise Skip("it was given as a class or a function, without a spec")
    try:
        same = pickle.loads(pickle.dumps(spec)) == spec
    except Exception as error:
        raise Fault(
            f"pickling the spec raises {raised(error)}",
            "a spec of plain values: the pool sends it to its processes",
            "give the entry point as the text 'module:Class' and plain values as kwargs.",
        ) from error
    if not same:
        raise Fault(
            "the spec is another after pickling",
            "an equal one",
            "give kwargs that compare by value.",
        )
    return ""


@question("can_be_made")
def metadata_is_complete(subject: Subject) -> str:
    """`metadata["vlmq"]` declares reward_range, success, modalities, requirements and licence."""
    declared = subject.declared
    if not declared:
        raise Fault(
            "metadata has no 'vlmq'",
            "a dict under metadata['vlmq']",
            "declare reward_range, success, modalities, requirements and licence there.",
        )
    for name, (wanted, fits, required) in DECLARATIONS.items():
        if name not in declared:
            if required:
                raise Fault(f"metadata['vlmq'] has no '{name}'", f"{name}: {wanted}", f"add '{name}'.")
        elif not fits(declared[name]):
            raise Fault(
                f"metadata['vlmq']['{name}'] is {declared[name]!r}",
                wanted,
                f"correct '{name}' in the metadata.",
            )
    unknown = sorted(set(declared) - set(DECLARATIONS))
    return f"beyond the contract: {', '.join(map(str, unknown))}" if unknown else ""


@question("can_be_made")
def spaces_are_those_of_the_contract(subject: Subject) -> str:
    """Observations are a Dict of an image (uint8, height, width, 3) and a text, or a text; actions are texts."""
    try:
        shape = subject.shape
    except ContractError as error:
        seen, _, rest = str(error).partition(": ")[2].partition("; expected ")
        expected, _, mend = rest.partition(". ")
        raise Fault(seen, expected, mend) from error
    return "text alone" if shape.image is None else f"image {shape.image}"


@question("plays", "observations_lie_in_their_space", "reset_begins_anew", "the_seed_decides", "seeds_differ")
def gymnasium_finds_no_fault(subject: Subject) -> str:
    """gymnasium's own environment checker passes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with subject.made() as player, time_limit(deadline.MAKING_LIMIT_S):
                gymnasium_check_env(player.env.unwrapped, skip_render_check=True, skip_close_check=True)
        except FAILURES as error:
            raise Fault(
                f"gymnasium.utils.env_checker: {' '.join(str(error).split())}",
                "the interface of gymnasium.Env",
                "do as it says; gymnasium.utils.env_checker.check_env(env.unwrapped) repeats it.",
            ) from error
    said = dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught)
    return f"it warns: {'; '.join(said)}" if said else ""


def _commands(entry: object) -> str:
    """The mend of each requirement that the environment's class declares; "" where it declares none."""
    if isinstance(entry, str):
        try:
            entry = gymnasium.envs.registration.load_env_creator(entry)
        except FAILURES:
            return ""
    metadata = getattr(entry, "metadata", None)
    declared = metadata.get("vlmq") if isinstance(metadata, Mapping) else None
    requirements = declared.get("requirements") if isinstance(declared, Mapping) else None
    if not isinstance(requirements, (tuple, list)):
        return ""
    said = [f"{r['needs']}: `{r['command']}`" if isinstance(r, Mapping) else str(r) for r in requirements]
    return f"it needs {'; '.join(said)}." if said else ""


def _is_range(value: object) -> bool:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    return all(_is_number(end) for end in value) and value[0] < value[1]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _is_sentence(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_names(value: object, fewest: int = 0) -> bool:
    return isinstance(value, (tuple, list)) and len(value) >= fewest and all(map(_is_sentence, value))


def _are_requirements(value: object) -> bool:
    return isinstance(value, (tuple, list)) and all(map(_is_requirement, value))


def _is_requirement(value: object) -> bool:
    if isinstance(value, Mapping):
        return {"needs", "command"} <= set(value) and _all_sentences(value.values())
    return _is_sentence(value)


def _all_sentences(values: Iterable[object]) -> bool:
    return all(map(_is_sentence, values))


DECLARATIONS: dict[str, tuple[str, Any, bool]] = {
    "reward_range": ("(lowest, highest) reward of one turn, finite and different", _is_range, True),
    "success": ("a sentence that says what success means", _is_sentence, True),
    "modalities": ("a tuple of at least one name", lambda value: _are_names(value, 1), True),
    "requirements": ("a tuple of sentences or of {'needs': ..., 'command': ...}", _are_requirements, True),
    "licence": ("the licence's name", _is_sentence, True),
    "workers": ("a bool: a process for each environment", lambda value: isinstance(value, bool), False),
    "turn_limit": (
        "a whole number of turns, at least 1",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 1,
        False,
    ),
    "open_actions": ("a bool: texts beyond legal_actions are legal", lambda v: isinstance(v, bool), False),
    "chance_level": ("the success rate of random legal play, 0 to 1", _is_share, False),
    "expert_success": ("the success rate of the expert, 0 to 1", _is_share, False),
    "secrets": ("a tuple of names of attributes", _are_names, False),
}
"""What may be declared: what it must be, the test of that, and whether it must be there."""

FIRST = (
    can_be_made,
    import_is_light,
    spec_pickles,
    metadata_is_complete,
    spaces_are_those_of_the_contract,
)
LAST = (gymnasium_finds_no_fault,)
