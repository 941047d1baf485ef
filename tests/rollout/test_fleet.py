"""Rounds are shared out among collectors; whoever of them dies, every episode is played once and none is lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from copy import deepcopy
from dataclasses import replace
from typing import Any, cast

import pytest
import torch

from vlmq.api import UserError
from vlmq.model.backbone import Backbone
from vlmq.rollout.backends import Handle, HostDied
from vlmq.rollout.fleet import Fleet
from vlmq.rollout.host import Order, Played, Weights

Play = Callable[[Order], Played]


class FakeHandle(Handle):
    """A fixture: a collector that answers at once, or whose process has ended."""

    def __init__(self, asked: list[tuple[Order, Any]], dies: bool) -> None:
        self._asked, self.dies, self.killed = asked, dies, False

    def ask(self, what: str, *arguments: Any) -> Future[Any]:
        """A share's indices in place of its episodes."""
        answer: Future[Any] = Future()
        if self.dies or self.killed:
            answer.set_exception(HostDied("the plug was pulled"))
        elif what == "asynchronous":
            answer.set_result(True)
        else:
            order, weights = arguments
            self._asked.append((order, weights))
            answer.set_result(Played(order.version, order.indices, []))
        return answer

    def kill(self) -> None:
        """It answers no more."""
        self.killed = True


class Fakes:
    """A fixture: starts collectors, of which those with the given numbers are dead from the start."""

    def __init__(self, *dead: int) -> None:
        self.asked: list[tuple[Order, Any]] = []
        self.started: list[FakeHandle] = []
        self._dead = dead

    def start(self) -> FakeHandle:
        self.started.append(FakeHandle(self.asked, len(self.started) in self._dead))
        return self.started[-1]


NOTHING = Weights(torch.zeros(0, dtype=torch.uint8), ())


def _order(indices: list[int], version: int = 0) -> Order:
    return Order(indices, 1, "own play", "model", cast(Any, None), version)


def _finished(fleet: Fleet, number: int) -> list[int]:
    return [index for share in fleet.finish(number) for index in cast(Any, share.episodes)]


def test_a_round_is_shared_out_and_comes_back_in_order_of_its_shares() -> None:
    fakes = Fakes()
    fleet = Fleet(fakes.start, 2)
    fleet.begin(0, _order([0, 1, 2, 3, 4]), NOTHING)
    fleet.begin(1, _order([5]), NOTHING)
    assert _finished(fleet, 0) == [0, 2, 4, 1, 3]
    assert _finished(fleet, 1) == [5]
    assert len(fakes.started) == 2


def test_weights_are_put_in_one_place_and_travel_once_a_version() -> None:
    fakes, put = Fakes(), []

    def share(weights: Weights) -> str:
        put.append(weights)
        return f"piece {len(put)}"

    fleet = Fleet(fakes.start, 2, share=share)
    for number, version in enumerate([0, 0, 7, 7]):
        fleet.begin(number, _order([2 * number, 2 * number + 1], version), NOTHING)
    assert [weights for _, weights in fakes.asked] == ["piece 1"] * 2 + [None] * 2 + ["piece 2"] * 2 + [
        None
    ] * 2
    assert len(put) == 2, "for two collectors"


def test_the_shares_of_a_dead_collector_are_played_by_one_that_takes_its_place() -> None:
    fakes = Fakes(1)
    fleet = Fleet(fakes.start, 2)
    fleet.begin(0, _order([0, 1]), NOTHING)
    fleet.begin(1, _order([2, 3]), NOTHING)
    assert (_finished(fleet, 0), _finished(fleet, 1)) == ([0, 1], [2, 3])
    assert len(fakes.started) == 3, "replaced once, though two of its shares were outstanding"
    assert fakes.started[1].killed
    assert [weights for order, weights in fakes.asked if order.indices[0] % 2] == [NOTHING, None]


def test_collectors_that_keep_ending_end_the_run_with_a_sentence() -> None:
    fleet = Fleet(Fakes(0, 1, 2).start, 1)
    fleet.begin(0, _order([0]), NOTHING)
    with pytest.raises(UserError, match="collector 1 of 1 ended 3 times in a row, at last because the plug"):
        _finished(fleet, 0)


class CutOff(FakeHandle):
    """A fixture: a collector whose machine is out of reach until it has been looked for three times."""

    def __init__(self) -> None:
        super().__init__([], False)
        self.looks = 0
        self.answer: Future[Any] = Future()

    def ask(self, what: str, *arguments: Any) -> Future[Any]:
        return self.answer

    def trouble(self) -> str:
        self.looks += 1
        if self.looks == 3:
            self.answer.set_result(True)
        return "its machine, far away, cannot be reached"


def test_a_collector_that_cannot_be_reached_is_named_once_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vlmq.rollout.fleet._LOOK_S", 0.01)
    cut_off = CutOff()
    fleet = Fleet(lambda: cut_off, 1)
    assert fleet.asynchronous
    assert [record.getMessage().split(", for ")[0] for record in caplog.records] == [
        "waiting for collector 1 of 1: its machine, far away, cannot be reached",
        "collector 1 of 1 has answered",
    ]
    assert not cut_off.killed


def test_what_was_dropped_may_be_begun_anew_and_closing_ends_every_collector() -> None:
    fakes = Fakes()
    fleet = Fleet(fakes.start, 2)
    assert fleet.asynchronous
    fleet.begin(0, _order([0]), NOTHING)
    fleet.drop()
    fleet.begin(0, _order([0], 3), NOTHING)
    assert [share.version for share in fleet.finish(0)] == [3]
    fleet.close()
    fleet.close()
    assert all(handle.killed for handle in fakes.started)


@pytest.mark.parametrize("as_array", [False, True], ids=["a tensor", "Ray's"])
@pytest.mark.parametrize("frozen_too", [True, False], ids=["all", "the trained ones"])
def test_weights_arrive_as_they_were(tiny_backbone: Backbone, frozen_too: bool, as_array: bool) -> None:
    source, target = deepcopy(tiny_backbone), deepcopy(tiny_backbone)
    first = next(iter(dict(source.named_parameters())))
    with torch.no_grad():
        for name, parameter in source.named_parameters():
            parameter.add_(1.0)
            parameter.requires_grad_(name != first)
    source.get_parameter(first).data = source.get_parameter(first).data.to(torch.bfloat16)
    weights = Weights.of(source, frozen_too=frozen_too)
    before = target.get_parameter(first).clone()
    if as_array:
        assert isinstance(weights.data, torch.Tensor)
        array = weights.data.numpy()
        array.flags.writeable = False
        weights = replace(weights, data=array)
    weights.load_into(target)
    for name, parameter in target.named_parameters():
        expected = source.get_parameter(name).float() if frozen_too or name != first else before
        assert torch.equal(parameter, expected), name
