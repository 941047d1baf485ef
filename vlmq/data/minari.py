"""Episodes as a Minari dataset: plain `minari.load_dataset` reads it, TorchRL's loader does, and it comes back exactly.

An environment step is one turn. Every array is dense and has one shape in the whole dataset, since TorchRL's loader
takes nothing else; what is shorter is padded, and its length stands beside it.

    observations["image"]     uint8 (K + 1, H, W, 3): the largest height and width; smaller pictures lie top left
    observations["text"]      uint8 (K + 1, L): UTF-8, zeros after its end
    actions                   uint8 (K, A): the text that was executed, as UTF-8
    rewards, terminations, truncations    of each turn
    infos[...]                K + 1 rows, as from reset and from each step: sizes (image_size, text_bytes) with the
                              observation, all else (reply, reply_ids, logprobs, ...) in the row after its turn
    options["vlmq"]           JSON of the episode's other fields, and its content hash

The extra `vlmq[minari]` is needed; HDF5 is the file format. One episode at a time is in memory.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmq.api import DataError, Episode, Observation, Turn, UserError
from vlmq.data.damage import Damage, Kind
from vlmq.data.identity import episode_hash
from vlmq.data.store import EpisodeStore
from vlmq.data.texts import plain, storable

MINARI_VERSION = 1
"""Version of this layout. A reader refuses a newer one and must go on reading every older one."""

_MOST_ATTRIBUTE_BYTES = 60_000  # HDF5 keeps 64 KiB of attributes beside a group
_ERRORS = (KeyError, IndexError, TypeError, ValueError, AttributeError, OSError, RuntimeError, OverflowError)


@dataclass(frozen=True)
class _Capacity:
    """The largest of everything in a store."""

    height: int
    width: int
    text: int
    action: int
    tokens: int


def write_minari(store: EpisodeStore, dataset_id: str) -> int:
    """Make a new dataset of Minari's local folder; returns the number of episodes.

    Args:
        store: what to export; it is read twice, the first time without its pictures.
        dataset_id: as Minari has it, such as "vlmq/cards-v0"; the folder is MINARI_DATASETS_PATH or Minari's own.

    Raises:
        UserError: Minari is not installed.
        DataError: the id is malformed or taken.
    """
    minari = _minari()
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.namespace import create_namespace, list_local_namespaces
    from minari.storage import get_dataset_path

    try:
        namespace, _, _ = parse_dataset_id(dataset_id)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{dataset_id!r} is no Minari dataset id; write namespace/name-v0, such as vlmq/cards-v0"
        ) from error
    target = Path(get_dataset_path(dataset_id))
    if target.exists():
        raise DataError(f"{target}: there is a Minari dataset {dataset_id} already; choose another id")
    workshop = Path(tempfile.mkdtemp(prefix=".vlmq-", dir=root()))
    try:
        _fill(minari, store, workshop / "data", dataset_id)
        if namespace is not None and namespace not in list_local_namespaces():
            create_namespace(namespace)
        target.parent.mkdir(parents=True, exist_ok=True)
        (workshop / "data").chmod(0o755)
        workshop.chmod(0o755)  # a temporary folder is its maker's alone
        workshop.rename(target)
    except BaseException:
        shutil.rmtree(workshop, ignore_errors=True)
        raise
    return len(store)


def read_minari(name: str | Path) -> Iterator[Episode]:
    """The episodes of a dataset that `write_minari` wrote, in order, read as they are asked for.

    Args:
        name: the dataset's id, or its folder.

    Raises:
        UserError: Minari is not installed.
        DataError: there is none, or, on reaching it, an episode is damaged.
    """
    for _, found in numbered(name):
        if isinstance(found, DataError):
            raise found
        yield found


def root() -> Path:
    """Minari's local folder: MINARI_DATASETS_PATH, or its own."""
    _minari()
    from minari.storage import get_dataset_path

    return Path(get_dataset_path())


def provenance_of(name: str | Path) -> dict[str, Any]:
    """What the dataset says of itself."""
    found = _open(name)[1].get("provenance", {})
    return found if isinstance(found, dict) else {}


def numbered(name: str | Path) -> Iterator[tuple[str, Episode | DataError]]:
    """Each episode with its place, or what is wrong with it."""
    storage, _ = _open(name)
    try:
        count = int(storage.total_episodes)
    except _ERRORS as error:
        raise _damaged(f"{name}", error) from error
    for k in range(count):
        where = f"{name}, episode {k}"
        try:
            (content,) = storage.get_episodes([k])
            (about,) = storage.get_episode_metadata([k])
            fields = json.loads(about["options"]["vlmq"])
            episode = _episode(content, fields)
        except DataError as error:
            yield where, error
            continue
        except _ERRORS as error:
            yield where, _damaged(where, error)
            continue
        if fields.get("hash") not in (None, episode_hash(episode)):
            yield (
                where,
                Damage(
                    Kind.CHECKSUM,
                    f"{where}: it is damaged, or was changed since it was exported (its hash is not"
                    f" {fields['hash']}); restore the dataset from a copy",
                ),
            )
            continue
        yield where, episode


def looks_like_minari(path: Path) -> bool:
    """Whether this is the folder of a Minari dataset."""
    return any((path / at / "metadata.json").is_file() for at in (".", "data")) and any(
        (path / at).exists() for at in ("main_data.hdf5", "data/main_data.hdf5")
    )


def _minari() -> ModuleType:
    try:
        import h5py  # noqa: F401  (without it Minari fails later, and less clearly)
        import minari
    except ImportError as error:
        raise UserError(
            f"Minari datasets need the package minari ({error}): pip install 'vlmq[minari]'"
        ) from error
    module: ModuleType = minari
    return module


def _fill(minari: ModuleType, store: EpisodeStore, folder: Path, dataset_id: str) -> None:
    from gymnasium.spaces import Box, Dict
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    most = _capacity(store)
    parts: dict[str, Any] = {"text": Box(0, 255, (most.text,), np.uint8)}
    if most.height:
        parts["image"] = Box(0, 255, (most.height, most.width, 3), np.uint8)
    storage = MinariStorage.new(
        folder,
        observation_space=Dict(parts),
        action_space=Box(0, 255, (most.action,), np.uint8),
        data_format="hdf5",
        jpeg_encoding=False,  # Minari's default would change the pictures
    )
    about = {"version": MINARI_VERSION, "provenance": store.provenance}
    storage.update_metadata(
        {
            "dataset_id": dataset_id,
            "minari_version": minari.__version__,
            "description": "Episodes of an agent, written by vlmq; texts are UTF-8 bytes with zeros after their end.",
            "vlmq": about,
        }
    )
    storage.update_episodes(EpisodeBuffer(**_buffer(episode, most)) for episode in store)


def _capacity(store: EpisodeStore) -> _Capacity:
    height = width = 0
    text = action = tokens = 1  # HDF5 has no arrays that are empty across
    for position in range(len(store)):
        episode = store.outline(position)
        for observation in episode.observations:
            text = max(text, len(_utf8(observation.text)))
            if observation.image is not None:
                height, width = (
                    max(height, observation.image.shape[0]),
                    max(width, observation.image.shape[1]),
                )
        action = max(action, *(len(_utf8(turn.action)) for turn in episode.turns))
        tokens = max(tokens, *(len(turn.reply_ids) for turn in episode.turns))
    return _Capacity(height, width, text, action, tokens)


def _buffer(episode: Episode, most: _Capacity) -> dict[str, Any]:
    turns, shown = episode.turns, list(episode.observations)
    if episode.final_observation is None:
        shown.append(Observation("", None))
    count = len(turns)
    observations: dict[str, Any] = {"text": _padded([_utf8(o.text) for o in shown], most.text)}
    sizes = np.zeros((count + 1, 2), np.int32)
    images = np.zeros((count + 1, most.height, most.width, 3), np.uint8)
    for k, observation in enumerate(shown):
        if observation.image is not None:
            sizes[k] = observation.image.shape[:2]
            images[k, : sizes[k, 0], : sizes[k, 1]] = observation.image
    if most.height:
        observations["image"] = images
    ids = np.zeros((count + 1, most.tokens), np.int32)
    logprobs = np.full((count + 1, most.tokens), np.nan, np.float32)
    for k, turn in enumerate(turns, start=1):
        ids[k, : len(turn.reply_ids)] = turn.reply_ids
        logprobs[k, : len(turn.logprobs)] = turn.logprobs
    actions = [_utf8(turn.action) for turn in turns]
    infos = {
        "image_size": sizes,
        "text_bytes": np.array([len(_utf8(o.text)) for o in shown], np.int32),
        "action_bytes": np.array([0, *map(len, actions)], np.int32),
        "reply": ["", *(storable(turn.reply) for turn in turns)],
        "reply_ids": ids,
        "logprobs": logprobs,
        "num_tokens": np.array([0, *(len(turn.reply_ids) for turn in turns)], np.int32),
        "parsed": np.array([False, *(turn.parsed for turn in turns)], bool),
        "action_ok": np.array([False, *(turn.action_ok for turn in turns)], bool),
        # torch knows too little of uint64: the same bits, signed
        "digest": np.array([0, *(turn.digest for turn in turns)], np.uint64).view(np.int64),
        "source": ["", *(storable(turn.source) for turn in turns)],
    }
    last = np.arange(count) == count - 1
    return {
        "seed": int(episode.seed),  # for others; ours is with the other fields
        "options": {"vlmq": _fields(episode)},
        "observations": observations,
        "actions": _padded(actions, most.action),
        "rewards": np.array([turn.reward for turn in turns], np.float64),
        "terminations": last & episode.terminated,
        "truncations": last & episode.truncated,
        "infos": infos,
    }


def _fields(episode: Episode) -> str:
    fields = {
        "env_id": episode.env_id, "seed": int(episode.seed), "success": bool(episode.success), "source": episode.source,
        "index": int(episode.index), "policy_version": int(episode.policy_version), "tokenizer": episode.tokenizer,
        "env_args": episode.env_args, "has_final": episode.final_observation is not None,
        "hash": episode_hash(episode),
    }  # fmt: skip
    text = json.dumps(fields)
    if len(text) > _MOST_ATTRIBUTE_BYTES:
        raise DataError(
            f"episode {episode.index} of {episode.env_id!r}: its env_id, source, tokenizer and env_args take"
            f" {len(text)} bytes, and Minari's files hold {_MOST_ATTRIBUTE_BYTES}; export it as hf or jsonl"
        )
    return text


def _open(name: str | Path) -> tuple[Any, dict[str, Any]]:
    """The dataset's storage, and what vlmq noted in its metadata."""
    _minari()
    from minari.dataset.minari_storage import MinariStorage
    from minari.storage import get_dataset_path

    path = Path(name)
    if not path.is_dir():
        path = Path(get_dataset_path(str(name)))
    folder = path / "data" if (path / "data").is_dir() else path
    if not (folder / "metadata.json").is_file():
        raise DataError(
            f"{name}: there is no Minari dataset of that id at {path}; see `minari list local`, or give its folder"
        )
    try:
        about = json.loads((folder / "metadata.json").read_text(encoding="utf-8")).get("vlmq")
        if about is None:
            raise DataError(
                f"{name}: vlmq did not write this Minari dataset, so it has no replies to learn from; convert it to"
                " JSON lines with a script of your own (docs/data.md has the fields)"
            )
        version = about["version"]
        if not isinstance(version, int) or version > MINARI_VERSION:
            raise Damage(
                Kind.VERSION,
                f"{name}: its layout has version {version}; this vlmq reads up to {MINARI_VERSION}: upgrade it",
            )
        return MinariStorage.read(folder), about
    except (*_ERRORS, AssertionError) as error:
        raise _damaged(str(name), error) from error


def _damaged(where: str, error: Exception) -> Damage:
    text = " ".join(str(error).split())[:200]
    kind = Kind.TRUNCATED if "truncated file" in text else Kind.CHECKSUM
    return Damage(kind, f"{where}: it is cut short or damaged ({text}); restore the dataset from a copy")


def _episode(content: Mapping[str, Any], fields: Mapping[str, Any]) -> Episode:
    observations, infos, actions = content["observations"], content["infos"], content["actions"]
    count = len(content["rewards"])
    turns = []
    for k in range(count):
        tokens = int(infos["num_tokens"][k + 1])
        turns.append(
            Turn(
                observation=_observation(observations, infos, k),
                reply=plain(_text(infos["reply"][k + 1])),
                action=_from_utf8(actions[k], infos["action_bytes"][k + 1]),
                reward=float(content["rewards"][k]),
                parsed=bool(infos["parsed"][k + 1]),
                action_ok=bool(infos["action_ok"][k + 1]),
                reply_ids=np.array(infos["reply_ids"][k + 1][:tokens], np.int32),
                logprobs=np.array(infos["logprobs"][k + 1][:tokens], np.float32),
                digest=int(infos["digest"][k + 1 : k + 2].view(np.uint64)[0]),
                source=plain(_text(infos["source"][k + 1])),
            )
        )
    return Episode(
        env_id=str(fields["env_id"]),
        seed=int(fields["seed"]),
        turns=tuple(turns),
        final_observation=_observation(observations, infos, count) if fields["has_final"] else None,
        terminated=bool(content["terminations"][-1]),
        truncated=bool(content["truncations"][-1]),
        success=bool(fields["success"]),
        source=str(fields["source"]),
        index=int(fields["index"]),
        policy_version=int(fields["policy_version"]),
        tokenizer=str(fields["tokenizer"]),
        env_args=str(fields["env_args"]),
    )


def _observation(observations: Mapping[str, Any], infos: Mapping[str, Any], k: int) -> Observation:
    height, width = map(int, infos["image_size"][k])
    image = np.ascontiguousarray(observations["image"][k][:height, :width]) if height and width else None
    return Observation(_from_utf8(observations["text"][k], infos["text_bytes"][k]), image)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _from_utf8(row: NDArray[np.uint8], count: int) -> str:
    return row[: int(count)].tobytes().decode("utf-8", "surrogatepass")


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8")


def _padded(texts: list[bytes], width: int) -> NDArray[np.uint8]:
    rows = np.zeros((len(texts), width), np.uint8)
    for k, text in enumerate(texts):
        rows[k, : len(text)] = np.frombuffer(text, np.uint8)
    return rows
