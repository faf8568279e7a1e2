"""The judge is judged: each bug that is planted into the bot is found, and for the right reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kills.points import On, Point, trial
from tests.kills.process_pool import ProcessPool
from tests.kills.script import PATIENCE

POST = {"discord": r"POST .*/channels/\d+/messages", "slack": r"POST /api/chat\.postMessage"}


@dataclass(frozen=True, slots=True)
class Case:
    """A bug, where to kill (None: not at all), and what the judge must find (nothing: no bug).

    `patience` is how long people wait for an answer that will never be whole, in seconds.
    """

    bug: str
    point: Point | None
    finds: frozenset[str]
    patience: float = PATIENCE


def cases(platform: str) -> list[Case]:
    first_page = Point(On.PLATFORM, "applied", POST[platform], body="q00001")
    orphan = frozenset({"orphan"})  # it was posted a second time: one is nobody's page
    found = [
        Case("no_intent", first_page, orphan, 15.0),
        Case("find_nothing", first_page, orphan, 15.0),
        Case("drop_final_edit", None, frozenset({"cut", "left"}), 10.0),
        Case("two_attempts", None, frozenset()),
        Case("forget_the_fence", None, frozenset({"doubled"}), 15.0),
    ]
    if platform == "slack":
        early = Point(On.COMMIT, "before", "accept", skip=1)
        found.append(Case("acknowledge_first", early, frozenset({"acknowledged"})))
    return found


@pytest.fixture
async def nursery() -> AsyncIterator[ProcessPool]:
    async with ProcessPool() as nursery:
        yield nursery


@pytest.mark.parametrize("platform", ["discord", "slack"])
async def test_every_planted_bug_is_caught(
    platform: str, nursery: ProcessPool, tmp_path: Path
) -> None:
    """And what only gives the fence something to do is not taken for a bug."""
    tried = cases(platform)
    async with asyncio.TaskGroup() as group:
        trials = [
            group.create_task(
                trial(
                    [case.point] if case.point else [],
                    platform,
                    nursery,
                    tmp_path / case.bug,
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
