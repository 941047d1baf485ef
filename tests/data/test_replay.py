"""What an update draws is a function of counters, and rebuilds to the very ids and pixels that the actor saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_episodes import make_episode
from numpy.typing import NDArray

from vlmq.api import DataError, Episode
from vlmq.data.batch import build_batch
from vlmq.data.replay import StreamReplay, TurnReplay, held_out
from vlmq.data.store import EpisodeStore
from vlmq.model.backbone import Backbone
from vlmq.model.generate import Sampling
from vlmq.prompt.encode import Encoder, Row
from vlmq.prompt.window import History
from vlmq.rollout.collector import Player, episode_seed
from vlmq.rollout.policies import ModelPolicy


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EpisodeStore]:
    """Episodes 0..9 of 1 to 4 turns, stored in another order than that of their indices."""
    with EpisodeStore.create(tmp_path / "store", {}) as store:
        for index in (3, 1, 0, 2, 9, 8, 7, 4, 6, 5):
            store.append(make_episode(index, num_turns=1 + index % 4))
        yield store


def _replay(
    store: EpisodeStore, *, seed: int = 1, stream: int = 0, history: History = History()
) -> TurnReplay:
    return TurnReplay(store, seed=seed, stream=stream, history=history, fragment_turns=1)


def _drawn(replay: TurnReplay, update: int, count: int = 64) -> list[tuple[str, int]]:
    """Text of each drawn turn's observation (it names episode and turn), and the turn's index."""
    fragments = replay.sample(update, count, range(count))
    return [(f.turns[f.skip].observation.text, f.first_turn + f.skip) for f in fragments]


def test_a_draw_depends_on_seed_stream_update_and_visible_episodes_alone(store: EpisodeStore) -> None:
    first, second = _replay(store), _replay(store)
    first.show()
    second.show()
    for update in (0, 5, 1):
        _drawn(first, update)  # whatever was drawn before changes nothing
    assert _drawn(first, 7) == _drawn(second, 7)
    other_seed, other_stream = _replay(store, seed=2), _replay(store, stream=1)
    other_seed.show()
    other_stream.show()
    draws = [_drawn(first, 7), _drawn(first, 8), _drawn(other_seed, 7), _drawn(other_stream, 7)]
    assert all(draws[i] != draws[j] for i in range(4) for j in range(i))


def test_the_order_in_which_episodes_were_stored_changes_nothing(store: EpisodeStore, tmp_path: Path) -> None:
    with EpisodeStore.create(tmp_path / "sorted", {}) as in_order:
        for index in range(10):
            in_order.append(make_episode(index, num_turns=1 + index % 4))
        replays = _replay(store), _replay(in_order)
        for replay in replays:
            replay.show()
        assert _drawn(replays[0], 3) == _drawn(replays[1], 3)


def test_shares_of_several_processes_are_the_batch_of_one(store: EpisodeStore) -> None:
    replay = _replay(store)
    replay.show()
    whole = _drawn(replay, 4, 8)
    parts = [
        [f.turns[0].observation.text for f in replay.sample(4, 8, range(rank, 8, 2))] for rank in range(2)
    ]
    assert [text for text, _ in whole] == [parts[place % 2][place // 2] for place in range(8)]


def test_every_visible_turn_is_equally_likely_and_no_other_is_drawn(store: EpisodeStore) -> None:
    replay = _replay(store)
    replay.show(below=4)
    # Episodes 0..3 have 1, 2, 3 and 4 turns.
    assert (replay.num_episodes, replay.num_turns) == (4, 10)
    draws = [draw for update in range(40) for draw in _drawn(replay, update)]
    counts = {draw: draws.count(draw) for draw in set(draws)}
    assert set(counts) == {(f"task {e}, turn {k} ☃", k) for e in range(4) for k in range(e + 1)}
    # 2560 draws of 10: 256 each; a spread of 5 standard deviations (15.2) is 76.
    assert all(abs(count - 256) < 76 for count in counts.values()), counts


def test_episodes_that_become_visible_join_and_the_earlier_ones_stay(store: EpisodeStore) -> None:
    replay = _replay(store)
    replay.show(below=2)
    before = {text for text, _ in _drawn(replay, 0)}
    replay.show()
    after = {text for update in range(8) for text, _ in _drawn(replay, update)}
    assert before < after
    assert (replay.num_episodes, replay.num_turns) == (10, 23)


def test_episodes_without_an_index_are_drawn_and_held_out_one_by_one(tmp_path: Path) -> None:
    with EpisodeStore.create(tmp_path / "imported", {}) as store:
        for number in range(40):
            store.append(replace(make_episode(number, num_turns=1), index=-1 if number else 7))
        trained = {}
        for apart in (False, True):
            replay = TurnReplay(
                store, seed=1, stream=0, history=History(), fragment_turns=1,
                among=lambda index, apart=apart: held_out(1, 0.3, index) == apart,
            )  # fmt: skip
            replay.show()
            trained[apart] = {text for update in range(20) for text, _ in _drawn(replay, update)}
    assert len(trained[False] | trained[True]) == 40
    assert not trained[False] & trained[True]
    assert 4 <= len(trained[True]) <= 20


def test_a_window_of_rounds_moves_on(store: EpisodeStore) -> None:
    replay = _replay(store)
    for first in (0, 4, 2):
        replay.show(below=first + 4, first=first)
        drawn = {text for update in range(8) for text, _ in _drawn(replay, update)}
        assert drawn == {f"task {e}, turn {k} ☃" for e in range(first, first + 4) for k in range(1 + e % 4)}


def test_what_is_held_out_is_never_drawn_and_nothing_else_is_missing(store: EpisodeStore) -> None:
    def kept_apart(index: NDArray[np.int64]) -> NDArray[np.bool_]:
        return held_out(5, 0.4, index)

    parts = [
        TurnReplay(store, seed=1, stream=0, history=History(), fragment_turns=1, among=among)
        for among in (kept_apart, lambda index: ~kept_apart(index))
    ]
    texts = []
    for replay in parts:
        replay.show()
        texts.append({text for update in range(8) for text, _ in _drawn(replay, update)})
    assert [replay.num_turns for replay in parts] == [len(part) for part in texts]
    assert sum(replay.num_episodes for replay in parts) == 10
    assert all(texts)
    assert not texts[0] & texts[1]
    share = held_out(5, 0.4, np.arange(10_000)).mean()
    assert share == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize(("history", "context"), [(History(), 0), (History(1), 1), (History("all"), 3)])
def test_a_fragment_brings_the_turns_that_its_context_needs(
    store: EpisodeStore, history: History, context: int
) -> None:
    replay = _replay(store, history=history)
    replay.show()
    for fragment in replay.sample(0, 64, range(64)):
        turn = fragment.first_turn + fragment.skip
        assert fragment.skip == min(turn, context)
        assert len(fragment.turns) == fragment.skip + 1
        assert fragment.first_turn == history.start(turn)


@pytest.mark.parametrize("turns", [1, 2, None])
def test_the_turns_after_a_fragment_come_on_request(store: EpisodeStore, turns: int | None) -> None:
    replay = TurnReplay(store, seed=1, stream=0, history=History(), fragment_turns=turns)
    replay.show()
    assert not any(fragment.later for fragment in replay.sample(0, 64, range(64)))
    for fragment in replay.sample(0, 64, range(64), later=True):
        position = store.position_of(int(fragment.turns[0].observation.text.split()[1].rstrip(",")))
        assert position is not None
        rest = store[position].turns[fragment.first_turn + len(fragment.turns) :]
        assert [(t.reward, t.valid, t.reply) for t in fragment.later] == [
            (t.reward, t.valid, t.reply) for t in rest
        ]


def test_only_the_last_turn_of_a_terminated_episode_is_terminal(store: EpisodeStore) -> None:
    replay = _replay(store)
    replay.show()
    seen = set()
    for fragment in replay.sample(0, 200, range(200)):
        words = fragment.turns[0].observation.text.split()
        episode, turn = int(words[1].rstrip(",")), int(words[3])
        last = turn == episode % 4
        assert fragment.terminated == (last and episode % 2 == 0)
        assert fragment.following is not None
        assert fragment.following.text == f"task {episode}, turn {turn + 1} ☃"
        seen.add((last, episode % 2))
    assert len(seen) == 4


def test_an_empty_replay_says_how_to_fill_it(tmp_path: Path) -> None:
    with EpisodeStore.create(tmp_path / "empty", {}) as store:
        replay = _replay(store)
        replay.show()
        with pytest.raises(DataError, match="vlmq collect"):
            replay.sample(0, 1, [0])


def test_a_stream_shows_every_episode_once() -> None:
    class Numbers:
        def episode(self, index: int) -> Episode:
            return make_episode(index)

    replay = StreamReplay(Numbers())
    seen = [f.turns[0].observation.text for update in range(3) for f in replay.sample(update, 4, range(4))]
    assert seen == [f"task {index}, turn 0 ☃" for index in range(12)]
    assert [f.turns[0].observation.text for f in replay.sample(2, 4, [3])] == [seen[11]]


# -- the golden test -----------------------------------------------------------------------------------------


class Watching(Encoder):
    """Notes every row that acting collates."""

    rows: list[Row]

    def collate(self, rows: list[Row], *, left: bool) -> dict[str, torch.Tensor]:
        if left:
            self.rows.extend(rows)
        return super().collate(rows, left=left)


@pytest.mark.parametrize("history", [History(), History(1), History(2, 0), History("all")])
def test_the_learner_sees_the_ids_and_pixels_that_the_actor_saw(
    tiny_encoder: Encoder, tiny_backbone: Backbone, tmp_path: Path, history: History
) -> None:
    watching = Watching(tiny_encoder.processor)
    watching.rows = []
    sampling = Sampling(7, 1.0, watching.end_id, watching.pad_id, watching.banned_ids)
    # Whole contexts, not what is new of them at each turn.
    policy = ModelPolicy(tiny_backbone, watching, sampling, seed=1, reuse_gb=0.0)
    with (
        Player("line/Recall-v0", 3, watching, history=history, max_reply=7) as player,
        EpisodeStore.create(tmp_path / "store", {}) as store,
    ):
        for episode in player.play(policy, range(4), episode_seed(1, "test"), source="model"):
            store.append(episode)
        seen = [_bytes(row.ids, row.pixels) for row in watching.rows]
        replay = TurnReplay(store, seed=1, stream=0, history=history, fragment_turns=1)
        replay.show()
        assert len(seen) == replay.num_turns >= 4 * 4
        fragments = replay.sample(0, 48, range(48))
        batch = build_batch(fragments, tiny_encoder, history)
        hidden = tiny_backbone.hidden(batch.inputs)[batch.state_row, batch.state_position]
        log_probs = tiny_backbone.logits(hidden).float().log_softmax(-1)[: len(batch.tokens)]
        log_probs = log_probs.gather(-1, batch.tokens[:, None])[:, 0]
    assert not batch.behaviour.isnan().any()
    torch.testing.assert_close(log_probs, batch.behaviour, atol=1e-4, rtol=0)
    # Every reply's row, up to the reply, is one that the actor was shown: ids and pixels, bit for bit.
    for fragment in fragments:
        single = build_batch([fragment], tiny_encoder, history)
        row = int(single.state_row[0])
        stop = int(single.state_position[0]) + 1
        pictures = sum(turn.observation.image is not None for turn in fragment.turns)
        pixels = single.inputs["pixel_values"][row, :pictures]
        expected = [
            shown
            for shown in seen
            if shown[0] == single.inputs["input_ids"][row, :stop].int().numpy().tobytes()
        ]
        assert any(pixels.numpy().tobytes() == shown[1] for shown in expected)


def _bytes(ids: np.ndarray, pixels: tuple[dict[str, np.ndarray], ...]) -> tuple[bytes, bytes]:
    return ids.astype(np.int32).tobytes(), b"".join(p["pixel_values"].tobytes() for p in pixels)


def test_the_last_places_of_a_batch_are_drawn_by_priority(store: EpisodeStore) -> None:
    replay = _replay(store)
    replay.show()
    replay.priorities.rate(np.arange(replay.num_turns), np.zeros(replay.num_turns, np.float32))
    replay.priorities.rate(np.array([5]), np.ones(1, np.float32))
    before = _drawn(replay, 3, 16)
    fragments = replay.sample(3, 16, range(16), by_priority=6)
    origins = [fragment.origin for fragment in fragments]
    assert [o.uniform for o in origins if o is not None] == [True] * 10 + [False] * 6
    assert {o.place for o in origins[10:] if o is not None} == {5}
    after = [(f.turns[f.skip].observation.text, f.first_turn + f.skip) for f in fragments]
    assert after[:10] == before[:10]
