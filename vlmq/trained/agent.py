"""A trained agent from Python: load a run, show it observations, take its actions; export its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmq.api import Observation
from vlmq.model.attention import looks_ahead
from vlmq.model.backbone import family, locate, merge_adapters
from vlmq.model.generate import Sampling
from vlmq.prompt.parse import ParseError, parse_agent
from vlmq.prompt.window import History
from vlmq.rollout.reading import REUSE_GB, Asked, Reader
from vlmq.train import build, checkpoint


@dataclass(frozen=True, eq=False)
class Answer:
    """A reply to one observation.

    Attributes:
        text: in full, thoughts and wrapping included.
        action: that it holds; "" where it holds none.
        parsed: whether it holds one.
        ids: int32 (n,), end token included where it was said.
        log_probs: float32 (n,), of the model at temperature 1.
    """

    text: str
    action: str
    parsed: bool
    ids: NDArray[np.int32]
    log_probs: NDArray[np.float32]


class Agent:
    """A model that acts. `reset` starts a new episode; `act` answers one observation of it.

    Attributes:
        reply: the last reply in full, thoughts and wrapping included.
        run: what its checkpoint says of the run.
        rows: the results that its checkpoint holds.
        return_range: what one unit of the critic's Q is worth in the environment's returns.
    """

    def __init__(self, path: Path, *, device: str = "cpu") -> None:
        content = checkpoint.read(path)
        self.run: dict[str, Any] = content["vlmq"]
        self.settings: dict[str, Any] = self.run["settings"]
        self.rows: list[dict[str, Any]] = self.run["rows"]
        self.return_range = float(content["state_dict"].get("return_range", 1.0))
        self.history = History(
            self.settings["history"],
            self.settings["history_pictures"],
            per_reply=looks_ahead(family(self.settings["backbone"])),
        )
        self.encoder = build.encoder(self.settings)
        self.model = build.actor_critic(self.settings)
        prefix = "actor_critic."
        weights = {
            k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)
        }
        self.model.load_state_dict(weights, strict=False)
        self.model.to(device).eval()
        self._reader = Reader(self.model.backbone, self.encoder, REUSE_GB)
        self.reply = ""
        self.reset()

    def reset(self) -> None:
        """Forget the episode so far."""
        self._observations: list[Observation] = []
        self._replies: list[NDArray[np.int32]] = []
        self._reader.kept.forget([0])

    def act(
        self, image: NDArray[np.uint8] | None, text: str, *, temperature: float = 0.0, seed: int = 0
    ) -> str:
        """The agent's action; "" where its reply holds none.

        Args:
            image: uint8 of shape (H, W, 3), or None where the task has no picture.
            text: what the agent is told this turn.
            temperature: 0 is greedy.
            seed: of the sampling noise, where there is any.
        """
        return self.answer(image, text, temperature=temperature, seed=seed).action

    def answer(
        self, image: NDArray[np.uint8] | None, text: str, *, temperature: float = 0.0, seed: int = 0
    ) -> Answer:
        """The agent's whole reply; the arguments are those of `act`."""
        turn = len(self._observations)
        self._observations.append(Observation(text, image))
        segments = self.encoder.prompts(self.history.context(self._observations, turn))
        replies = self._replies[self.history.start(turn) :]
        encoder = self.encoder
        sampling = Sampling(
            self.settings["max_reply"], temperature, encoder.end_id, encoder.pad_id, encoder.banned_ids
        )
        asked = Asked(segments, replies, 0, self.history.grows(turn))
        (ids, log_probs, _), _ = self._reader.sample([asked], np.array([[seed, turn]]), sampling)
        self._replies.append(ids[0])
        self.reply = encoder.decode(ids[0])
        found = parse_agent(self.reply, encoder.reply_format)
        parsed = not isinstance(found, ParseError)
        return Answer(
            self.reply, "" if isinstance(found, ParseError) else found.action, parsed, ids[0], log_probs[0]
        )

    def export(self, folder: str | Path) -> None:
        """Write the model, adapters merged, and its processor: plain transformers loads them from there.

        Its own `generate` then replies greedily as `act` does, to the rounding of merged adapters: the same end token,
        length and banned tokens.
        """
        model, encoder = self._unquantised(), self.encoder
        merge_adapters(model)
        model.generation_config = type(model.generation_config)(
            max_new_tokens=self.settings["max_reply"],
            do_sample=False,
            eos_token_id=encoder.end_id,
            pad_token_id=encoder.pad_id,
            suppress_tokens=[i for i in encoder.banned_ids if i < self.model.backbone.vocabulary] or None,
        )
        model.save_pretrained(folder)
        self.encoder.save(folder, locate(self.settings["backbone"]))

    def _unquantised(self) -> Any:
        """The model, its base in its own precision: adapters are not merged into weights of 4 or 8 bits."""
        backbone, lora = self.model.backbone, self.settings["lora"]
        if lora is None or lora.get("quantize") is None:
            return backbone.model
        trained = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
        whole = build.backbone({**self.settings, "lora": {**lora, "quantize": None}})
        whole.load_state_dict(trained, strict=False)
        return whole.model


def load(run: str | Path, checkpoint_name: str = "last", *, device: str = "cpu") -> Agent:
    """The agent that a run trained.

    Args:
        run: a run's folder, or a checkpoint file.
        checkpoint_name: `last` or `best`, where a folder is given.
        device: where the model shall live.
    """
    path = Path(run)
    return Agent(path if path.is_file() else checkpoint.find(checkpoint_name, path), device=device)
