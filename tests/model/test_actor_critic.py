"""The heads: values are the sums they stand for, gradients go where they are let, the copy follows tau."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vlmq.api import Turn
from vlmq.data.batch import Batch, Fragment, build_batch
from vlmq.model.actor_critic import ActorCritic, Output, scale_gradient
from vlmq.model.backbone import Backbone, LoraSettings, load_backbone
from vlmq.model.heads import CriticConfig, CriticHead
from vlmq.prompt.encode import Encoder
from vlmq.prompt.window import History

SIZE = CriticConfig(2, 16, 8)


@pytest.fixture(scope="module")
def batch(tiny_encoder: Encoder, tiny_turns: tuple[Turn, ...]) -> Batch:
    fragment = Fragment(tiny_turns[:3], 0, 0, tiny_turns[3].observation, False)
    return build_batch([fragment], tiny_encoder, History())


def _build(backbone: Backbone, *, trunk_gradient: float = 1.0) -> ActorCritic:
    torch.manual_seed(0)
    model = ActorCritic(copy.deepcopy(backbone), SIZE, trunk_gradient=trunk_gradient)
    for parameter in model.critic.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # also the rows that start at zero
    return model


def _forward(model: ActorCritic, batch: Batch, *, with_critic: bool = True) -> Output:
    output: Output = model(
        batch.inputs, batch.state_row, batch.state_position, batch.tokens, with_critic=with_critic
    )
    return output


@torch.no_grad()
def _q_of_every_token(head: CriticHead, hidden: Tensor, vocabulary: int) -> Tensor:
    """(C, S, V), one token at a time, as `forward` gives it."""
    some = torch.full((len(hidden), vocabulary), 1.0 / vocabulary)
    columns = [head(hidden, torch.full((len(hidden),), token), some)[0] for token in range(vocabulary)]
    return torch.stack(columns, -1)


def test_a_value_is_the_explicit_sum_over_the_vocabulary() -> None:
    torch.manual_seed(1)
    head = CriticHead(12, 30, CriticConfig(3, 16, 4))
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    hidden, probs = torch.randn(7, 12), torch.randn(7, 30).softmax(-1)
    q, value, _ = head(hidden, torch.arange(5), probs)
    every = _q_of_every_token(head, hidden, 30)
    torch.testing.assert_close(value, (every * probs).sum(-1), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(q, every[:, torch.arange(5), torch.arange(5)], atol=1e-5, rtol=1e-5)
    assert not value.requires_grad
    assert q.requires_grad


def test_an_untrained_critic_prefers_no_token() -> None:
    torch.manual_seed(2)
    head = CriticHead(64, 500, CriticConfig())
    every = _q_of_every_token(head, torch.randn(4, 64), 500)
    assert float(every.std(-1).max()) < 0.05


@pytest.mark.parametrize(
    "form", [{}, {"rows": "tied"}, {"value": "topk"}, {"value": "expectile"}, {"value": "turn"}]
)
def test_an_untrained_critic_says_the_level_it_is_told_of_every_state_and_token(
    tiny_backbone: Backbone, batch: Batch, form: dict[str, Any]
) -> None:
    model = ActorCritic(copy.deepcopy(tiny_backbone), replace(SIZE, **form), trunk_gradient=1.0)
    model.start_at(-3.0)
    output = _forward(model, batch)
    for said in (output.q, output.value, output.target_q, output.target_value):
        assert said is not None
        torch.testing.assert_close(said, torch.full_like(said, -3.0), atol=0.2, rtol=0)


def test_a_lesson_about_one_token_lifts_the_tokens_never_taken_with_it() -> None:
    # Negative returns: what was never tried must not look better for having kept its initial zero.
    torch.manual_seed(3)
    head = CriticHead(8, 20, CriticConfig(1, 32, 4))
    hidden, tokens = torch.randn(16, 8), torch.zeros(16, dtype=torch.long)
    probs = torch.full((16, 20), 0.05)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        (head(hidden, tokens, probs)[0] + 1.0).square().mean().backward()
        optimizer.step()
    every = _q_of_every_token(head, hidden, 20)
    assert float(every[..., 1:].mean()) < -0.5


def test_the_heads_read_the_hidden_states_at_the_places_given(tiny_backbone: Backbone, batch: Batch) -> None:
    model = _build(tiny_backbone)
    with torch.no_grad():
        output = _forward(model, batch)
        log_probs = model.backbone.model(**batch.inputs).logits.log_softmax(-1)
        hidden = model.backbone.hidden(batch.inputs)
    count = len(batch.tokens)
    for i in range(count):
        here = log_probs[batch.state_row[i], batch.state_position[i]]
        assert float(output.log_probs[i]) == pytest.approx(float(here[batch.tokens[i]]), abs=1e-5)
        assert float(output.entropy[i]) == pytest.approx(float(-(here.exp() * here).sum()), abs=1e-4)
    state = hidden[batch.state_row, batch.state_position]
    probs = log_probs[batch.state_row, batch.state_position].exp()
    q, value, _ = model.critic(state, batch.tokens, probs)
    assert output.q is not None
    assert output.value is not None
    torch.testing.assert_close(output.q, q, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.value, value, atol=1e-5, rtol=1e-5)
    assert output.value.shape == (2, count + 1)


def test_without_the_critic_the_actor_is_the_same(tiny_backbone: Backbone, batch: Batch) -> None:
    model = _build(tiny_backbone)
    alone, full = _forward(model, batch, with_critic=False), _forward(model, batch)
    torch.testing.assert_close(alone.log_probs, full.log_probs)
    torch.testing.assert_close(alone.entropy, full.entropy)
    assert (alone.q, alone.value, alone.target_value) == (None, None, None)


@pytest.mark.parametrize("factor", [0.0, 0.1, 1.0])
def test_the_critics_gradient_into_the_trunk_is_scaled(
    tiny_backbone: Backbone, batch: Batch, factor: float
) -> None:
    def trunk_gradients(scale: float) -> list[Tensor]:
        model = _build(tiny_backbone, trunk_gradient=scale)
        output = _forward(model, batch)
        assert output.q is not None
        (output.log_probs.sum() * 0.0 + output.q.square().sum()).backward()  # type: ignore[no-untyped-call]
        return [p.grad for p in model.backbone.parameters() if p.grad is not None]

    full, scaled = trunk_gradients(1.0), trunk_gradients(factor)
    assert len(scaled) == len(full) > 0
    assert any(gradient.abs().max() > 0 for gradient in full)
    for one, other in zip(scaled, full, strict=True):
        torch.testing.assert_close(one, factor * other, atol=1e-6, rtol=1e-3)


def test_scaling_a_gradient_changes_no_value() -> None:
    values = torch.randn(5, requires_grad=True)
    torch.testing.assert_close(scale_gradient(values, 0.3), values)


def test_the_target_critic_follows_tau(tiny_backbone: Backbone, batch: Batch) -> None:
    model = _build(tiny_backbone)
    start = [p.clone() for p in model.target_critic.parameters()]
    before = _forward(model, batch).target_value
    for _ in range(3):
        model.update_target(0.25)
    left = 0.75**3
    for old, target, online in zip(
        start, model.target_critic.parameters(), model.critic.parameters(), strict=True
    ):
        torch.testing.assert_close(target, left * old + (1 - left) * online)
        assert not target.requires_grad
    assert not torch.equal(_forward(model, batch).target_value, before)  # type: ignore[arg-type]
    model.update_target(1.0)
    output = _forward(model, batch)
    torch.testing.assert_close(output.target_value, output.value)


def test_the_target_critic_starts_as_the_critic(tiny_backbone: Backbone, batch: Batch) -> None:
    torch.manual_seed(0)
    output = _forward(ActorCritic(tiny_backbone, SIZE, trunk_gradient=0.1), batch)
    assert torch.equal(output.target_value, output.value)  # type: ignore[arg-type]


@pytest.mark.parametrize("adapters", [False, True], ids=["a copy", "adapters left out"])
def test_the_distance_from_the_reference_is_the_divergence_of_the_two_policies(
    tiny_directory: Path, batch: Batch, adapters: bool
) -> None:
    torch.manual_seed(0)
    backbone = load_backbone(str(tiny_directory), lora=LoraSettings(rank=4) if adapters else None)
    model = ActorCritic(backbone, SIZE, trunk_gradient=0.1)
    assert _forward(model, batch).kl is None
    model.keep_reference()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    count = len(batch.tokens)
    places = batch.state_row[:count], batch.state_position[:count]
    before = backbone.logits(backbone.hidden(batch.inputs)[places]).log_softmax(-1)
    unmoved = _forward(model, batch).kl
    assert unmoved is not None
    assert unmoved.abs().max() < 1e-5
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    after = backbone.logits(backbone.hidden(batch.inputs)[places]).log_softmax(-1)
    kl = _forward(model, batch).kl
    assert kl is not None
    divergence = torch.distributions.kl_divergence
    expected = divergence(
        torch.distributions.Categorical(logits=after), torch.distributions.Categorical(logits=before)
    )
    torch.testing.assert_close(kl, expected, atol=1e-5, rtol=1e-4)
    assert kl.min() > 0
    kl.sum().backward()  # type: ignore[no-untyped-call]
    assert {name for name, p in model.named_parameters() if p.requires_grad} == trained
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached
    assert all(name.startswith("backbone.") for name in reached)
    assert not any("reference" in name for name in model.state_dict().keys() - model.given())


FORMS: list[dict[str, Any]] = [
    {},
    {"value": "expectile"},
    {"value": "turn"},
    {"value": "topk", "loss": "two_hot"},
    {"conservative": 0.5},
    {"conservative": 0.5, "conservative_over": "policy"},
]
AT_ONCE = 5


def _moved(directory: Path, form: dict[str, Any], *, adapters: bool, chunked: bool) -> ActorCritic:
    """A model that has moved away from its reference; the same one whether it reads in chunks or not."""
    torch.manual_seed(0)
    backbone = load_backbone(str(directory), lora=LoraSettings(rank=4) if adapters else None)
    model = ActorCritic(backbone, replace(SIZE, **form), trunk_gradient=0.3)
    model.keep_reference()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    if chunked:
        model.heads_bytes = 16 * backbone.vocabulary * AT_ONCE
    return model


def _learnt(model: ActorCritic, batch: Batch, *, with_critic: bool = True) -> dict[str, Tensor]:
    """What a forward gives, and gradients of a sum in which every number has a weight of its own."""
    output = _forward(model, batch, with_critic=with_critic)
    found = {name: value for name, value in output._asdict().items() if value is not None}
    generator = torch.Generator().manual_seed(0)
    terms = [(value * torch.rand(value.shape, generator=generator)).sum() for value in found.values()]
    torch.stack(terms).sum().backward()  # type: ignore[no-untyped-call]
    grads = {f"gradient of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    return found | grads


@pytest.mark.parametrize(("form", "adapters"), [*((form, False) for form in FORMS), ({}, True)], ids=str)
def test_states_read_in_chunks_give_the_same_numbers_and_gradients(
    tiny_directory: Path, batch: Batch, form: dict[str, Any], adapters: bool
) -> None:
    assert len(batch.state_row) > len(batch.tokens) > 2 * AT_ONCE
    for with_critic in (True, False):
        whole, chunked = (
            _learnt(
                _moved(tiny_directory, form, adapters=adapters, chunked=c), batch, with_critic=with_critic
            )
            for c in (False, True)
        )
        assert whole.keys() == chunked.keys()
        assert any(name.startswith("gradient of backbone.") for name in whole)
        for name, value in whole.items():
            torch.testing.assert_close(chunked[name], value, atol=1e-5, rtol=1e-4, msg=name)


class _Widest(TorchDispatchMode):
    """Counts the states of the largest tensor of states x vocabulary that is made."""

    def __init__(self, model: ActorCritic) -> None:
        super().__init__()
        self._width, self._vocabulary = model.backbone.hidden_size, model.backbone.vocabulary
        self.states = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            # The head's weights, turned, and their gradient are no states.
            if isinstance(one, Tensor) and one.shape[-1:] == (self._vocabulary,) and len(one) != self._width:
                self.states = max(self.states, one.numel() // self._vocabulary)
        return made


def test_no_tensor_of_the_heads_holds_more_states_than_the_budget_allows(
    tiny_directory: Path, batch: Batch
) -> None:
    for chunked, most in ((False, len(batch.state_row)), (True, AT_ONCE)):
        model = _moved(tiny_directory, {}, adapters=False, chunked=chunked)
        assert len(batch.state_row) != model.backbone.hidden_size != AT_ONCE
        with _Widest(model) as widest:
            _learnt(model, batch)
        assert widest.states == most
