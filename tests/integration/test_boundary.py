"""The boundary, tested as a theorem: over random histories, nothing from one place is ever seen in
another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.store.sqlite import SqliteStore
from tests.support.boundary import History, Judged


def add(total: Judged, judged: Judged) -> None:
    for name in ("operations", "requests", "summaries", "exports", "restores", "erasures"):
        setattr(total, name, getattr(total, name) + getattr(judged, name))
    total.leaks += judged.leaks


async def test_nothing_of_one_place_is_seen_in_another(tmp_path: Path) -> None:
    total = Judged()
    for seed in range(4):
        add(total, await History(tmp_path / f"{seed}.db", seed).run(90))
    print(total)
    assert not total.leaks, total.leaks[:5]
    assert total.requests > 200
    assert min(total.summaries, total.exports, total.restores, total.erasures) > 0, total


@pytest.mark.soak
async def test_nothing_of_one_place_is_seen_in_another_for_long(tmp_path: Path) -> None:
    total = Judged()
    for seed in range(100, 140):
        add(total, await History(tmp_path / f"{seed}.db", seed).run(300))
        assert not total.leaks, (seed, total.leaks[:5])
    print(total)


async def test_the_judge_sees_a_leak(tmp_path: Path) -> None:
    """A store that returns the history of a neighboring place."""

    def leak(store: SqliteStore) -> None:
        read: Any = store.history_from

        async def history_from(conversation: int, **more: Any) -> Any:
            return await read(max(1, conversation - 1), **more)

        store.history_from = history_from  # type: ignore[method-assign]
        read_back: Any = store.history

        async def history(conversation: int, **more: Any) -> Any:
            return await read_back(max(1, conversation - 1), **more)

        store.history = history  # type: ignore[method-assign]

    judged = await History(tmp_path / "leak.db", 1, leak=leak).run(15)
    assert any("a request of" in leak for leak in judged.leaks)
