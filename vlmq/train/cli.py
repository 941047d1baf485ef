"""The verbs that need torch: fit, validate and collect, on LightningCLI with one yaml for all three."""

from __future__ import annotations

import difflib
import logging
import re
import sys
import tempfile
import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from jsonargparse import ArgumentError
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from vlmq import configs, ranges
from vlmq.api import UserError
from vlmq.data import files
from vlmq.train import acting, checkpoint, dry, folder, memory, strategy
from vlmq.train.callbacks import Interrupts, Reporter, SaveConfig, UpdateLog, checkpoint_callbacks
from vlmq.train.datamodule import VlmqDataModule
from vlmq.train.health import HealthWatch
from vlmq.train.module import VlmqModule
from vlmq.train.schedule import Phase


class VlmqTrainer(L.Trainer):
    """Lightning's Trainer with this project's defaults and the verb `collect`.

    Everything a run writes goes to `default_root_dir`: logs, checkpoints, replay, results.
    """

    def __init__(self, *, checkpoint_every: int = 50, dry_run: bool = False, **kwargs: Any) -> None:
        """Settings are Lightning's own.

        Args:
            checkpoint_every: updates between writes of `last.ckpt`.
            dry_run: estimate the memory that is needed, make one update and keep nothing; `fit --dry-run`.
            kwargs: see `lightning.Trainer`.
        """
        if kwargs.get("accumulate_grad_batches", 1) != 1:
            raise UserError(
                "trainer.accumulate_grad_batches must stay 1: one batch is one update; change data.batch_size."
            )
        if kwargs.get("gradient_clip_val") is not None:
            raise UserError(
                "trainer.gradient_clip_val is not used: each parameter group is clipped by itself; set model.clip."
            )
        ranges.at_least(1, **{"trainer.checkpoint_every": checkpoint_every})
        if isinstance(interval := kwargs.get("val_check_interval"), (int, float)):
            ranges.above(0, **{"trainer.val_check_interval": interval})
        kwargs["strategy"] = strategy.served(kwargs.get("strategy") or "auto")
        if dry_run:
            with strategy.refused(kwargs.get("strategy")):
                super().__init__(
                    num_sanity_val_steps=0,
                    use_distributed_sampler=False,
                    **dry.options({**kwargs, "max_epochs": 1}),
                )
            return
        run_dir = Path(kwargs.get("default_root_dir") or "runs/default")
        kwargs["default_root_dir"] = str(run_dir)
        kwargs["logger"] = _loggers(run_dir, kwargs.get("logger"))
        own = [
            Interrupts(),
            UpdateLog(),
            Reporter(),
            HealthWatch(),
            *checkpoint_callbacks(run_dir, checkpoint_every),
        ]
        kwargs["callbacks"] = [*(kwargs.get("callbacks") or []), *own]
        kwargs["max_epochs"] = 1
        with strategy.refused(kwargs.get("strategy")):
            super().__init__(num_sanity_val_steps=0, use_distributed_sampler=False, **kwargs)
        strategy.prepare(self.strategy)
        if type(self.strategy.checkpoint_io) is TorchCheckpointIO:
            self.strategy.checkpoint_io = checkpoint.CheckpointFile()

    def fit(self, *args: Any, **kwargs: Any) -> None:
        """Lightning's own, which takes weights and numbers from a checkpoint and never runs code from it."""
        kwargs["weights_only"] = True
        with memory.told("learning"):
            super().fit(*args, **kwargs)

    def validate(self, *args: Any, **kwargs: Any) -> Any:
        """Lightning's own, as careful with checkpoints as `fit`."""
        kwargs["weights_only"] = True
        with memory.told("playing"):
            return super().validate(*args, **kwargs)

    def collect(
        self,
        model: VlmqModule,
        datamodule: VlmqDataModule,
        ckpt_path: str | None = None,
    ) -> None:
        """Play the episodes that `data.collect` describes into the dataset.

        Args:
            model: the agent; its weights are loaded only where the model plays.
            datamodule: says what to collect, and where to.
            ckpt_path: `last`, `best` or a file: the checkpoint that plays; the base model without it.
        """
        self.strategy.connect(model)
        model.trainer = datamodule.trainer = self
        self.datamodule = datamodule
        settings = datamodule.collect
        policy = None
        if settings is not None and settings.policy == "model":
            acting.check(model)
            model.configure_model()
            if ckpt_path is not None:
                content = checkpoint.read(Path(ckpt_path))
                model.check_fits(content)
                model.load_state_dict(content["state_dict"], strict=False)
            policy = acting.policy(model, temperature=settings.temperature, seed=datamodule.seed)
        try:
            store = datamodule.collect_dataset(policy)
        finally:
            datamodule.teardown("collect")
        success = float(store.table["success"].mean())
        print(
            f"{len(store)} episodes in {datamodule.dataset_dir}, success {100 * success:.1f} %"
            f"\nNext: vlmq data info {datamodule.dataset_dir}, or vlmq fit with the same config"
        )


class VlmqCLI(LightningCLI):
    """LightningCLI with the verbs fit, validate and collect.

    Args:
        held: what this verb holds until it is done, such as the folder of a `fit`.
        arguments: see `LightningCLI`.
    """

    def __init__(self, *arguments: Any, held: ExitStack, **more: Any) -> None:
        self._held = held
        super().__init__(*arguments, **more)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        skipped = {
            "model",
            "train_dataloaders",
            "val_dataloaders",
            "dataloaders",
            "datamodule",
            "weights_only",
        }
        return {"fit": skipped, "validate": skipped, "collect": {"model", "datamodule"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, turn the parser's complaints into one sentence each, and find the checkpoint that is meant."""
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            raise UserError(explain(str(error), self._known_settings())) from error
        # Here and not later: next, Lightning reads the file for settings of its own.
        verb = self.config.subcommand
        settings = self.config[verb]
        if not 0 <= settings.seed_everything < _SEEDS:
            raise UserError(f"seed_everything is {settings.seed_everything}; give 0 or more, below {_SEEDS}.")
        run_dir = _run_dir(settings)
        takes = verb == "fit" and folder.is_first_process() and not settings.trainer.dry_run
        if settings.get("ckpt_path") is None:
            if takes:
                self._take(run_dir, moving_aside=True)
            return
        path = checkpoint.find(str(settings.ckpt_path), run_dir)
        if takes:
            self._take(run_dir, moving_aside=False)
            if settings.ckpt_path == "last" and path.name == checkpoint.PREVIOUS:
                path = checkpoint.put_back(path)
        checkpoint.read(path)
        settings["ckpt_path"] = str(path)

    def _take(self, run_dir: Path, *, moving_aside: bool) -> None:
        """Be the only `fit` in a folder, an earlier run in it moved aside first or not."""
        lock = folder.Lock(run_dir)
        if moving_aside and folder.move_aside(run_dir):
            lock.release()  # it went along
            lock = folder.Lock(run_dir)
        self._held.callback(lock.release)

    def _known_settings(self) -> list[str]:
        parsers = self._subcommand_parsers.values()
        dests = {action.dest for parser in parsers for action in parser._actions}
        return sorted(dests | {f"phases.{field.name}" for field in fields(Phase)})

    def instantiate_classes(self) -> None:
        """Make trainer, model and data; what settings say of themselves is told, however the parser wraps it."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, UserError):
                cause = cause.__cause__
            if cause is None:
                raise
            raise cause from None

    def before_instantiate_classes(self) -> None:
        """A dry run happens nowhere."""
        settings = self.config[self.subcommand]
        if self.subcommand == "fit" and settings.trainer.dry_run:
            nowhere = self._held.enter_context(tempfile.TemporaryDirectory(prefix="vlmq-dry-run-"))
            dry.prepare(settings, _run_dir(settings), Path(nowhere))


def main(args: list[str]) -> int:
    """Run one verb; gives the exit code. A user's mistake raises `UserError`."""
    for pattern in _QUIET:
        warnings.filterwarnings("ignore", message=pattern)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_worth_saying)
    # Processes that a strategy launches run the same command line again, so it is put where they look.
    sys.argv[1:] = _prepared(args)
    if dry.FLAG in sys.argv and args[0] == "fit":
        # Last, so that nothing after it takes it back.
        sys.argv[1:] = [*(a for a in sys.argv[1:] if a != dry.FLAG), "--trainer.dry_run", "true"]
    try:
        with ExitStack() as held:
            VlmqCLI(
                VlmqModule,
                VlmqDataModule,
                trainer_class=VlmqTrainer,
                save_config_callback=SaveConfig,
                seed_everything_default=1,
                parser_kwargs=dict(_PARSER, **dict.fromkeys(VlmqCLI.subcommands(), _PARSER)),
                held=held,
            )
    except OSError as error:
        known = files.trouble(Path(error.filename or "."), error)
        if known is None:
            raise
        raise known from error
    except SystemExit as stop:
        # Lightning makes an exit code of its own out of Ctrl-C and SIGTERM.
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise
    return 0


def explain(message: str, known: list[str]) -> str:
    """A parser's complaint as one sentence, with the nearest settings where one is unknown.

    Args:
        message: what the parser said.
        known: every setting's dotted name.
    """
    text = " ".join(message.split()).rstrip(".")
    unknown = _UNKNOWN.search(text)
    if unknown is None:
        return f"{_mistyped(text) or text}; `vlmq fit --help` tells what each setting takes."
    key = next(group for group in unknown.groups() if group)
    last = key.rsplit(".", 1)[-1]
    near = difflib.get_close_matches(key, known, n=2, cutoff=0.75)
    near = (
        near
        or [k for k in known if k.rsplit(".", 1)[-1] in difflib.get_close_matches(last, _leaves(known), n=2)][
            :2
        ]
    )
    hint = f"did you mean {' or '.join(near)}?" if near else "`vlmq fit --help` lists all settings."
    return f"unknown setting '{key}'; {hint}"


_UNKNOWN = re.compile(
    r"does not accept option '([\w.\-]+)'|Option '([\w.\-]+)' is not accepted|[Uu]nrecognized arguments:? --([\w.\-]+)"
    r"|[Kk]ey '?\"?([\w.\-]+)'?\"? is not expected"
)


def _mistyped(text: str) -> str | None:
    """What a setting cannot be, and what it takes; None where the parser says something else."""
    key, given = re.match(r'Parser key "([\w.]+)"', text), re.search(r".*(?:Got|Given) value: (.*)$", text)
    inner = re.search(r"NestedArg\(key='([\w.]+)', val=(.*?)\)", text)
    kinds = re.findall(r"Expected a (?:typing\.)?(Literal\[.*?\]|<class '[\w.]+'>|path)", text)
    if key is None or given is None or not kinds:
        return None
    takes = list(dict.fromkeys(_KINDS.get(kind, kind) for kind in kinds))
    for place, kind in enumerate(takes):
        if kind.startswith("Literal["):
            takes[place] = kind[len("Literal[") : -1].replace("'", "")
        elif kind.startswith("<class"):
            takes[place] = "settings of its own"
    if inner is not None:  # of settings that may be null, which are not what was given
        takes = [kind for kind in takes if kind != "null"] or takes
    name, value = (f"{key[1]}.{inner[1]}", inner[2].strip("'")) if inner else (key[1], given[1])
    return f"{name} cannot be {value}: it takes {' or '.join(dict.fromkeys(takes))}"


_KINDS = {
    "<class 'int'>": "a whole number", "<class 'float'>": "a number", "<class 'bool'>": "true or false",
    "<class 'str'>": "text", "<class 'list'>": "a list", "<class 'dict'>": "a mapping", "<class 'NoneType'>": "null",
    "path": "a file",
}  # fmt: skip


def _leaves(known: list[str]) -> list[str]:
    return [key.rsplit(".", 1)[-1] for key in known]


def _prepared(args: list[str]) -> list[str]:
    """The same command line with its files found, and with phases that replace phases.

    A `--config` that is no file here may be one that vlmq ships. Of two lists of one length, the parser would fill
    gaps of the later phases from the earlier ones.
    """
    found: list[str] = []
    rest = iter(args)
    for argument in rest:
        name, joined, value = argument.partition("=")
        if name == _PHASES:
            found.append(f"{_PHASES}=[]")
        file = None if name not in _CONFIG else value if joined else next(rest, None)
        if file is None:
            found.append(argument)
            continue
        path = configs.resolve(file)
        if _has_phases(path):
            found.append(f"{_PHASES}=[]")
        found.append(f"--config={path}")
    return found


def _has_phases(path: Path) -> bool:
    """Whether a configuration gives phases; that it is no yaml is said here: the parser would not say which file."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no valid yaml: {' '.join(str(error).split())}; mend it there.") from error
    model = settings.get("model") if isinstance(settings, dict) else None
    return isinstance(model, dict) and "phases" in model


def _loggers(run_dir: Path, chosen: Logger | Iterable[Logger] | bool | None) -> list[Logger] | bool:
    """CSV files, which `vlmq report` reads, beside what was chosen: TensorBoard's unless that was something else."""
    if chosen is False:
        return False
    # Written at once: a run that is killed has its log up to then.
    csv = CSVLogger(run_dir, name="logs", flush_logs_every_n_steps=1)
    if chosen is None or chosen is True:
        return [csv, TensorBoardLogger(run_dir, name="tensorboard", version=csv.version)]
    loggers = [chosen] if isinstance(chosen, Logger) else list(chosen)
    return loggers if any(isinstance(one, CSVLogger) for one in loggers) else [*loggers, csv]


def _run_dir(settings: Any) -> Path:
    return Path(settings.trainer.default_root_dir or "runs/default")


_CONFIG = ("--config", "-c")
_PHASES = "--model.phases"
_SEEDS = 2**32
"""How many NumPy tells apart."""
_PARSER = {"parser_mode": "omegaconf", "exit_on_error": False, "allow_abbrev": False}


def _worth_saying(record: logging.LogRecord) -> bool:
    """Neither advertisements nor the end of the one epoch that a run is, or of the one update that a dry run is."""
    said = record.getMessage()
    return "Tip:" not in said and "`max_epochs=1` reached" not in said and "`max_steps=1` reached" not in said


_QUIET_LOGGERS = (
    "torchrl",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
    "bitsandbytes.backends.cpu.ops",  # of a kernel for weights that it repacks, which it is kept from
)
_QUIET = (
    ".*does not have many workers.*",
    ".*Total length of `list` across ranks is zero.*",  # where there is no environment, nothing is judged by playing
    ".*your dataloader is not resumable.*",  # batches are functions of the update's number
    ".*isinstance\\(treespec, LeafSpec\\).*",
    ".*torchrl C\\+\\+ binaries.*",
    ".*Failed to import torchrl C\\+\\+.*",
)
