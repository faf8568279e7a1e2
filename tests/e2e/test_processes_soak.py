"""A soak of several processes on one PostgreSQL, on each platform, with its figures.

    CLUSTER_SOAK_MINUTES=30 .venv/bin/python -m pytest -m soak -o timeout=0 -s \\
        tests/e2e/test_processes_soak.py -k slack-2

People talk while processes are killed, hang, lose connections and events (`test_faults` has the
other faults). Every round has a new database and a new seed, which is printed; `FAULT_SEED` replays
one. A round with violations does not end the soak: the report at the end has all of them.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.kills.process_pool import ProcessPool
from tests.kills.shared_bots import SharedBots
from tests.kills.soak_report import SoakReport
from tests.kills.take_overs import TakeOvers
from tests.kills.virtual_users import RunResult, run
from tests.support.postgres_server import SharedServer

MINUTES = 15.0  # of a soak, unless CLUSTER_SOAK_MINUTES says otherwise
ROUND = 240.0  # seconds per seed


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    async with ProcessPool() as pool:
        yield pool


async def play_round(
    platform: str, count: int, pool: ProcessPool, folder: Path, url: str, seconds: float, seed: int
) -> tuple[RunResult, list[float]]:
    """Play one round; returns its result, and its take-overs in seconds."""
    watching: list[tuple[TakeOvers, asyncio.Task[None]]] = []

    def make(environ: Mapping[str, str]) -> SharedBots:
        bots = SharedBots(pool, folder, environ, url=url, count=count)
        take_overs = TakeOvers(bots)
        watching.append((take_overs, asyncio.create_task(take_overs.run())))
        return bots

    try:
        result = await run(platform, seed, pool, folder, seconds=seconds, make_bot=make)
    finally:
        for _, task in watching:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task  # an error of the watch is also an error of the soak
    return result, [each for take_overs, _ in watching for each in take_overs.seconds]


@pytest.mark.soak
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("platform", ["discord", "slack"])
async def test_several_processes_lose_double_and_leave_nothing(
    platform: str,
    count: int,
    pool: ProcessPool,
    tmp_path: Path,
    postgres: SharedServer,
    figures: Callable[[object], None],
) -> None:
    seconds = 60.0 * float(os.environ.get("CLUSTER_SOAK_MINUTES") or MINUTES)
    deadline, report = time.monotonic() + seconds, SoakReport()
    while (left := deadline - time.monotonic()) > 0:
        seed = int(os.environ.get("FAULT_SEED") or random.randrange(10**6))
        folder = tmp_path / f"{seed}-{len(report.results)}"
        with postgres.database() as url:
            result, take_overs = await play_round(
                platform, count, pool, folder, url, min(left, ROUND), seed
            )
        report.results.append(result)
        report.take_overs += take_overs
        figures(f"{result}\n{result.verdict}")
        print(f"\n{result}\n{result.verdict}", flush=True)  # with -s, while the soak runs
    figures(f"{platform}, {count} processes: {report}")
    assert not report.kinds, report
