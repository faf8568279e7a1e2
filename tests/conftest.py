"""Shared by all tests: processes start from a fork server, and scenarios are spread over a run."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings
from structlog.dev import ConsoleRenderer, plain_traceback

from bot.store.store import SqlStore
from tests.sims.kit import HERE
from tests.support.fork_server import SWITCH
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

# Scenarios whose tests take the longest, the longest first: 100, 90, 50 and 40 seconds, then many
# of 20. They begin early: a run ends when the last of them does, while other workers wait.
ALSO_LONG = ("isolation", "schemathesis")  # outside e2e/
LONGEST = (
    "test_faults",
    "test_planted_bugs",
    "test_processes",
    "test_kills",
    "test_database",
    *ALSO_LONG,
)
# The part of a block over which its scenarios are spread. Workers share what remains.
SPREAD = 0.8


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Spread the scenarios, which take a hundred times as long as other tests, evenly over the
    blocks of all workers."""
    scenarios = sorted((item for item in items if _is_scenario(item)), key=_rank)
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
        items += _mixed(dealt, [*islice(rest, room)])
    items += rest


def _mixed(scenarios: list[pytest.Item], others: list[pytest.Item]) -> list[pytest.Item]:
    """A block with its scenarios spread at equal distances."""
    mixed, every, done = list[pytest.Item](), SPREAD * len(others) / max(1, len(scenarios)), 0
    for number, scenario in enumerate(scenarios):
        mixed.append(scenario)
        until = int((number + 1) * every)
        mixed += others[done:until]
        done = until
    return mixed + others[done:]


def _rank(item: pytest.Item) -> int:
    """The place of the item's file in LONGEST."""
    names = [number for number, part in enumerate(LONGEST) if part in Path(item.path).name]
    return names[0] if names else len(LONGEST)


def _is_scenario(item: pytest.Item) -> bool:
    path = Path(item.path)
    if any(part in path.name for part in ALSO_LONG):
        return True
    return path.parent.name == "e2e" and BROWSER not in item.nodeid
