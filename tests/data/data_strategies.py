"""Any episode at all, for the property tests of the store and of the JSONL format."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vlmq.api import Episode, Observation, Turn

INT64 = st.integers(-(2**63), 2**63 - 1)
IMAGES = st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda hw: hnp.arrays(np.uint8, (*hw, 3), elements=st.integers(0, 255))
)
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=12)  # lone surrogates included
UNICODE_TEXT = st.text(max_size=12)
ANY_FLOAT32 = st.integers(0, 2**32 - 1).map(lambda bits: np.uint32(bits).view(np.float32))  # every NaN too
ONE_NAN_FLOAT32 = st.floats(width=32).map(lambda x: np.float32(np.nan) if np.isnan(x) else np.float32(x))


@st.composite
def turns(
    draw: st.DrawFn,
    text: st.SearchStrategy[str],
    rewards: st.SearchStrategy[float],
    logprobs: st.SearchStrategy,
) -> Turn:
    count = draw(st.integers(0, 4))
    return Turn(
        observation=Observation(draw(text), draw(st.none() | IMAGES)),
        reply=draw(text),
        action=draw(text),
        reward=draw(rewards),
        parsed=draw(st.booleans()),
        action_ok=draw(st.booleans()),
        reply_ids=np.array([draw(st.integers(0, 2**31 - 1)) for _ in range(count)], np.int32),
        logprobs=np.array([draw(logprobs) for _ in range(count)], np.float32),
        digest=draw(st.integers(0, 2**64 - 1)),
        source=draw(text),
    )


def episodes(
    text: st.SearchStrategy[str] = ANY_TEXT,
    rewards: st.SearchStrategy[float] | None = None,
    logprobs: st.SearchStrategy = ANY_FLOAT32,
) -> st.SearchStrategy[Episode]:
    rewards = st.floats() if rewards is None else rewards
    observation = st.builds(Observation, text, st.none() | IMAGES)
    return st.builds(
        Episode,
        env_id=text,
        seed=INT64,
        turns=st.lists(turns(text, rewards, logprobs), min_size=1, max_size=3).map(tuple),
        final_observation=st.none() | observation,
        terminated=st.booleans(),
        truncated=st.booleans(),
        success=st.booleans(),
        source=text,
        index=INT64,
        policy_version=INT64,
        tokenizer=text,
        env_args=text,
    )
