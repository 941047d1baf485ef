"""Toy environments that hang, each in another call. Importing them makes the kit wait for fractions of a second alone.

Only a process that plays one of them imports this module.
"""

from __future__ import annotations

import time
from typing import Any

from contract_toys import Walk, declaring

from vlmq.api.testing import deadline

deadline.CALL_LIMIT_S = deadline.AGAIN_S = 0.3


def hang() -> None:
    while True:
        time.sleep(0.01)


class in_the_expert(Walk):
    def expert_action(self) -> str | None:
        hang()
        return None


class in_a_secret(Walk):
    metadata = declaring(secrets=("asked",))

    def asked(self) -> str:
        hang()
        return ""


class in_close(Walk):
    def close(self) -> None:
        hang()


class in_a_turn_that_catches_exceptions(Walk):
    def move(self, action: str) -> None:
        while True:
            try:
                hang()
            except Exception:
                continue


class in_a_turn_that_catches_all_once(Walk):
    def move(self, action: str) -> None:
        try:
            hang()
        except BaseException:
            hang()


class in_a_turn_that_catches_all(Walk):
    def move(self, action: str) -> Any:
        while True:
            try:
                hang()
            except BaseException:
                continue
