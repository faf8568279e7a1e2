"""Tests the judge: it finds each planted bug, and for the right reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kills.attachment_scenario import AttachmentScenario
from tests.kills.points import KillPoint, Target, trial
from tests.kills.process_pool import ProcessPool
from tests.kills.scenario import PATIENCE, Scenario

POST = {"discord": r"POST .*/channels/\d+/messages", "slack": r"POST /api/chat\.postMessage"}


@dataclass(frozen=True, slots=True)
class Case:
    """A bug, where to kill (None: no kill), and the expected violations (empty if it is not a bug).

    `patience` is how long people wait, in seconds, for an answer that never completes.
    """

    bug: str
    point: KillPoint | None
    finds: frozenset[str]
    patience: float = PATIENCE
    scenario_type: type[Scenario] = Scenario


def cases(platform: str) -> list[Case]:
    first_page = KillPoint(Target.PLATFORM, "applied", POST[platform], body="q00001")
    orphan = frozenset({"orphan"})  # posted twice: one of the posts is not a page of any turn
    found = [
        Case("no_intent", first_page, orphan, 15.0),
        Case("find_nothing", first_page, orphan, 15.0),
        Case("drop_final_edit", None, frozenset({"cut", "left"}), 10.0),
        Case("two_attempts", None, frozenset()),
        Case("forget_the_fence", None, frozenset({"doubled"}), 15.0),
        Case("leave_files", None, frozenset({"files"}), scenario_type=AttachmentScenario),
        Case("download_twice", None, frozenset({"repeated"}), scenario_type=AttachmentScenario),
    ]
    if platform == "slack":
        early = KillPoint(Target.COMMIT, "before", "accept", skip=1)
        found.append(Case("acknowledge_first", early, frozenset({"acknowledged"})))
    return found


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    async with ProcessPool() as pool:
        yield pool


@pytest.mark.timeout(600)  # several processes for each bug
@pytest.mark.parametrize("platform", ["discord", "slack"])
async def test_every_planted_bug_is_caught(
    platform: str, pool: ProcessPool, tmp_path: Path
) -> None:
    """The harmless case, which only exercises the fence, is not reported."""
    tried = cases(platform)
    async with asyncio.TaskGroup() as group:
        trials = [
            group.create_task(
                trial(
                    [case.point] if case.point else [],
                    platform,
                    pool,
                    tmp_path / case.bug,
                    scenario_type=case.scenario_type,
                    planted=case.bug,
                    patience=case.patience,
                )
            )
            for case in tried
        ]
    for case, task in zip(tried, trials, strict=True):
        done = task.result()
        kinds = set(done.verdict.kinds)
        assert done.deaths == (case.point is not None), f"{case.bug}: {done.log}"
        assert kinds >= case.finds, f"{case.bug} was not caught: {done.verdict}"
        assert bool(kinds) == bool(case.finds), f"{case.bug}: {done.verdict}"
