"""Callbacks on their own."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

import pytest

from vlmq.train.callbacks import Interrupts


class _Finalised:
    """Presses Ctrl-C where Python drops what is raised."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_falls_into_a_finaliser_stops_the_run_at_the_next_batch() -> None:
    nobody: Any = None
    before = signal.getsignal(signal.SIGINT)
    callback = Interrupts()
    callback.setup(nobody, nobody, "fit")
    callback.on_train_batch_start()
    with contextlib.suppress(KeyboardInterrupt):
        del_me = _Finalised()
        del del_me
    with pytest.raises(KeyboardInterrupt):
        callback.on_train_batch_start()
    callback.teardown(nobody, nobody, "fit")
    assert signal.getsignal(signal.SIGINT) == before
