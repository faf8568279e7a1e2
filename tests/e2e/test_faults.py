"""Virtual users under fault injection, judged in the same way as the kill tests.

Every test run includes a short run. `make soak` runs for `SOAK_SECONDS` on each platform (15
minutes by default), with a new seed every few minutes; `FAULT_SEED` replays a seed.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.kills.process_pool import ProcessPool
from tests.kills.virtual_users import RunResult, run

SHORT = 10.0  # seconds in which people begin conversations, which are completed afterwards
ROUND = 240.0  # seconds per seed in a soak


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    async with ProcessPool() as pool:
        yield pool


def accept(result: RunResult, figures: Callable[[object], None]) -> None:
    """Print the figures, and fail if there are violations."""
    figures(result)
    assert not result.verdict.violations, f"{result}\n{result.verdict}"


@pytest.mark.timeout(240)  # an outcome may take long
@pytest.mark.parametrize("platform", ["discord", "slack"])
async def test_fault_injection_loses_repeats_and_cuts_nothing(
    platform: str, pool: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """Every question gets one outcome in its thread, whatever platform, model and machine did."""
    seed = int(os.environ.get("FAULT_SEED") or 1)
    result = await run(platform, seed, pool, tmp_path / "run", seconds=SHORT)
    accept(result, figures)
    assert result.faults.total() >= 5
    assert result.verdict.outcomes["answered"] >= 3


@pytest.mark.soak
@pytest.mark.parametrize("platform", ["discord", "slack", "slack by edits"])
async def test_fault_injection_soak(
    platform: str, pool: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """Several rounds, each with a new seed, which is printed."""
    seconds = float(os.environ.get("SOAK_SECONDS") or 900)
    deadline = time.monotonic() + seconds
    results: list[RunResult] = []
    while (left := deadline - time.monotonic()) > 0:
        seed = int(os.environ.get("FAULT_SEED") or random.randrange(10**6))
        folder = tmp_path / f"{seed}-{len(results)}"
        results.append(await run(platform, seed, pool, folder, seconds=min(left, ROUND)))
        accept(results[-1], figures)
    figures(f"{platform}, {len(results)} seeds: {_sum(results)}")


def _sum(results: list[RunResult]) -> str:
    judged = sum((result.verdict.outcomes for result in results), Counter[str]())
    faults = sum(result.faults.total() for result in results)
    conversations = sum(result.conversations for result in results)
    return (
        f"{conversations} conversations, {judged.total()} outcomes judged {dict(judged)}, "
        f"{faults} faults, {sum(result.deaths for result in results)} kills; "
        "nothing lost, doubled or cut"
    )
