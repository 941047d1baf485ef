"""What a check found, and the page about all of them: for people as text, for programs as plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: which one; `vlmq.api.testing.CHECKS` lists and explains them all.
        status: skipped means that it could not be asked, for the reason in `seen`.
        seen: what was found; for a check that passed a figure, if it has one.
        expected: what the contract wants instead; "" unless it failed.
        mend: how to repair it; "" unless it failed.
        seconds: how long it took. What several checks share is counted with the first of them.
    """

    name: str
    status: Status
    seen: str = ""
    expected: str = ""
    mend: str = ""
    seconds: float = 0.0

    def as_text(self) -> str:
        """One line; below it, where the check failed, what was seen, what was expected, and the mend."""
        mark = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}[self.status]
        title = self.name.replace("_", " ")
        if self.status == "failed":
            return f"{mark:<8}{title}\n{self.explanation(indent=10)}"
        return f"{mark:<8}{title}{f': {self.seen}' if self.seen else ''}"

    def explanation(self, indent: int = 0) -> str:
        """Seen, expected and mend, a line each."""
        rows = (("seen", self.seen), ("expected", self.expected), ("mend", self.mend))
        return "\n".join(f"{' ' * indent}{label + ':':<10}{text}" for label, text in rows)


@dataclass(frozen=True)
class Report:
    """All checks of one environment, in the order in which they ran."""

    env_id: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed; one that was skipped does not count."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.status == "failed")

    def as_text(self) -> str:
        """A line for each check, each failure explained, and a last line that sums up.

        Checks that wait for another to pass share a line.
        """
        waiting = Counter(check.seen for check in self.checks if check.status == "skipped")
        shared = {reason: count for reason, count in waiting.items() if count > 2}
        lines = [
            check.as_text() for check in self.checks if check.status != "skipped" or check.seen not in shared
        ]
        lines += [f"{'skipped':<8}{count} checks: {reason}" for reason, count in shared.items()]
        return "\n".join([self.env_id, "", *lines, "", self.summary()])

    def summary(self) -> str:
        """One sentence."""
        count = {
            status: sum(check.status == status for check in self.checks)
            for status in ("passed", "failed", "skipped")
        }
        took = f"in {sum(check.seconds for check in self.checks):.1f} s"
        skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
        if self.ok:
            return f"{self.env_id} keeps the contract: {count['passed']} checks passed{skipped}, {took}."
        return (
            f"{self.env_id} breaks the contract: {count['failed']} of {len(self.checks)} checks failed"
            f" ({', '.join(check.name for check in self.failed)}){skipped}, {took}."
        )

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return {"env_id": self.env_id, "ok": self.ok, "checks": [asdict(check) for check in self.checks]}
