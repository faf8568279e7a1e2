"""The figures of a soak, over all of its rounds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.kills.virtual_users import RunResult

SERIOUS = ("lost", "doubled", "order", "cut", "left", "late")
"""Kinds of violations that are listed even if there are none."""


@dataclass(slots=True)
class SoakReport:
    """What happened in the rounds of one soak; `take_overs` in seconds."""

    results: list[RunResult] = field(default_factory=list)
    take_overs: list[float] = field(default_factory=list)

    @property
    def kinds(self) -> Counter[str]:
        """The number of violations of each kind."""
        return sum((result.verdict.kinds for result in self.results), Counter[str]())

    @property
    def statuses_left(self) -> int:
        """Signs of work that were never cleared."""
        found = (text for result in self.results for _, text in result.verdict.violations)
        return sum(text.startswith("a sign of work") for text in found)

    def __str__(self) -> str:
        outcomes = sum((result.verdict.outcomes for result in self.results), Counter[str]())
        notes = Counter(note for result in self.results for note in result.notes)
        kinds = {kind: self.kinds[kind] for kind in SERIOUS} | dict(self.kinds)
        return "\n".join(
            (
                f"{len(self.results)} rounds, {self._sum('conversations')} conversations,"
                f" {self._sum('questions')} questions, {self._sum('deaths')} deaths,"
                f" {sum(result.faults.total() for result in self.results)} faults",
                f"  outcomes: {outcomes.total()} {dict(outcomes)}",
                f"  violations: {kinds}; statuses left: {self.statuses_left}",
                f"  notes: {dict(notes)}",
                f"  take-overs: {self._describe_take_overs()}",
            )
        )

    def _sum(self, name: str) -> int:
        return sum(getattr(result, name) for result in self.results)

    def _describe_take_overs(self) -> str:
        found = sorted(self.take_overs)
        if not found:
            return "none"
        last = len(found) - 1
        return (
            f"{len(found)}, after {found[last // 2]:.1f} s in the middle,"
            f" {found[round(last * 0.95)]:.1f} s at 95 %, {found[-1]:.1f} s at most"
        )
