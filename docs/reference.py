"""Writes docs/commands.md and docs/settings.md: what every command's help and every setting's docstring says.

`python docs/reference.py` (part of `make docs`) writes both; a test holds them against what it would write.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from docstring_parser import DocstringStyle, parse

from vlmq.cli import VERBS, main
from vlmq.model.backbone import LoraSettings
from vlmq.model.heads import CriticConfig
from vlmq.train.cli import VlmqTrainer
from vlmq.train.datamodule import VlmqDataModule
from vlmq.train.module import VlmqModule
from vlmq.train.schedule import Phase
from vlmq.train.settings import Collect, Collectors, Evaluation, Online, Vllm

FOLDER = Path(__file__).resolve().parent
HEAVY = ("fit", "validate", "collect")
"""Verbs whose options are the settings, which have a page of their own."""
PARTS = {
    "report": (), "play": (), "compare": (), "rank": (), "export": (),
    "envs": ("list", "show", "play"), "serve": (), "configs": (), "data": ("info", "stats", "lint", "convert"),
    "doctor": (), "new-env": (), "check": (),
}  # fmt: skip
"""Every other verb, with the parts of it that have a help of their own."""
SECTIONS: tuple[tuple[str, type], ...] = (
    ("model", VlmqModule),
    ("model.phases[]", Phase),
    ("model.critic", CriticConfig),
    ("model.lora", LoraSettings),
    ("data", VlmqDataModule),
    ("data.collect", Collect),
    ("data.online", Online),
    ("data.collectors", Collectors),
    ("data.evaluation", Evaluation),
    ("data.vllm", Vllm),
    ("trainer", VlmqTrainer),
)

_COMMANDS = """\
# Commands

What `vlmq --help` and `vlmq VERB --help` say. This page is written from them (`docs/reference.py`).

```text
{all}```

## vlmq fit, validate, collect

They take a yaml file and, for each of its keys, an option of the same name, which has the last word:

```
vlmq fit --config configs/quickstart.yaml --model.learning_rate 3e-4
```

| option | verbs | |
|---|---|---|
| `--config FILE` | all | settings, or the name of such a file that ships with vlmq; of several the last one wins |
| `--model.*`, `--data.*`, `--trainer.*` | all | one setting each: [all of them](settings.md) |
| `--seed_everything N` | all | the run's seed, 1 by default |
| `--ckpt_path WHICH` | all | `last`, `best` or a file: `fit` goes on there, the others play with it |
| `--dry-run` | `fit` | the memory it needs, and one update; nothing is kept ([will it fit?](models.md#will-it-fit)) |
| `--print_config` | all | print every setting's value, and stop |
"""

_SETTINGS = """\
# Settings

Every key of a configuration, as the constructors' docstrings tell it. This page is written from them
(`docs/reference.py`). A key is given in the yaml file, or on the command line by its dotted name
(`--data.batch_size 32`); `vlmq fit --config FILE --print_config` prints all values of a run. A name that does not exist
is refused, with the nearest one that does. What the method makes of them is told in [the method](method.md).

`seed_everything` is the run's seed, 1 by default.
"""


def commands() -> str:
    """The page of commands."""
    unknown = set(VERBS) ^ {*HEAVY, *PARTS}
    if unknown:
        raise SystemExit(f"docs/reference.py does not know {sorted(unknown)}; name them in PARTS or HEAVY.")
    lines = [_COMMANDS.format(all=_help())]
    for verb, parts in PARTS.items():
        lines.append(f"## vlmq {verb}\n\n```text\n{_help(verb)}```\n")
        for part in parts:
            said = _help(verb, part)
            if said != _help(verb):
                lines.append(f"### vlmq {verb} {part}\n\n```text\n{said}```\n")
    return "\n".join(lines)


def settings() -> str:
    """The page of settings."""
    lines = [_SETTINGS]
    for section, owner in SECTIONS:
        lines += [
            f"## {section}\n",
            f"{_summary(owner)}\n",
            "| key | takes | default | |",
            "|---|---|---|---|",
        ]
        lines += [f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in rows(owner)]
        lines.append("")
        if owner is VlmqTrainer:
            lines.append(
                "All others are those of Lightning's `Trainer`: `accelerator`, `devices`, `strategy`, `precision`,\n"
                "`logger`, `default_root_dir` (the run's folder), `val_check_interval` (updates between\n"
                "evaluations) ... `vlmq fit --help` lists them."
            )
    return "\n".join(lines).rstrip("\n") + "\n"


def rows(owner: type) -> Iterator[tuple[str, str, str, str]]:
    """Key, what it takes, its default and its meaning, for each argument of a class's constructor.

    Raises:
        SystemExit: a key has no description.
    """
    described = _described(owner)
    hints = get_type_hints(owner.__init__ if not dataclasses.is_dataclass(owner) else owner)
    for name, parameter in inspect.signature(owner).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if not described.get(name):
            raise SystemExit(f"{owner.__name__}: '{name}' is not described; add it to Args of the docstring.")
        yield name, _kind(hints[name]), _default(owner, parameter), described[name].replace("|", "\\|")


def _described(owner: type) -> dict[str, str]:
    told = [owner.__doc__ or ""]
    if not dataclasses.is_dataclass(owner):
        told.append(owner.__init__.__doc__ or "")  # type: ignore[misc]
    return {
        argument.arg_name: " ".join((argument.description or "").split())
        for text in told
        for argument in parse(text, DocstringStyle.GOOGLE).params
    }


def _summary(owner: type) -> str:
    return (parse(owner.__doc__ or "", DocstringStyle.GOOGLE).short_description or "").strip()


def _kind(hint: Any) -> str:
    """A type in the words of yaml."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inside)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(one) for one in inside)
    if origin is list:
        return f"a list of: {_kind(inside[0])}"
    if origin is tuple:
        return f"{len(inside)} of: {_kind(inside[0])}"
    if origin is dict or hint is dict:
        return "a mapping"
    for section, owner in SECTIONS:
        if hint is owner:
            return f"[{section}](#{_anchor(section)})"
    plain = {bool: "true, false", int: "a whole number", float: "a number", str: "text", type(None): "null"}
    return plain.get(hint, "`class_path` and `init_args`")


def _anchor(section: str) -> str:
    return "".join(letter for letter in section if letter.isalnum() or letter in "_-")


def _default(owner: type, parameter: inspect.Parameter) -> str:
    value = parameter.default
    if value is inspect.Parameter.empty:
        return "required"
    if dataclasses.is_dataclass(owner):
        (field,) = (one for one in dataclasses.fields(owner) if one.name == parameter.name)
        if field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
    if dataclasses.is_dataclass(value):
        return "its defaults"
    if isinstance(value, bool) or value is None:
        return "`null`" if value is None else f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`" if len(str(value)) < 40 else "see its description"


def _help(*words: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = main([*words, "--help"])
    assert code == 0, words
    return said.getvalue().rstrip("\n") + "\n"


if __name__ == "__main__":
    (FOLDER / "commands.md").write_text(commands(), encoding="utf-8")
    (FOLDER / "settings.md").write_text(settings(), encoding="utf-8")
