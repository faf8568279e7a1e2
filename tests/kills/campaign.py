"""Many kills beside each other, within a time budget, and what to say about them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.kills.points import Point, Trial, trial
from tests.kills.process_pool import ProcessPool
from tests.kills.script import NotWithin, Scene

# A run mostly waits: for the platform's limits, the model's pace and quiet.
AT_ONCE = 4


@dataclass(slots=True)
class Report:
    """Figures of a campaign."""

    platform: str
    trials: list[Trial] = field(default_factory=list)
    left_out: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Trial]:
        """Those in which something was wrong."""
        return [each for each in self.trials if each.verdict.faults]

    def __str__(self) -> str:
        reached = [each for each in self.trials if each.deaths]
        kinds = Counter(p.kind for each in reached for p in each.points[: each.deaths])
        outcomes = sum((each.verdict.outcomes for each in self.trials), Counter())
        faults = sum((each.verdict.kinds for each in self.trials), Counter())
        notes = Counter(note for each in self.trials for note in each.notes)
        return "\n".join(
            (
                f"{self.platform}: {len(self.trials)} kills tried, {len(reached)} reached, "
                f"{self.left_out} left out for want of time, {len(self.broken)} not begun",
                f"  by kind: {dict(kinds)}",
                f"  outcomes judged: {outcomes.total()} {dict(outcomes)}",
                f"  lost {faults['lost']}, doubled {faults['doubled']}, cut {faults['cut']}, "
                f"all faults: {dict(faults)}",
                f"  notes: {dict(notes)}",
            )
        )

    def failures(self) -> str:
        """Every failed trial with what was found."""
        return "\n\n".join(f"{_names(each.points)}\n{each.verdict}" for each in self.failed)


async def campaign(
    kills: Sequence[Sequence[Point]],
    platform: str,
    nursery: ProcessPool,
    folder: Path,
    *,
    scenery: type[Scene] = Scene,
    seconds: float = float("inf"),
) -> Report:
    """Try each of `kills`, one point or several in a row, as far as `seconds` go."""
    report = Report(platform)
    waiting = list(enumerate(kills))[::-1]
    deadline = time.monotonic() + seconds

    async def work() -> None:
        while waiting and time.monotonic() < deadline:
            number, points = waiting.pop()
            home = folder / f"{number:04d}"
            try:
                report.trials.append(await trial(points, platform, nursery, home, scenery=scenery))
            except NotWithin as error:  # before anything was at stake: the bot did not even start
                report.broken.append(f"{_names(points)}: {error}")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    report.left_out = len(waiting)
    return report


def _names(points: Sequence[Point]) -> str:
    return ", then ".join(str(point) for point in points)
