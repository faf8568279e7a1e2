"""Shared by all tests: processes start from a fork server, and scenes run in a mixed order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.fork_server import SWITCH

# Before anything is collected, in the controlling process and in every worker.
os.environ.setdefault(SWITCH, "1")

# A limit of wall-clock time for an example fails on a busy machine only.
settings.register_profile("threadline", deadline=None)
settings.load_profile("threadline")

# xdist gives each worker one block of the tests to begin with. Tests of the page share a browser
# and a bot in each process that runs any of them, so they stay in one block.
BROWSER = "test_page_"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the scenes evenly over the run: they take a hundred times as long as the other tests."""
    scenes = [item for item in items if _is_scene(item)]
    others = [item for item in items if not _is_scene(item)]
    if not scenes or not others:
        return
    every = len(items) / len(scenes)
    mixed = [item for item in items if BROWSER in item.nodeid]
    rest = iter([item for item in others if BROWSER not in item.nodeid])
    for n, scene in enumerate(scenes):
        mixed.append(scene)
        room = int((n + 1) * every) - len(mixed)
        mixed.extend(item for _, item in zip(range(room), rest, strict=False))
    items[:] = [*mixed, *rest]


def _is_scene(item: pytest.Item) -> bool:
    return Path(item.path).parent.name == "e2e" and BROWSER not in item.nodeid
