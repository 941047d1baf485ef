"""The conformance kit: does an environment keep the contract? `check_env`, and `EnvContract` for pytest."""

from vlmq.api.testing.kit import CHECKS, CYCLES, SEEDS, check_env
from vlmq.api.testing.pytest_contract import EnvContract
from vlmq.api.testing.report import Check, Report

__all__ = ["CHECKS", "CYCLES", "SEEDS", "Check", "EnvContract", "Report", "check_env"]
