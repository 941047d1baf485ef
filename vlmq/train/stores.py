"""The stores of a run, its dataset and its own play: made, mended and checked; whichever process may write, writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from vlmq.api import DataError
from vlmq.data.salvage import SALVAGED_FROM, mend
from vlmq.data.store import EpisodeStore
from vlmq.env.address import local_id
from vlmq.prompt.encode import Encoder
from vlmq.rollout import sync
from vlmq.train.ownplay import GIVEN_UP, given_up


def make(folder: Path, provenance: dict[str, Any]) -> None:
    """Make a store where there is none.

    Args:
        folder: its place.
        provenance: how its episodes will come to be.
    """
    if sync.rank() == 0 and not (folder / "meta.json").is_file():
        EpisodeStore.create(folder, provenance).close()
    sync.barrier()


def mend_own(folder: Path) -> None:
    """Go on with the undamaged episodes of a store of this run's own, saying so where not all are."""
    if sync.rank() == 0 and any(f.exists() for f in (folder, folder.with_name(f"{folder.name}.mended"))):
        found = mend(folder)
        if found is not None:
            tqdm.write(found, file=sys.stderr)
    sync.barrier()


def forget_from(folder: Path, first: int) -> None:
    """Drop the episodes from an index on, and what is known of them."""
    if sync.rank() == 0:
        with EpisodeStore.open_for_append(folder) as store:
            later = np.flatnonzero(store.table["index"] >= first)
            store.update_provenance({GIVEN_UP: sorted(i for i in given_up(store) if i < first)})
            store.truncate(int(later[0]) if len(later) else len(store))
    sync.barrier()


def give_up(folder: Path, lost: list[int]) -> None:
    """Note which episodes a store will never hold."""
    if lost and sync.rank() == 0:
        with EpisodeStore.open_for_append(folder) as store:
            store.update_provenance({GIVEN_UP: sorted({*given_up(store), *lost})})
    sync.barrier()


def missing(store: EpisodeStore, folder: Path, provenance: dict[str, Any], episodes: int) -> list[int]:
    """Indices that a dataset which is being collected does not hold yet.

    Args:
        store: the dataset.
        folder: its place.
        provenance: how this run makes its episodes.
        episodes: how many it is to hold.

    Raises:
        DataError: there are some, and the others were made otherwise.
    """
    if len(store) >= episodes:
        return []
    made_as = {name: value for name, value in store.provenance.items() if name != SALVAGED_FROM}
    if made_as.get("collect") is None or made_as != json.loads(json.dumps(provenance)):
        raise DataError(
            f"the dataset {folder} holds {len(store)} episodes made with other settings than this "
            "config's; set data.dataset to another folder, or data.collect to null to use it as it is."
        )
    return [index for index in range(episodes) if store.position_of(index) is None]


def check_dataset(
    store: EpisodeStore, folder: Path, *, encoder: Encoder, backbone: str, env: str | None
) -> None:
    """Refuse a dataset that is empty or was made for another model or environment.

    Args:
        store: the dataset.
        folder: its place.
        encoder: of the model that is to learn from it.
        backbone: what that is called.
        env: in which it is judged; None for nowhere.
    """
    if len(store) == 0:
        raise DataError(f"the dataset {folder} is empty; fill it with `vlmq collect` or remove it.")
    made_by = store.provenance.get("tokenizer")
    if made_by not in (None, "", encoder.fingerprint):
        raise DataError(
            f"the dataset {folder} holds replies of another tokenizer than {backbone}'s; collect it again, choose the "
            "model it was made with, or let this one tokenise the replies: `vlmq data convert OLD NEW --drop-tokens`."
        )
    form = store.provenance.get("reply_format")
    if form not in (None, encoder.reply_format):
        raise DataError(
            f"the dataset {folder} holds {form} replies, but model.reply_format is "
            f"{encoder.reply_format}; set one to the other, or data.dataset to another folder."
        )
    made_in = store.provenance.get("env")
    if made_in is not None and env is not None and made_in != local_id(env):
        raise DataError(
            f"the dataset {folder} was made in {made_in}, but data.env is {env}; set data.dataset to another folder."
        )
