"""Runs many kills concurrently within a time budget, and reports the results."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.kills.points import KillPoint, Trial, trial
from tests.kills.process_pool import ProcessPool
from tests.kills.scenario import NotWithin, Scenario

# A run mostly waits: for rate limits, for the model and until requests stop.
CONCURRENT_RUNS = 4


@dataclass(slots=True)
class Report:
    """Results of a campaign."""

    platform: str
    trials: list[Trial] = field(default_factory=list)
    left_out: int = 0
    not_started: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Trial]:
        """The trials with violations."""
        return [each for each in self.trials if each.verdict.violations]

    def __str__(self) -> str:
        reached = [each for each in self.trials if each.deaths]
        kinds = Counter(p.kind for each in reached for p in each.points[: each.deaths])
        outcomes = sum((each.verdict.outcomes for each in self.trials), Counter())
        violations = sum((each.verdict.kinds for each in self.trials), Counter())
        notes = Counter(note for each in self.trials for note in each.notes)
        return "\n".join(
            (
                f"{self.platform}: {len(self.trials)} kills tried, {len(reached)} reached, "
                f"{self.left_out} left out for want of time, {len(self.not_started)} not begun",
                f"  by kind: {dict(kinds)}",
                f"  outcomes judged: {outcomes.total()} {dict(outcomes)}",
                f"  violations: {dict(violations)}",
                f"  notes: {dict(notes)}",
            )
        )

    def failures(self) -> str:
        """Every failed trial with its violations."""
        return "\n\n".join(f"{_names(each.points)}\n{each.verdict}" for each in self.failed)


async def campaign(
    kills: Sequence[Sequence[KillPoint]],
    platform: str,
    pool: ProcessPool,
    folder: Path,
    *,
    scenario_type: type[Scenario] = Scenario,
    seconds: float = float("inf"),
) -> Report:
    """Try each entry of `kills`, one or several points in a row, until `seconds` have passed."""
    report = Report(platform)
    waiting = list(enumerate(kills))[::-1]
    deadline = time.monotonic() + seconds

    async def work() -> None:
        while waiting and time.monotonic() < deadline:
            number, points = waiting.pop()
            home = folder / f"{number:04d}"
            try:
                report.trials.append(
                    await trial(points, platform, pool, home, scenario_type=scenario_type)
                )
            except NotWithin as error:  # before the trial began: the bot did not even start
                report.not_started.append(f"{_names(points)}: {error}")

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENT_RUNS):
            group.create_task(work())
    report.left_out = len(waiting)
    return report


def _names(points: Sequence[KillPoint]) -> str:
    return ", then ".join(str(point) for point in points)
