"""Shared by all tests: processes start from a fork server, and scenarios are spread over a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.fork_server import SWITCH

# Before collection, in the controlling process and in every worker.
os.environ.setdefault(SWITCH, "1")

# A wall-clock deadline for an example fails only on a busy machine.
settings.register_profile("threadline", deadline=None)
settings.load_profile("threadline")

# xdist first gives each worker one block of the tests. Page tests share a browser and a bot per
# worker, so they stay in one block.
BROWSER = "test_page_"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the scenarios evenly over the run: they take a hundred times as long as other
    tests."""
    scenarios = [item for item in items if _is_scenario(item)]
    others = [item for item in items if not _is_scenario(item)]
    if not scenarios or not others:
        return
    every = len(items) / len(scenarios)
    mixed = [item for item in items if BROWSER in item.nodeid]
    rest = iter([item for item in others if BROWSER not in item.nodeid])
    for n, scenario in enumerate(scenarios):
        mixed.append(scenario)
        room = int((n + 1) * every) - len(mixed)
        mixed.extend(item for _, item in zip(range(room), rest, strict=False))
    items[:] = [*mixed, *rest]


def _is_scenario(item: pytest.Item) -> bool:
    return Path(item.path).parent.name == "e2e" and BROWSER not in item.nodeid
