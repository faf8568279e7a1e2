"""Bugs to plant into a running bot: what the judge must find, or it is no judge.

Each replaces one method of the product; nothing of this is in the product itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any


def no_intent() -> None:
    """A page is posted without being in the ledger before."""
    from bot.store.sqlite import SqliteStore

    async def intend(self: Any, fence: Any, page: int) -> None:
        del self, fence, page

    SqliteStore.record_intent = intend  # type: ignore[method-assign]


def acknowledge_first() -> None:
    """Slack gets its acknowledgement before the database has the message."""
    from adapters.slack.listeners import Listeners

    on_message = Listeners._on_message

    async def at_leisure(self: Any, body: Any) -> None:
        async def later() -> None:
            await asyncio.sleep(0.1)  # by then the acknowledgement has been sent
            await on_message(self, body)

        self._run_in_background(later())

    Listeners._on_message = at_leisure  # type: ignore[method-assign]


def drop_final_edit() -> None:
    """The last edit of a reply, or the close of its stream, is taken for done and not sent."""
    from adapters.discord.surface import DiscordSurface
    from adapters.slack.surface import SlackSurface
    from bot.domain.replies import Action
    from bot.replies.plan import apply_request

    def without_the_last(kind: Any) -> None:
        perform = kind.perform

        async def dropping(self: Any, request: Any, shown: Any) -> Any:
            if request.final and request.action in (Action.EDIT, Action.CLOSE):
                return apply_request(shown, request)
            return await perform(self, request, shown)

        kind.perform = dropping

    without_the_last(DiscordSurface)
    without_the_last(SlackSurface)


def find_nothing() -> None:
    """Whatever earlier attempts left is not found again."""
    from adapters.discord.surface import DiscordSurface
    from adapters.slack.surface import SlackSurface
    from bot.domain.replies import Shown

    async def recover(self: Any, pages: Any) -> Shown:
        del self, pages
        return Shown()

    DiscordSurface.recover = recover  # type: ignore[method-assign]
    SlackSurface.recover = recover  # type: ignore[method-assign]


def two_attempts() -> None:
    """No bug yet, but what the fence is for: a turn in work is claimed a second time.

    That happens once its first page is in the ledger. (Earlier, one that is on its way could not
    be found, and nothing but time can keep two attempts from posting it.) The first attempt comes
    to its end when the second does, so that both write as much as they are let.
    """
    from bot.store.sqlite import SqliteStore
    from bot.turns.scheduler import Interrupt, Scheduler

    run, shown, conclude = Scheduler._run, SqliteStore.record_shown, SqliteStore.conclude
    first_page: dict[int, asyncio.Event] = {}
    second_ends: dict[int, asyncio.Event] = {}

    async def noting(self: Any, fence: Any, page: int, **where: Any) -> None:
        await shown(self, fence, page, **where)
        if fence.turn in first_page:
            first_page[fence.turn].set()

    async def together(self: Any, fence: Any, result: Any) -> None:
        if fence.attempt > 1:
            second_ends[fence.turn].set()
        async with asyncio.timeout(20):
            await second_ends[fence.turn].wait()
        await conclude(self, fence, result)

    async def twice(self: Any, claim: Any) -> None:
        if claim.fence.turn in first_page:
            return await run(self, claim)
        first_page[claim.fence.turn] = asyncio.Event()
        second_ends[claim.fence.turn] = asyncio.Event()
        second = asyncio.create_task(_second(self, claim))
        try:
            return await run(self, claim)
        finally:
            await second

    async def _second(self: Any, claim: Any) -> None:
        try:
            await first_page[claim.fence.turn].wait()
            taken_over = await self._store.claim(claim.conversation.id)
            if taken_over is not None and taken_over.fence.turn == claim.fence.turn:
                await self._work(taken_over, Interrupt())
        finally:
            second_ends[claim.fence.turn].set()

    Scheduler._run = twice  # type: ignore[method-assign]
    SqliteStore.record_shown = noting  # type: ignore[method-assign]
    SqliteStore.conclude = together  # type: ignore[method-assign]


def forget_the_fence() -> None:
    """Two attempts at a turn, and the store lets both write whatever and whenever they like."""
    from bot.store import turns
    from bot.store.sqlite import SqliteStore

    two_attempts()

    def anybody(db: sqlite3.Connection, fence: Any) -> Any:
        return db.execute(
            "SELECT platform, workspace FROM turns"
            " JOIN conversations ON conversations.id = turns.conversation_id WHERE turns.id = ?",
            (fence.turn,),
        ).fetchone()

    turns._require = anybody
    for name in ("conclude", "finish"):
        setattr(SqliteStore, name, _without_complaint(getattr(SqliteStore, name)))


def _without_complaint(method: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    from bot.domain.errors import LostOwnership

    async def quietly(*arguments: Any, **values: Any) -> None:
        with contextlib.suppress(LostOwnership):
            await method(*arguments, **values)

    return quietly


def poison() -> None:
    """A question with this word kills the process, a moment after the model was asked."""
    from bot.turns.runner import _Attempt

    ask = _Attempt._ask

    async def killing(self: Any, request: Any, reply: Any) -> None:
        if any("poison" in question.text for question in self._claim.asked):
            await asyncio.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
        await ask(self, request, reply)

    _Attempt._ask = killing  # type: ignore[method-assign]


def discord_breaks() -> None:
    """Discord's adapter fails in an unforeseen way as long as there is a file `break`."""
    from adapters.discord.adapter import DiscordAdapter

    run = DiscordAdapter.run

    async def breaking(self: Any, inbox: Any) -> None:
        running = asyncio.create_task(run(self, inbox))
        try:
            while not Path("break").exists():  # noqa: ASYNC240 - a test's own file
                await asyncio.sleep(0.02)
            raise KeyError("type")
        finally:
            running.cancel()
            await asyncio.wait({running})

    DiscordAdapter.run = breaking  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        no_intent,
        acknowledge_first,
        drop_final_edit,
        find_nothing,
        two_attempts,
        forget_the_fence,
        poison,
        discord_breaks,
    )
}


def plant(name: str) -> None:
    """Plant the bug with this name."""
    BUGS[name]()
