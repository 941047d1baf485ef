"""Turns a second of sixteen environments under one small model: our player against three ways of calling `generate`.

    python benchmarks/rollout.py [--rounds 7] [--seconds 5] [--grid] [--quick]
    python benchmarks/rollout.py --turns 20 [--quick]

The environment computes nothing (`null_env.py`) and shows another picture and text at every turn, so what is timed is
encoding, generation and what is around them. Everybody has the same weights, replies greedily with exactly `--tokens`
tokens (no token ends a reply, so the work is the same whatever is said), and runs on one thread in rounds that
alternate. Before that the replies of the first turns are compared: ours and both image-reading peers must say the same,
token for token.

    ours            `Player` with `ModelPolicy`: pool, bridge, collector, batched sampling with a key-value cache
    loop            chat template, processor and `model.generate` for one environment after the other
    batched         the same, left-padded, for all sixteen in one call
    torchrl text    TorchRL's TransformersWrapper on all sixteen prompts in one call. It ignores images, so it gets the
                    text alone and does LESS work than everybody else; no comparison of replies is possible

A peer stands at one point, `BEST`, of its grid of attention implementations; `--grid` times them all. On a busy machine
they could not be told apart: run it on a quiet one, and set `BEST` to what it says, before a figure is quoted.

The second part plays episodes of twenty turns with the whole history in the context. The peers read each prompt from
its beginning, encoded anew (they tokenise the text of a reply, and may find fewer tokens in it). Our player goes on
from the keys and values that it kept of the turn before (`model.reuse_gb`).

`--turns N` shows what that brings: our player on episodes of so many turns, all of them in the context, with and
without what it keeps, after every reply of the first episodes was found the same. Shorter episodes tell from where on
it pays.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from null_env import Null, install
from side_by_side import alternate, best, ratio, table

from vlmq.api import Observation
from vlmq.model.backbone import load_backbone, locate
from vlmq.model.generate import Sampling
from vlmq.prompt import chat
from vlmq.prompt.encode import Encoder
from vlmq.prompt.window import History
from vlmq.rollout.collector import Player
from vlmq.rollout.policies import Context, ModelPolicy, Reply
from vlmq.rollout.reading import REUSE_GB

NUM_ENVS = 16
GRID = ("sdpa", "eager")
NO_END = -1
"""In place of the token that ends a reply: none does."""
BEST = "sdpa"
"""The peers' attention implementation; see above."""


@dataclass
class Counted:
    """A policy whose replies are counted, and the first ones kept."""

    policy: ModelPolicy
    turns: int = 0
    first: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    reads_context: bool = True

    def replies(self, contexts: list[Context]) -> list[Reply]:
        """The policy's own."""
        found = self.policy.replies(contexts)
        self.turns += len(found)
        for context, reply in zip(contexts, found, strict=True):
            if context.episode < NUM_ENVS:
                self.first[context.episode, context.turn] = reply.ids.tolist()
        return found


class Ours:
    """Our player."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        encoder: Encoder,
        turns: int,
        history: bool,
        reuse_gb: float = REUSE_GB,
    ) -> None:
        sampling = Sampling(arguments.tokens, 0.0, NO_END, encoder.pad_id, encoder.banned_ids)
        backbone = load_backbone(arguments.model).eval()
        self._policy = ModelPolicy(backbone, encoder, sampling, seed=1, reuse_gb=reuse_gb)
        self._encoder, self._tokens, self._turns = encoder, arguments.tokens, turns
        self._history = History("all" if history else "none")
        self.said: dict[tuple[int, int], list[int]] = {}

    def play(self, least: int, seconds: float) -> float:
        """Turns a second of so many seconds, and of so many turns at least; starting the environments is not timed."""
        counted = Counted(self._policy)
        with Player(
            "null/Null-v0", NUM_ENVS, self._encoder, env_args={"turns": self._turns, "varied": True},
            workers=False, max_reply=self._tokens, history=self._history,
        ) as player:  # fmt: skip
            started = time.perf_counter()
            for _ in player.play(counted, range(10**6), lambda index: index, source="null"):
                taken = time.perf_counter() - started
                if counted.turns >= least and taken > seconds:
                    break
        self.said = counted.first
        return counted.turns / taken


class Peer:
    """Environments stepped in turn, their replies from `generate`.

    Args:
        arguments: of the script.
        encoder: for its processor and its words, so that everybody reads the same.
        turns: of an episode.
        history: whether the whole episode stands in the prompt.
        way: one of "loop", "batched" and "torchrl text".
        attention: the model's implementation.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        encoder: Encoder,
        turns: int,
        history: bool,
        way: str,
        attention: str = BEST,
    ) -> None:
        from transformers import AutoModelForImageTextToText

        model = AutoModelForImageTextToText.from_pretrained(
            locate(arguments.model), attn_implementation=attention
        )
        model.generation_config.eos_token_id = None
        self._model, self._encoder, self._processor = model.eval(), encoder, encoder.processor
        self._turns, self._history = turns, history
        self._options = {
            "max_new_tokens": arguments.tokens, "do_sample": False,
            "pad_token_id": encoder.pad_id, "suppress_tokens": sorted(encoder.banned_ids),
        }  # fmt: skip
        self._way: Callable[[list[list[Any]], list[list[Any]]], list[list[int]]] = {
            "loop": self._loop, "batched": self._batched, "torchrl text": self._torchrl,
        }[way]  # fmt: skip
        self.said: dict[tuple[int, int], list[int]] = {}
        if way == "torchrl text":
            self._wrapper = self._wrapped()

    def play(self, least: int, seconds: float) -> float:
        """Turns a second of so many seconds, and of so many turns at least."""
        envs = [Null(turns=self._turns, varied=True) for _ in range(NUM_ENVS)]
        done, episode, taken = 0, 0, 0.0
        started = time.perf_counter()
        while done < least or taken <= seconds:
            shown = [env.reset(seed=episode + slot)[0] for slot, env in enumerate(envs)]
            messages: list[list[Any]] = [[] for _ in envs]
            images: list[list[Any]] = [[] for _ in envs]
            for turn in range(self._turns):
                for slot, seen in enumerate(shown):
                    if not self._history:
                        messages[slot], images[slot] = [], []
                    first = self._encoder.instruction if not messages[slot] else ""
                    observation = Observation(seen["text"], seen["image"])
                    messages[slot].append(chat.user_message(observation, first))
                    images[slot].append(seen["image"])
                replies = self._way(messages, images)
                for slot, ids in enumerate(replies):
                    if episode == 0:
                        self.said[slot, turn] = ids
                    text = self._processor.tokenizer.decode(ids, skip_special_tokens=True)
                    messages[slot].append(chat.assistant_message(text))
                    shown[slot] = envs[slot].step(text)[0]
                done += NUM_ENVS
                taken = time.perf_counter() - started
                if done >= least and taken > seconds:
                    break
            episode += NUM_ENVS
        return done / taken

    @torch.inference_mode()
    def _batched(self, messages: list[list[Any]], images: list[list[Any]]) -> list[list[int]]:
        texts = self._texts(messages)
        inputs = self._processor(
            text=texts, images=images, padding=True, padding_side="left", return_tensors="pt",
            add_special_tokens=False,
        )  # fmt: skip
        made = self._model.generate(**inputs, **self._options)
        found: list[list[int]] = made[:, inputs["input_ids"].shape[1] :].tolist()
        return found

    def _loop(self, messages: list[list[Any]], images: list[list[Any]]) -> list[list[int]]:
        return [self._batched([m], [i])[0] for m, i in zip(messages, images, strict=True)]

    @torch.inference_mode()
    def _torchrl(self, messages: list[list[Any]], images: list[list[Any]]) -> list[list[int]]:
        from tensordict import TensorDict
        from torchrl.modules.llm.policies.common import Text

        plain = [
            [{**m, "content": [part for part in m["content"] if part["type"] == "text"]} for m in one]
            for one in messages
        ]
        prompts = Text(prompt=self._texts(plain), batch_size=[len(plain)])
        out = self._wrapper(TensorDict({"text": prompts}, batch_size=[len(plain)]))
        return [row.tolist() for row in out["tokens"].response]

    def _wrapped(self) -> Any:
        from tensordict import set_list_to_stack
        from torchrl.modules.llm import TransformersWrapper

        set_list_to_stack(True).set()
        return TransformersWrapper(
            self._model, tokenizer=self._processor.tokenizer, input_mode="text", generate=True, pad_output=True,
            return_log_probs=False, generate_kwargs=dict(self._options),
            tokenizer_kwargs={"padding_side": "left", "padding": True, "return_tensors": "pt"},
        )  # fmt: skip

    def _texts(self, messages: list[list[Any]]) -> list[str]:
        template = self._processor.apply_chat_template
        return [template(one, add_generation_prompt=True, tokenize=False) for one in messages]


def main() -> None:
    """Compare the replies, time both parts, print the ratios last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="pkg:vlmq_model_tiny")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each contestant each round")
    parser.add_argument("--tokens", type=int, default=10, help="of a reply")
    parser.add_argument("--long", type=int, default=20, help="turns of the second part's episodes")
    parser.add_argument("--turns", type=int, help="of episodes that are played with and without reuse")
    parser.add_argument("--grid", action="store_true", help="time the peers' grid and nothing else")
    parser.add_argument("--quick", action="store_true", help="two short rounds, shorter episodes")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds, arguments.long = 2, 1.0, min(arguments.long, 6)
    torch.set_num_threads(1)
    folder = tempfile.TemporaryDirectory(prefix="vlmq-rollout-")
    install(Path(folder.name))
    encoder = Encoder.load(locate(arguments.model))
    if arguments.grid:
        grid(arguments, encoder)
        return
    if arguments.turns:
        print("\n" + reuse(arguments, encoder))
        return
    lines = part("one turn in the context", arguments, encoder, 10, history=False)
    lines += part(f"{arguments.long} turns in the context", arguments, encoder, arguments.long, history=True)
    print("\n" + "\n".join(lines))


def part(name: str, arguments: argparse.Namespace, encoder: Encoder, turns: int, history: bool) -> list[str]:
    """The lines with the ratios of one kind of episodes."""
    print(f"\n{name}", flush=True)
    ways = ("batched",) if history else ("loop", "batched", "torchrl text")
    players: dict[str, Any] = {"ours": Ours(arguments, encoder, turns, history)}
    players |= {way: Peer(arguments, encoder, turns, history, way) for way in ways}
    # A whole episode in every slot, so that a round is no shorter than one: contexts grow as it goes on.
    least = NUM_ENVS * turns
    for player in players.values():
        player.play(least, 0.0)
    for way in ways:
        if way == "torchrl text":
            if {len(ids) for ids in players[way].said.values()} != {arguments.tokens}:
                raise SystemExit(f"{way}: its replies have not {arguments.tokens} tokens")
        else:
            compare(players["ours"].said, players[way].said, way)
    rates = alternate(
        {name: lambda _, p=p: p.play(least, arguments.seconds) for name, p in players.items()},
        arguments.rounds,
        "turns/s",
    )
    print(table(rates, "turns/s"))
    return [f"{name}: turns/s, ours over {way}: {ratio(rates, 'ours', way)}" for way in ways]


def reuse(arguments: argparse.Namespace, encoder: Encoder) -> str:
    """The line with the ratio of our player that goes on from what it has read, over the one that begins anew."""
    turns = arguments.turns
    players = {
        name: Ours(arguments, encoder, turns, True, gb)
        for name, gb in {"reuse": REUSE_GB, "anew": 0.0}.items()
    }
    least = NUM_ENVS * turns
    for player in players.values():
        player.play(least, 0.0)
    one, other = (player.said for player in players.values())
    differ = [place for place in other if one[place] != other[place]]
    if len(one) != least or one.keys() != other.keys() or differ:
        raise SystemExit(f"{len(differ)} of {len(one)} replies differ with and without reuse")
    print(f"the same {len(one)} replies with and without reuse, {turns} turns an episode", flush=True)
    rates = alternate(
        {name: lambda _, p=p: p.play(least, arguments.seconds) for name, p in players.items()},
        arguments.rounds,
        "turns/s",
    )
    print(table(rates, "turns/s"))
    return f"{turns} turns in the context: turns/s, reuse over anew: {ratio(rates, 'reuse', 'anew')}"


def compare(
    ours: dict[tuple[int, int], list[int]], theirs: dict[tuple[int, int], list[int]], way: str
) -> None:
    """Whether everybody says the same, where nothing that was said before can differ."""
    places = [place for place in theirs if place[1] == 0]
    differ = [place for place in places if ours[place] != theirs[place]]
    if not places or differ:
        raise SystemExit(f"{way}: replies differ from ours in {len(differ)} of {len(places)} first turns")
    length = sum(len(theirs[place]) for place in places) / len(places)
    print(f"{way}: the same replies as ours in {len(places)} first turns, {length:.1f} tokens each")


def grid(arguments: argparse.Namespace, encoder: Encoder) -> None:
    """Turns a second of the peers under each attention implementation."""
    for way in ("loop", "batched"):
        peers = {name: Peer(arguments, encoder, 10, False, way, name) for name in GRID}
        rates = alternate(
            {name: lambda _, p=p: p.play(NUM_ENVS, arguments.seconds) for name, p in peers.items()},
            arguments.rounds,
            "turns/s",
        )
        print(f"{way}: best {best(rates, list(GRID))}\n{table(rates, 'turns/s')}")


if __name__ == "__main__":
    main()
