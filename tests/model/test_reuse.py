"""What was read for one turn and kept for the next changes no reply, and is not used where it is not the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from families import FAMILIES, SIDE, Build, lfm2_vl, qwen3_5, save
from numpy.typing import NDArray

from vlmq.api import Observation
from vlmq.data.batch import context_row
from vlmq.model.attention import reusable
from vlmq.model.backbone import Backbone, load_backbone
from vlmq.model.generate import Guide, Sampling
from vlmq.model.heads import CriticConfig, CriticHead
from vlmq.prompt.encode import Encoder, Row
from vlmq.rollout.policies import Context, ModelPolicy, Reply

TOKENS = 8
ENOUGH = 1.0
"""GB."""
TEXTS = ("go left please", "look", "what is in the red box on the right", "now go up or down")


def _observation(slot: int, turn: int) -> Observation:
    """Its own picture and text for every slot and turn."""
    rng = np.random.default_rng([slot, turn])
    return Observation(TEXTS[(slot + 3 * turn) % 4], rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8))


class Play:
    """Slots whose agent sees the whole episode; they begin, end and pause as a test says."""

    def __init__(self, encoder: Encoder, policy: ModelPolicy) -> None:
        self._encoder, self._policy = encoder, policy
        self.contexts: dict[int, Context] = {}
        self.said: list[tuple[Context, Reply]] = []

    def turn(self, *slots: int, episode: int = 0) -> list[Reply]:
        """One more turn in each of these slots; an episode with another number begins anew."""
        asked = []
        for slot in slots:
            number = 10 * slot + episode
            last = self.contexts.get(slot)
            new = last is None or last.episode != number
            turn = 0 if last is None or new else last.turn + 1
            earlier = [] if last is None or new else last.segments
            replies = [] if last is None or new else last.replies
            prompt = self._encoder.prompt(_observation(number, turn), first=turn == 0)
            asked.append(Context(number, turn, [*earlier, prompt], list(replies), slot=slot, grows=True))
        found = self._policy.replies(asked)
        for context, reply in zip(asked, found, strict=True):
            self.said.append((context, reply))
            self.contexts[context.slot] = Context(
                context.episode, context.turn, context.segments, [*context.replies, reply.ids]
            )
        return found

    def all_kinds(self) -> None:
        """Slots in step, one that begins later, one that pauses, one that begins anew while the others go on."""
        self.turn(0, 1)
        self.turn(0, 1, 2)
        self.turn(2, 0)
        self.turn(0, 2)
        self.turn(1, episode=1)
        self.turn(0)


def _policy(
    backbone: Backbone, encoder: Encoder, temperature: float, reuse_gb: float, **more: object
) -> ModelPolicy:
    sampling = Sampling(TOKENS, temperature, encoder.end_id, encoder.pad_id, encoder.banned_ids)
    return ModelPolicy(backbone, encoder, sampling, seed=1, reuse_gb=reuse_gb, **more)  # type: ignore[arg-type]


@torch.no_grad()
def _log_probs(
    backbone: Backbone, encoder: Encoder, context: Context, ids: NDArray[np.int32]
) -> torch.Tensor:
    """(n, V) what learning computes at the tokens of a reply."""
    row = context_row(context.segments, context.replies)
    whole = Row(np.concatenate([row.ids, ids]), row.pixels, reply=len(ids))
    hidden = backbone.hidden(encoder.collate([whole], left=False))
    return backbone.logits(hidden[0, len(row.ids) - 1 : -1]).log_softmax(-1)


def _equal(one: Play, other: Play) -> float:
    """Both have said the same; gives how far apart their log-probabilities lie."""
    apart = 0.0
    for (context, a), (twin, b) in zip(one.said, other.said, strict=True):
        assert (context.episode, context.turn) == (twin.episode, twin.turn)
        assert a.ids.tolist() == b.ids.tolist()
        apart = max(apart, float(np.abs(a.logprobs - b.logprobs).max()))
    return apart


@pytest.fixture(scope="module", params=list(FAMILIES))
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Backbone, Encoder]:
    folder = save(str(request.param), tmp_path_factory.mktemp(str(request.param)))
    return load_backbone(str(folder)).eval(), Encoder.load(folder)


@pytest.mark.parametrize("temperature", [0.0, 1.0], ids=["greedy", "drawn"])
def test_in_every_family_replies_are_those_without_reuse_and_learning_computes_what_was_recorded(
    model: tuple[Backbone, Encoder], temperature: float
) -> None:
    backbone, encoder = model
    plain, kept = (_policy(backbone, encoder, temperature, gb) for gb in (0.0, ENOUGH))
    one, other = Play(encoder, plain), Play(encoder, kept)
    one.all_kinds()
    other.all_kinds()
    assert _equal(one, other) < 1e-4
    for context, reply in other.said:
        learnt = _log_probs(backbone, encoder, context, reply.ids)
        taken = learnt.gather(-1, torch.from_numpy(reply.ids).long()[:, None])[:, 0]
        np.testing.assert_allclose(reply.logprobs, taken.numpy(), atol=1e-4)
    assert plain.reader.kept.spared == 0
    assert (kept.reader.kept.spared > 0.4 * kept.reader.kept.asked) == reusable(backbone.model_type)


def test_a_wrong_prefix_would_be_seen(model: tuple[Backbone, Encoder]) -> None:
    backbone, encoder = model
    if not reusable(backbone.model_type):
        return
    plain, kept = (Play(encoder, _policy(backbone, encoder, 1.0, gb)) for gb in (0.0, ENOUGH))
    for play in (plain, kept):
        play.turn(0, 1)
    # The leak: each goes on from what the other has read.
    entries = kept._policy.reader.kept._entries
    entries[0].row, entries[1].row = entries[1].row, entries[0].row
    for play in (plain, kept):
        play.turn(0, 1)
    recorded = [(context, reply) for context, reply in kept.said if context.turn == 1]
    apart = 0.0
    for context, reply in recorded:
        learnt = _log_probs(backbone, encoder, context, reply.ids)
        taken = learnt.gather(-1, torch.from_numpy(reply.ids).long()[:, None])[:, 0]
        apart = max(apart, float(np.abs(reply.logprobs - taken.numpy()).max()))
    assert apart > 1e-2, "the comparison tells a wrong prefix from the right one"


@pytest.mark.parametrize("build", [lfm2_vl, qwen3_5], ids=["convolutions", "linear attention"])
def test_a_running_state_is_never_kept(build: Build) -> None:
    torch.manual_seed(0)
    processor, network = build()
    encoder, backbone = Encoder(processor), Backbone(network).eval()
    play = Play(encoder, _policy(backbone, encoder, 0.0, ENOUGH))
    play.turn(0)
    play.turn(0)
    assert play._policy.reader.kept.spared == 0


@pytest.fixture
def agent(tiny_backbone: Backbone, tiny_encoder: Encoder) -> tuple[Backbone, Encoder]:
    return tiny_backbone, tiny_encoder


@pytest.mark.parametrize("changed", ["picture", "text", "reply"])
def test_another_beginning_is_read_anew_from_where_it_differs(
    agent: tuple[Backbone, Encoder], changed: str
) -> None:
    backbone, encoder = agent
    play = Play(encoder, _policy(backbone, encoder, 1.0, ENOUGH))
    play.turn(0)
    (reply,) = play.turn(0)
    last = play.contexts[0]
    first, second = _observation(0, 0), _observation(0, 1)
    assert first.image is not None
    if changed == "picture":
        other = first.image.copy()
        other[0, 0, 0] ^= 255
        segments = [encoder.prompt(Observation(first.text, other), first=True), last.segments[1]]
        assert (segments[0].ids == last.segments[0].ids).all()
    elif changed == "text":
        shown = Observation("another text", second.image)
        segments = [last.segments[0], encoder.prompt(shown, first=False)]
    else:
        segments = list(last.segments)
    replies = [last.replies[0], reply.ids if changed != "reply" else encoder.reply("other words")]
    spared = {
        "picture": 0,
        "text": len(segments[0].ids) + len(last.replies[0]),
        "reply": sum(len(s.ids) for s in segments) + len(last.replies[0]),
    }[changed]
    kept = play._policy.reader.kept
    before = kept.spared
    context = Context(
        0, 2, [*segments, encoder.prompt(_observation(0, 2), first=False)], replies, slot=0, grows=True
    )
    (found,) = play._policy.replies([context])
    assert kept.spared - before == spared
    (fresh,) = _policy(backbone, encoder, 1.0, 0.0).replies([context])
    assert found.ids.tolist() == fresh.ids.tolist()
    np.testing.assert_allclose(found.logprobs, fresh.logprobs, atol=1e-4)


def test_nothing_read_with_other_weights_is_used(tiny_directory: Path, tiny_encoder: Encoder) -> None:
    backbone = load_backbone(str(tiny_directory)).eval()
    play = Play(tiny_encoder, _policy(backbone, tiny_encoder, 1.0, ENOUGH))
    play.turn(0)
    play.turn(0)
    spared = play._policy.reader.kept.spared
    assert spared > 0
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
    backbone.logits(backbone.input_embedding()).square().mean().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    play.turn(0)
    assert play._policy.reader.kept.spared == spared
    context, reply = play.said[-1]
    learnt = _log_probs(backbone, tiny_encoder, context, reply.ids)
    taken = learnt.gather(-1, torch.from_numpy(reply.ids).long()[:, None])[:, 0]
    np.testing.assert_allclose(reply.logprobs, taken.numpy(), atol=1e-4)


def test_memory_stays_within_its_budget_and_replies_stay_the_same(agent: tuple[Backbone, Encoder]) -> None:
    backbone, encoder = agent
    free = Play(encoder, _policy(backbone, encoder, 1.0, ENOUGH))
    free.all_kinds()
    most = free._policy.reader.kept.size
    budget = 0.6 * most / 1e9
    tight = Play(encoder, _policy(backbone, encoder, 1.0, budget))
    for slots in ((0,), (1,), (2,), (0,), (1, 2), (0, 1), (0, 1, 2), (0,)):
        tight.turn(*slots)
        assert tight._policy.reader.kept.size <= 0.6 * most
    assert tight._policy.reader.kept.spared > 0
    for context, reply in tight.said:
        (fresh,) = _policy(backbone, encoder, 1.0, 0.0).replies([context])
        assert fresh.ids.tolist() == reply.ids.tolist()


def test_what_a_new_episode_takes_the_place_of_is_let_go(agent: tuple[Backbone, Encoder]) -> None:
    backbone, encoder = agent
    play = Play(encoder, _policy(backbone, encoder, 0.0, ENOUGH))
    play.turn(0)
    short = play._policy.reader.kept.size
    for _ in range(3):
        play.turn(0)
    assert play._policy.reader.kept.size > 2 * short
    play.turn(0, episode=1)
    assert play._policy.reader.kept.size < 2 * short


def test_the_best_of_several_replies_is_gone_on_from(agent: tuple[Backbone, Encoder]) -> None:
    backbone, encoder = agent
    torch.manual_seed(3)
    head = CriticHead(backbone.hidden_size, backbone.vocabulary, CriticConfig(1, 8, 8))
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    guide = Guide(head.of_candidates)
    one, other = (
        Play(encoder, _policy(backbone, encoder, 1.0, gb, guide=guide, best_of=3)) for gb in (0.0, ENOUGH)
    )
    one.all_kinds()
    other.all_kinds()
    assert _equal(one, other) < 1e-4
    assert other._policy.reader.kept.spared > 0
