"""Shared by all tests: processes start from a fork server, and scenarios are spread over a run."""

from __future__ import annotations

import atexit
import gc
import math
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings
from structlog.dev import ConsoleRenderer, plain_traceback

from bot.store.store import SqlStore
from tests.sims.kit import HERE
from tests.support.fork_server import SWITCH, share
from tests.support.postgres_server import MISSING, SharedServer, binaries, join
from tests.support.precompile import precompile
from tests.support.store_kit import Place, PostgresPlace, check, opened

# Before collection, in the controlling process and in every worker.
os.environ.setdefault(SWITCH, "1")
os.environ.setdefault(HERE, "1")

# Databases in memory: every commit flushes to disk, and tests kill processes, never the machine.
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4_000_000_000:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# A wall-clock deadline for an example would fail only on a busy machine.
settings.register_profile("threadline", deadline=None)
settings.load_profile("threadline")

_configure = structlog.configure


def _configure_without_cache(*arguments: Any, **values: Any) -> None:
    """Disable caching: a cached logger keeps the configuration of the first test that used it."""
    _configure(*arguments, **(values | {"cache_logger_on_first_use": False}))


structlog.configure = _configure_without_cache

# By default, structlog draws each traceback with Rich: panels, highlighted source and all local
# variables. That takes 20 ms, for output that only a failing test shows. Resets keep this object.
_renderer = structlog.get_config()["processors"][-1]
assert isinstance(_renderer, ConsoleRenderer)
_renderer.exception_formatter = plain_traceback


@pytest.fixture(autouse=True)
def _reset_logs() -> Iterator[None]:
    """Reset the log configuration, which commands change when a test runs them in this process."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    """The run's PostgreSQL server: all workers share it."""
    if binaries() is None:
        pytest.skip(MISSING)
    base = tmp_path_factory.getbasetemp()
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    server = join(base.parent if is_worker else base)
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The location of a store: the test runs on both engines."""
    if request.param == "sqlite":
        yield tmp_path / "store.db"
        return
    server: SharedServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield PostgresPlace(url)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[SqlStore]:
    """An open store on each engine, whose invariants are checked afterwards."""
    async with opened(place) as store:
        yield store
    check(place)


# ── what a run costs ──────────────────────────────────────────────────────────────────────────
# Every worker of a run collects all tests. Tests and modules live as long as the process, so no
# garbage collection visits it: not while the modules are imported, and not during the tests. A
# test's own objects are few: at the usual pace, collections take a twelfth of the tests' time.
gc.disable()
gc.set_threshold(20_000, 20, 50)


def pytest_configure(config: pytest.Config) -> None:
    """In the controlling process, before the workers start."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        precompile(config)
        share()


def pytest_collection_finish() -> None:
    """Leave everything collected out of garbage collections, also out of the three with which
    pytest ends. The interpreter's end then visits it, to close what tests left open."""
    gc.enable()
    gc.freeze()
    atexit.register(gc.unfreeze)


# ── the order of the tests ────────────────────────────────────────────────────────────────────
# xdist first gives each worker one block of the tests. Page tests share a browser and a bot per
# worker, so they stay in one block.
BROWSER = "test_page_"

# The seconds that a scenario of these files takes, most of them waiting; the first name that fits
# counts. The longest begin first: a run ends when the last of them does, while other workers wait.
SECONDS = {
    "test_planted_bugs": 50,
    "test_faults": 50,
    "test_processes": 30,
    "test_kills_many": 25,
    "test_model_failures": 20,
    "test_rolling_upgrade": 15,
    "schemathesis": 15,
    "test_kills": 12,
    "test_summaries": 12,
    "test_database": 12,
    "isolation": 8,
}
OTHER_SECONDS = 4
ALSO_SCENARIOS = ("isolation", "schemathesis")  # outside e2e/
# The part of a block over which its scenarios are spread. Workers share what remains.
SPREAD = 0.9
# The part of a block's other tests with which every second block begins: if all began with a
# scenario, all would wait at the same time.
HEAD = 0.08


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Spread the scenarios, which take a hundred times as long as other tests, evenly over the
    blocks of all workers."""
    scenarios = sorted(filter(_is_scenario, items), key=_seconds, reverse=True)
    others = [item for item in items if not _is_scenario(item)]
    if not scenarios or not others:
        return
    others.sort(key=lambda item: BROWSER not in item.nodeid)
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    size, rest = len(items) / workers, iter(others)
    items.clear()
    for worker in range(workers):
        dealt = scenarios[worker::workers]
        room = round(size * (worker + 1)) - len(items) - len(dealt)
        items += _mixed(dealt, [*islice(rest, room)], HEAD * (worker % 2))
    items += rest


def _mixed(
    scenarios: list[pytest.Item], others: list[pytest.Item], head: float
) -> list[pytest.Item]:
    """A block: `head` of the other tests, then scenarios with the rest between them.

    The longer a scenario, the more tests follow it. In proportion to its length, the short ones
    would be too close to each other: the square root gave the shortest runs in a simulation with
    the times of a real one.
    """
    done = int(head * len(others))
    mixed, room = others[:done], SPREAD * len(others) - done
    weights = [math.sqrt(_seconds(scenario)) for scenario in scenarios]
    for scenario, weight in zip(scenarios, accumulate(weights), strict=True):
        until = int(head * len(others) + room * weight / sum(weights))
        mixed += [scenario, *others[done:until]]
        done = until
    return mixed + others[done:]


def _seconds(item: pytest.Item) -> float:
    """About how long a scenario takes."""
    name = Path(item.path).name
    return next((long for part, long in SECONDS.items() if part in name), OTHER_SECONDS)


def _is_scenario(item: pytest.Item) -> bool:
    path = Path(item.path)
    if any(part in path.name for part in ALSO_SCENARIOS):
        return True
    return path.parent.name == "e2e" and BROWSER not in item.nodeid
