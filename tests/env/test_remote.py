"""An environment elsewhere plays as it would here; whoever misbehaves over the wire is refused, and harms nobody."""

from __future__ import annotations

import io
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from PIL import Image
from processes import eventually, gone

from vlmq.api import ContractError, PluginError, UserError
from vlmq.env import registry, wire
from vlmq.env.address import address_of, local_id, read_token
from vlmq.env.pool import Pool, Step, make_pool
from vlmq.env.remote import RemoteWorker
from vlmq.env.serve import Server, _changed

WALK, RECALL = "line/Walk-v0", "line/Recall-v0"
HEADER = struct.Struct(">4sII")


@contextmanager
def serving(*env_ids: str, **settings: Any) -> Iterator[Server]:
    """A server in this process; its environments are in processes of their own."""
    defaults: dict[str, Any] = {
        "host": "127.0.0.1", "port": 0, "token": "", "settings": {}, "most": 16, "timeout_s": 60.0,
    }  # fmt: skip
    with Server(env_ids, **{**defaults, **settings}) as server:
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield server
    thread.join(timeout=30)
    assert not thread.is_alive()


def at(server: Server, env_id: str) -> str:
    return f"remote://{server.host}:{server.port}/{env_id}"


@pytest.fixture(scope="module")
def server(trouble: str) -> Iterator[Server]:
    """One server for many tests, without a token."""
    with serving(WALK, RECALL, trouble) as server:
        yield server


@pytest.fixture(scope="module")
def pool(server: Server, trouble: str) -> Iterator[Pool]:
    """Three environments that fail on demand: whatever a test does to one, the next reset mends it."""
    with make_pool(at(server, trouble), 3, expert=True) as made:
        yield made


def test_a_server_out_of_reach_is_named_once_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    with serving(WALK) as server:
        address = address_of(at(server, WALK))
        address.look(0.0, 5.0)
    address.look(0.0, 5.0)
    address.look(0.0, 5.0)
    with serving(WALK, port=address.port):
        address.look(0.0, 5.0)
        address.look(60.0, 5.0)  # too soon to be looked for again
    assert [record.getMessage() for record in caplog.records] == [
        f"waiting for the environment server {address}: it cannot be reached (Connection refused)",
        f"waiting for the environment server {address}: it can be reached again",
    ]


def pid_of(step: Step) -> int:
    return int(step.observation.text.split()[0])


def episodes(pool: Pool, seeds: range) -> dict[int, list[tuple[Any, ...]]]:
    """Everything that is seen of the expert's episode of each seed, with one wrong action in it."""
    seen: dict[int, list[tuple[Any, ...]]] = {}
    for seed in seeds:
        turn, step = 0, pool.reset({0: seed})[0]
        seen[seed] = []
        while True:
            image = step.observation.image
            outcome = (
                step.reward,
                step.terminated,
                step.truncated,
                step.action_ok,
                step.success,
                step.failure,
            )
            pixels = None if image is None else image.tobytes()
            seen[seed].append(
                (step.observation.text, pixels, *outcome, step.legal_actions, step.expert, step.played)
            )
            if step.ended:
                break
            step = pool.step({0: "nonsense \udc80" if turn == 1 else step.expert or ""})[0]
            turn += 1
    return seen


# -- playing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", [WALK, RECALL])
def test_episodes_elsewhere_are_those_played_here(server: Server, env_id: str) -> None:
    with make_pool(env_id, 1, expert=True) as here, make_pool(at(server, env_id), 1, expert=True) as there:
        assert (there.image_shape, there.text_bytes, there.action_bytes) == (
            here.image_shape, here.text_bytes, here.action_bytes,
        )  # fmt: skip
        assert episodes(there, range(8)) == episodes(here, range(8))


def test_arguments_and_the_blank_picture_travel(server: Server) -> None:
    with make_pool(at(server, WALK), 1, env_args={"size": 48}, blank_images=True) as pool:
        image = pool.reset({0: 1})[0].observation.image
    assert image is not None
    assert image.shape == (48, 48, 3)
    assert image.min() == image.max()


def test_an_environment_elsewhere_is_a_gymnasium_environment(server: Server) -> None:
    here, there = registry.make(WALK), registry.make(at(server, WALK))
    try:
        assert there.observation_space == here.observation_space
        assert there.unwrapped.metadata["vlmq"]["success"] == "the last action was the right one"
        for env in (here, there):
            env.reset(seed=3)
        assert there.unwrapped.expert_action() == here.unwrapped.expert_action()  # type: ignore[attr-defined]
        (mine, *rest), (other, *others) = (env.step("+")[:4] for env in (here, there))
        assert rest == others
        np.testing.assert_array_equal(mine["image"], other["image"])
    finally:
        here.close()
        there.close()


def test_an_episode_that_is_over_wants_a_reset_and_a_lost_connection_too(
    server: Server, trouble: str
) -> None:
    env = registry.make(at(server, trouble))
    try:
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.unwrapped.step("go")
        env.reset(seed=1)
        assert env.step("win")[2]
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step("go")
        env.reset(seed=2)
        with pytest.raises(ConnectionError, match="was lost"):
            env.step("die")
        assert env.reset(seed=3)[0]["text"].split()[1] == "3"
    finally:
        env.close()


def test_each_connection_has_a_process_without_torch_that_does_not_know_the_token(
    trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLMQ_TOKEN", "our secret")
    with serving(trouble, token=read_token()) as server, make_pool(at(server, trouble), 2) as pool:
        steps = pool.reset({0: 1, 1: 2})
        pids = {pid_of(step) for step in steps.values()}
        assert len(pids) == 2
        for step in steps.values():
            assert step.observation.text.split()[3] == "False", "torch is not loaded there"
            assert b"our secret" not in Path(f"/proc/{pid_of(step)}/environ").read_bytes()
    assert eventually(lambda: all(map(gone, pids)))


# -- what breaks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["raise", "die"])
def test_what_breaks_over_there_stays_in_its_slot(pool: Pool, action: str) -> None:
    pool.reset({0: 1, 1: 2})
    steps = pool.step({0: action, 1: "go"})
    assert steps[0].failure is not None
    assert steps[0].truncated
    assert steps[1].failure is None
    assert pool.reset({0: 7})[0].observation.text.split()[1] == "7"


def test_a_broken_contract_is_the_same_error_here(pool: Pool) -> None:
    pool.reset({0: 1})
    with pytest.raises(ContractError, match="reward is nan"):
        pool.step({0: "nan"})


def test_an_environment_that_hangs_is_ended_over_there(trouble: str) -> None:
    with serving(trouble, timeout_s=1.0) as server, make_pool(at(server, trouble), 1) as pool:
        pid = pid_of(pool.reset({0: 1})[0])
        step = pool.step({0: "hang"})[0]
        assert "was lost" in str(step.failure)
        assert eventually(lambda: gone(pid))
        assert pool.reset({0: 2})[0].failure is None


def test_a_client_that_waits_no_longer_leaves_nothing_behind(server: Server, trouble: str) -> None:
    with make_pool(at(server, trouble), 1, timeout_s=1.0) as pool:
        pid = pid_of(pool.reset({0: 1})[0])
        assert "within 1 s" in str(pool.step({0: "hang"})[0].failure)
        assert eventually(lambda: gone(pid))


def test_a_client_that_vanishes_leaves_nothing_behind(server: Server, trouble: str) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            pool = make_pool(at(server, trouble), 1)
            os.write(writing, b"%d\n" % pid_of(pool.reset({0: 1})[0]))
            pool.act({0: "hang"})
            os.write(writing, b"busy\n")
            time.sleep(100)
        finally:
            os._exit(1)
    with os.fdopen(reading) as told:
        pid = int(told.readline())
        told.readline()
        assert not gone(pid)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os.close(writing)
    assert eventually(lambda: gone(pid))
    assert playable(server)


def test_a_server_that_comes_back_is_waited_for(trouble: str, caplog: pytest.LogCaptureFixture) -> None:
    with serving(trouble) as first:
        pool = make_pool(at(first, trouble), 2)
        pool.reset({0: 1, 1: 2})
    with pool:
        steps = pool.step({0: "go", 1: "go"})
        assert all("was lost" in str(step.failure) for step in steps.values())
        again: list[Server] = []

        def come_back() -> None:
            time.sleep(1.5)
            with serving(trouble, port=first.port) as second:
                again.append(second)
                stop.wait()

        stop = threading.Event()
        thread = threading.Thread(target=come_back)
        thread.start()
        try:
            steps = pool.reset({0: 5, 1: 6})
            assert [step.observation.text.split()[1] for _, step in sorted(steps.items())] == ["5", "6"]
            assert f"waiting for the environment server 127.0.0.1:{first.port}" in caplog.text
        finally:
            stop.set()
            thread.join()


# -- who is let in --------------------------------------------------------------------------------------------


def test_a_wrong_token_is_refused_and_the_right_one_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(WALK, token="right") as server:
        for wrong in ("", "wrong"):
            monkeypatch.setenv("VLMQ_TOKEN", wrong)
            with pytest.raises(UserError, match="another token; set VLMQ_TOKEN"):
                make_pool(at(server, WALK), 1)
        monkeypatch.delenv("VLMQ_TOKEN")
        (tmp_path / "token").write_text("right\n")
        monkeypatch.setenv("VLMQ_TOKEN_FILE", str(tmp_path / "token"))
        assert playable(server)


def test_a_proof_is_of_use_once() -> None:
    with serving(WALK, token="right") as server:
        nonces = []
        for _ in range(2):
            with socket.create_connection((server.host, server.port), timeout=10) as sock:
                greeting, _ = wire.Link(sock).receive(deadline=time.monotonic() + 10, most=1000)
                nonces.append(greeting["nonce"])
                proof = wire.proof("right", nonces[0])
                hello = {"proof": proof, "id": WALK, "args": {}, "expert": False, "blank": False}
                link = wire.Link(sock)
                link.send(hello)
                answer, _ = link.receive(deadline=time.monotonic() + 60, most=10_000)
                assert ("ready" in answer) == (len(nonces) == 1)


def test_without_a_token_nobody_beyond_this_machine_is_served() -> None:
    with pytest.raises(UserError, match="without a token vlmq serves this machine alone"):
        Server([WALK], host="0.0.0.0", port=0, token="", settings={}, most=1, timeout_s=1)
    with serving(WALK, host="0.0.0.0", token="x"):
        pass


def test_a_port_in_use_is_one_sentence(server: Server) -> None:
    with pytest.raises(UserError, match=f"cannot listen at 127.0.0.1 port {server.port}"):
        Server([WALK], host="127.0.0.1", port=server.port, token="", settings={}, most=1, timeout_s=1)


def test_no_more_are_played_than_allowed(trouble: str) -> None:
    with (
        serving(trouble, most=1) as server,
        make_pool(at(server, trouble), 1),
        pytest.raises(UserError, match="plays 1 environments already"),
    ):
        make_pool(at(server, trouble), 1)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("remote://nowhere", "no environment elsewhere"),
        ("remote://127.0.0.1:1/line", "no environment elsewhere"),
        ("remote://127.0.0.1:99999/line/Walk-v0", "no environment elsewhere"),
        ("remote://127.0.0.1:1/line/Walk-v0", "no environment server answers at 127.0.0.1:1"),
    ],
)
def test_an_address_that_is_wrong_is_one_sentence(url: str, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        make_pool(url, 1)


def test_what_the_server_does_not_play_or_take_is_named(server: Server) -> None:
    with pytest.raises(UserError, match="does not play 'line/Either-v0', but line/Walk-v0, line/Recall-v0"):
        make_pool(at(server, "line/Either-v0"), 1)
    with pytest.raises(PluginError, match="'line/Walk-v0' has no argument 'colour'"):
        make_pool(at(server, WALK), 1, env_args={"colour": "red"})


# -- what is no message ---------------------------------------------------------------------------------------


def playable(server: Server) -> bool:
    with make_pool(at(server, WALK), 1) as pool:
        return pool.reset({0: 1})[0].failure is None


def hung_up(sock: socket.socket) -> bool:
    """Whether the other end closes, whatever it says before."""
    sock.settimeout(30)
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


OVERSIZED = HEADER.pack(b"VQEN", 2**31, 0)
NO_MESSAGES = {
    "noise": b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)),
    "another magic": HEADER.pack(b"XXXX", 2, 0) + b"{}",
    "no JSON": HEADER.pack(b"VQEN", 4, 0) + b"\xff\xfe{}",
    "no object": HEADER.pack(b"VQEN", 2, 0) + b"[]",
    "deep": HEADER.pack(b"VQEN", 60_000, 0) + b"[" * 60_000,
    "oversized": OVERSIZED,
    "a picture": HEADER.pack(b"VQEN", 2, 2**31) + b"{}",
}


@pytest.mark.parametrize("what", NO_MESSAGES)
def test_what_is_no_greeting_is_refused_and_the_server_goes_on(server: Server, what: str) -> None:
    with socket.create_connection((server.host, server.port), timeout=10) as sock:
        sock.sendall(NO_MESSAGES[what])
        assert hung_up(sock)
    assert playable(server)


@pytest.mark.parametrize(
    "request_",
    [
        *NO_MESSAGES.values(),
        {"n": 1, "verb": "reset", "value": "one"},
        {"n": 1, "verb": "reset", "value": -1},
        {"n": 1, "verb": "step", "value": "+"},
        {"n": "1", "verb": "reset", "value": 1},
        {"n": 1, "verb": "exec", "value": "print()"},
        {},
    ],
    ids=str,
)
def test_what_is_no_request_ends_its_connection_alone(
    server: Server, request_: bytes | dict[str, Any]
) -> None:
    with socket.create_connection((server.host, server.port), timeout=10) as sock:
        link = wire.Link(sock)
        link.receive(deadline=time.monotonic() + 10, most=1000)
        link.send({"proof": "", "id": WALK, "args": {}, "expert": False, "blank": False})
        ready, _ = link.receive(deadline=time.monotonic() + 60, most=10_000)
        assert "ready" in ready
        if isinstance(request_, bytes):
            sock.sendall(request_)
        else:
            link.send(request_)
        assert hung_up(sock)


def test_whoever_stalls_in_the_middle_of_a_greeting_is_hung_up_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "HELLO_TIMEOUT_S", 0.5)
    for said in (b"", b"VQ", HEADER.pack(b"VQEN", 100, 0) + b"{"):
        with socket.create_connection((server.host, server.port), timeout=10) as sock:
            sock.sendall(said)
            assert hung_up(sock)


@pytest.mark.parametrize("rows", [[0, 5], [3, 2], [1, 3], [-1, 4], None, [0]], ids=str)
def test_rows_that_are_none_of_the_pictures_are_refused(rows: object) -> None:
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    with pytest.raises((ValueError, TypeError, wire.Malformed)):
        RemoteWorker._patched(None, rows, wire.to_png(image), (4, 6, 3))


def test_rows_that_have_changed_make_the_picture_anew() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(256, size=(9, 6, 3), dtype=np.uint8)
    frame, shown = None, None
    for _ in range(50):
        top, end = _changed(image, shown)
        if top < end:
            frame = RemoteWorker._patched(frame, [top, end], wire.to_png(image[top:end]), (9, 6, 3))
            shown = image.copy()
        assert frame is not None
        np.testing.assert_array_equal(frame, image)
        for row in rng.integers(9, size=rng.integers(3)):
            image[row, rng.integers(6)] += 1


def test_a_picture_that_is_not_the_promised_one_is_refused_before_it_is_decoded() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    png = wire.to_png(image)
    np.testing.assert_array_equal(wire.from_png(png, (4, 6, 3)), image)
    with pytest.raises(wire.Malformed, match="6 x 4 RGB, not the promised one"):
        wire.from_png(png, (6, 4, 3))
    changed = bytearray(png)
    changed[50] ^= 1
    for broken in (b"", b"no picture", png[: len(png) // 2], bytes(changed)):
        with pytest.raises(wire.Malformed, match="cannot be read"):
            wire.from_png(broken, (4, 6, 3))


@pytest.mark.parametrize("size", [(4, 6), (300, 400)], ids=["small", "large"])
def test_a_picture_is_a_png_that_others_read_and_theirs_is_read_here(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    with Image.open(io.BytesIO(wire.to_png(image))) as read:
        read.load()
        np.testing.assert_array_equal(np.array(read), image)
    written = io.BytesIO()
    Image.fromarray(image).save(written, "PNG")
    np.testing.assert_array_equal(wire.from_png(written.getvalue(), (*size, 3)), image)


def test_an_id_is_told_from_its_place() -> None:
    address = address_of("remote://[::1]:7777/foo/Bar-v0")
    assert (address.host, address.port, address.env_id) == ("::1", 7777, "foo/Bar-v0")
    assert local_id("remote://host:1/foo/Bar-v0") == local_id("foo/Bar-v0") == "foo/Bar-v0"


def test_a_token_file_that_is_missing_or_empty_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_token(str(tmp_path / "nowhere"))
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(UserError, match="is empty"):
        read_token(str(tmp_path / "empty"))


def test_a_gymnasium_vector_of_environments_elsewhere_plays(server: Server) -> None:
    spec = registry.find_spec(at(server, WALK))
    vector = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make(spec, disable_env_checker=True)] * 2)
    seen, _ = vector.reset(seed=[1, 2])
    assert seen["image"].shape == (2, 64, 64, 3)
    vector.close()
