"""Virtual users under fault injection, judged as the kills are.

A short run is part of every test run. `make soak` goes on for `SOAK_SECONDS` on each platform
(15 minutes when it is not set), with a new seed every few minutes; `FAULT_SEED` plays one again.
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
from tests.kills.virtual_users import Outcome, run

SHORT = 10.0  # seconds in which people begin conversations; what they began is ended afterwards
ROUND = 240.0  # seconds of one seed in a soak


@pytest.fixture
async def nursery() -> AsyncIterator[ProcessPool]:
    async with ProcessPool() as nursery:
        yield nursery


def accept(outcome: Outcome, figures: Callable[[object], None]) -> None:
    """Show the figures, and fail on anything that was found."""
    figures(outcome)
    assert not outcome.verdict.faults, f"{outcome}\n{outcome.verdict}"


@pytest.mark.timeout(240)  # an outcome may be a while in coming
@pytest.mark.parametrize("platform", ["discord", "slack"])
async def test_bad_weather_loses_doubles_and_cuts_nothing(
    platform: str, nursery: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """Every question one outcome in its place, whatever platform, model and machine did."""
    seed = int(os.environ.get("FAULT_SEED") or 1)
    outcome = await run(platform, seed, nursery, tmp_path / "run", seconds=SHORT)
    accept(outcome, figures)
    assert outcome.troubles.total() >= 5
    assert outcome.verdict.outcomes["answered"] >= 3


@pytest.mark.soak
@pytest.mark.parametrize("platform", ["discord", "slack", "slack by edits"])
async def test_bad_weather_for_as_long_as_one_likes(
    platform: str, nursery: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """Round after round, each with a seed of its own, which is printed."""
    seconds = float(os.environ.get("SOAK_SECONDS") or 900)
    deadline = time.monotonic() + seconds
    outcomes: list[Outcome] = []
    while (left := deadline - time.monotonic()) > 0:
        seed = int(os.environ.get("FAULT_SEED") or random.randrange(10**6))
        folder = tmp_path / f"{seed}-{len(outcomes)}"
        outcomes.append(await run(platform, seed, nursery, folder, seconds=min(left, ROUND)))
        accept(outcomes[-1], figures)
    figures(f"{platform}, {len(outcomes)} seeds: {_sum(outcomes)}")


def _sum(outcomes: list[Outcome]) -> str:
    judged = sum((outcome.verdict.outcomes for outcome in outcomes), Counter[str]())
    troubles = sum(outcome.troubles.total() for outcome in outcomes)
    conversations = sum(outcome.conversations for outcome in outcomes)
    return (
        f"{conversations} conversations, {judged.total()} outcomes judged {dict(judged)}, "
        f"{troubles} troubles, {sum(outcome.deaths for outcome in outcomes)} kills; "
        "nothing lost, doubled or cut"
    )
