"""What the critic can be made of: each form says what its definition says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from vlmq.api import UserError
from vlmq.loss import bins
from vlmq.model.heads import COPIES, CriticConfig, CriticHead

SIZE = CriticConfig(members=2, width=16, dim=8)
STATES, TOKENS, VOCABULARY, HIDDEN = 7, 5, 30, 12
FORMS: dict[str, dict[str, Any]] = {
    "policy": {},
    "tied": {"rows": "tied"},
    "topk": {"value": "topk", "top_k": 4},
    "topk tied": {"value": "topk", "top_k": 4, "rows": "tied"},
    "expectile": {"value": "expectile"},
    "two-hot": {"value": "topk", "top_k": 4, "loss": "two_hot", "bins": 21},
    "hl-gauss": {"value": "expectile", "loss": "hl_gauss", "bins": 21},
    "turn": {"value": "turn"},
}


def _head(**settings: Any) -> CriticHead:
    torch.manual_seed(0)
    config = replace(SIZE, **settings)
    embedding = torch.randn(VOCABULARY, 9) if config.rows == "tied" else None
    head = CriticHead(HIDDEN, VOCABULARY, config, embedding)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return head


def _inputs() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    probs = torch.randn(STATES, VOCABULARY).softmax(-1)
    return torch.randn(STATES, HIDDEN), torch.arange(TOKENS), probs


@torch.no_grad()
def _every(head: CriticHead, hidden: Tensor, probs: Tensor) -> Tensor:
    """(C, S, V), one token at a time."""
    columns = [head(hidden, torch.full((len(hidden),), token), probs).q for token in range(VOCABULARY)]
    return torch.stack(columns, -1)


@pytest.mark.parametrize("form", FORMS)
def test_shapes_and_gradients(form: str) -> None:
    head = _head(**FORMS[form])
    hidden, tokens, probs = _inputs()
    q, value, logits = head(hidden, tokens, probs)
    assert q.shape == (2, TOKENS)
    assert value.shape == (2, STATES)
    assert q.requires_grad
    assert value.requires_grad == (head.config.value in ("expectile", "turn"))
    assert (logits is not None) == head.config.distributional
    (q.sum() + value.sum() + (0.0 if logits is None else logits.sum())).backward()
    assert all(p.grad is not None for p in head.parameters()), "every parameter takes part, as DDP requires"


@pytest.mark.parametrize("form", ["policy", "tied"])
def test_the_policys_value_is_the_sum_over_the_vocabulary(form: str) -> None:
    head = _head(**FORMS[form])
    hidden, tokens, probs = _inputs()
    every = _every(head, hidden, probs)
    _, value, _ = head(hidden, tokens, probs)
    torch.testing.assert_close(value, (every * probs).sum(-1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(head.every(hidden), every, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("form", ["topk", "topk tied", "two-hot"])
def test_the_top_k_value_is_the_renormalised_sum_over_the_likeliest(form: str) -> None:
    head = _head(**FORMS[form])
    hidden, tokens, probs = _inputs()
    top, ids = probs.topk(4, -1)
    likely = _every(head, hidden, probs).gather(-1, ids.expand(2, -1, -1))
    _, value, _ = head(hidden, tokens, probs)
    torch.testing.assert_close(
        value, (likely * top / top.sum(-1, keepdim=True)).sum(-1), atol=1e-4, rtol=1e-4
    )


def test_the_top_of_everything_is_the_policys_mean() -> None:
    hidden, tokens, probs = _inputs()
    whole = _head(value="topk", top_k=10_000)(hidden, tokens, probs).value
    torch.testing.assert_close(whole, _head()(hidden, tokens, probs).value, atol=1e-4, rtol=1e-4)


def test_a_distribution_says_its_mean() -> None:
    head = _head(**FORMS["two-hot"])
    head.set_support(-2.0, 3.0)
    q, _, logits = head(*_inputs())
    assert logits is not None
    torch.testing.assert_close(q, bins.mean(logits, head.centres))
    assert float(q.detach().abs().max()) < 4.5


def test_a_critic_of_turns_says_the_value_of_the_token_states() -> None:
    q, value, _ = _head(value="turn")(*_inputs())
    assert torch.equal(q, value[:, :TOKENS])


@pytest.mark.parametrize("value", ["policy", "topk"])
def test_v_carries_a_gradient_only_where_the_critics_term_is_held_against_it(value: str) -> None:
    free, held = (_head(value=value, conservative=0.1, conservative_over=o) for o in ("vocabulary", "policy"))
    held.load_state_dict(free.state_dict())
    (_, plain, _), (_, kept, _) = free(*_inputs()), held(*_inputs())
    torch.testing.assert_close(plain, kept.detach())
    assert not plain.requires_grad
    assert kept.requires_grad
    with torch.no_grad():
        assert not held(*_inputs()).value.requires_grad


def test_tied_rows_are_read_and_never_trained() -> None:
    head = _head(rows="tied")
    assert set(COPIES) <= head.state_dict().keys()
    assert all(copy not in name for name, _ in head.named_parameters() for copy in COPIES)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"members": 0}, "members is 0; give 1 or more"),
        ({"expectile": 1.0}, "between 0 and 1"),
        ({"subset": 3}, "3; it is a number of the 2 members"),
        ({"conservative": -1.0}, "0 or more"),
        ({"loss": "two_hot"}, "choose topk or expectile"),
        ({"loss": "two_hot", "value": "topk", "bins": 4}, "give at least 8"),
        ({"conservative": 1.0, "value": "turn"}, "loss mse"),
        ({"conservative_over": "policy", "value": "expectile"}, "needs V as the policy's mean"),
        ({"support": (1.0, 1.0)}, "the lowest return, then the highest"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(SIZE, **settings)
