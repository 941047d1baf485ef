"""Muon: orthogonal steps for matrices, AdamW's for the rest, and nothing forgotten over a restart."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vlmq.train.muon import Muon, inner_matrices, orthogonal


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 24, 8), (2, 8, 24)])
def test_orthogonal_keeps_directions_and_evens_out_their_lengths(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    turned = left.mT @ orthogonal(matrices) @ right.mT
    lengths = turned.diagonal(dim1=-2, dim2=-1)
    assert ((lengths > 0.4) & (lengths < 1.3)).all()
    assert (turned - torch.diag_embed(lengths)).abs().max() < 1e-4


def test_a_step_is_that_of_torchs_muon() -> None:
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(16, 40))
    theirs = nn.Parameter(ours.detach().clone())
    start = ours.detach().clone()
    one = Muon([{"params": [ours]}], frozenset([ours]), lr=0.02, weight_decay=0.1)
    other = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        ours.grad = torch.randn(16, 40)
        theirs.grad = ours.grad.clone()
        one.step()
        other.step()
    moved, expected = ours.detach() - start, theirs.detach() - start
    assert (moved - expected).norm() < 0.02 * expected.norm()  # theirs works in bfloat16


def _model() -> nn.ModuleDict:
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {"embedding": nn.Embedding(11, 6), "inner": nn.Linear(6, 6), "head": nn.Linear(6, 11, bias=False)}
    )
    model["head"].weight = model["embedding"].weight
    return model


def _train(model: nn.ModuleDict, optimizer: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    hidden = model["inner"](model["embedding"](torch.randint(11, (5,))))
    loss = model["head"](hidden).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_inner_matrices_are_no_embeddings_no_biases_and_nothing_frozen() -> None:
    model = _model()
    assert inner_matrices(model) == {model["inner"].weight}
    model["inner"].weight.requires_grad_(False)
    assert inner_matrices(model) == frozenset()


def test_what_is_no_matrix_takes_adamws_step() -> None:
    ours, theirs = _model(), _model()
    muon = Muon([{"params": list(ours.parameters())}], inner_matrices(ours), lr=0.01)
    adamw = torch.optim.AdamW(theirs.parameters(), lr=0.01)
    _train(ours, muon, 1)
    _train(theirs, adamw, 1)
    assert torch.equal(ours["embedding"].weight, theirs["embedding"].weight)
    assert torch.equal(ours["inner"].bias, theirs["inner"].bias)
    assert not torch.allclose(ours["inner"].weight, theirs["inner"].weight)


def test_a_restored_optimizer_goes_on_as_the_uninterrupted_one() -> None:
    model = _model()
    muon = Muon([{"params": list(model.parameters())}], inner_matrices(model), lr=0.01)
    _train(model, muon, 1)
    again = copy.deepcopy(model)
    restored = Muon([{"params": list(again.parameters())}], inner_matrices(again), lr=0.01)
    restored.load_state_dict(copy.deepcopy(muon.state_dict()))
    for seed in (2, 3):
        _train(model, muon, seed)
        _train(again, restored, seed)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
