"""Bugs to plant in a running bot; the judge must find each of them.

Each replaces a method of the product, which itself contains none of this code.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any


def no_intent() -> None:
    """A page is posted without being recorded in the ledger first."""
    from bot.store.sqlite import SqliteStore

    async def intend(self: Any, fence: Any, page: int) -> None:
        del self, fence, page

    SqliteStore.record_intent = intend  # type: ignore[method-assign]


def acknowledge_first() -> None:
    """Slack gets its acknowledgement before the message is in the database."""
    from adapters.slack.listeners import Listeners

    on_message = Listeners._on_message

    async def at_leisure(self: Any, body: Any) -> None:
        async def later_environ() -> None:
            await asyncio.sleep(0.1)  # the acknowledgement has been sent by then
            await on_message(self, body)

        self._background.run(later_environ())

    Listeners._on_message = at_leisure  # type: ignore[method-assign]


def drop_final_edit() -> None:
    """The last edit of a reply, or the close of its stream, counts as done but is not sent."""
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
    """Pages of earlier attempts are never found."""
    from adapters.discord.surface import DiscordSurface
    from adapters.slack.surface import SlackSurface
    from bot.domain.replies import Shown

    async def recover(self: Any, pages: Any) -> Shown:
        del self, pages
        return Shown()

    DiscordSurface.recover = recover  # type: ignore[method-assign]
    SlackSurface.recover = recover  # type: ignore[method-assign]


def two_attempts() -> None:
    """Not a bug yet, but the case that the fence exists for: a running turn is claimed a second
    time.

    The second claim waits until the first page is in the ledger: a page whose post is still under
    way cannot be found, and only time can keep two attempts from both posting it. The first attempt
    ends when the second does, so both write as much as the store allows.
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

    async def twice(self: Any, claim: Any, interrupt: Any) -> None:
        if claim.fence.turn in first_page:
            return await run(self, claim, interrupt)
        first_page[claim.fence.turn] = asyncio.Event()
        second_ends[claim.fence.turn] = asyncio.Event()
        second = asyncio.create_task(_second(self, claim))
        try:
            return await run(self, claim, interrupt)
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
    """Two attempts at one turn, with the store accepting every write of both."""
    from bot.store import rows, spending
    from bot.store.sqlite import SqliteStore

    two_attempts()

    def anybody(db: sqlite3.Connection, fence: Any) -> Any:
        return db.execute(
            "SELECT platform, workspace FROM turns"
            " JOIN conversations ON conversations.id = turns.conversation_id WHERE turns.id = ?",
            (fence.turn,),
        ).fetchone()

    rows.require = anybody
    spending._require = lambda _db, _spender: None
    for name in ("conclude", "finish"):
        setattr(SqliteStore, name, _without_complaint(getattr(SqliteStore, name)))


def _without_complaint(method: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    from bot.domain.errors import LostOwnership

    async def quietly(*arguments: Any, **values: Any) -> None:
        with contextlib.suppress(LostOwnership):
            await method(*arguments, **values)

    return quietly


def poison() -> None:
    """A question with this word kills the process shortly after the model request."""
    from bot.turns.exchange import ModelExchange

    ask = ModelExchange._ask

    async def killing(self: Any, model: Any, request: Any, tokens: float) -> None:
        if any("poison" in question.text for question in self._questions.claim.asked):
            await asyncio.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
        await ask(self, model, request, tokens)

    ModelExchange._ask = killing  # type: ignore[method-assign]


def discord_breaks() -> None:
    """Discord's adapter fails with an unexpected error while a file named `break` exists."""
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


def leave_files() -> None:
    """Files are stored as pending, and nothing downloads them."""
    from bot.content.fetcher import AttachmentFetcher

    async def wait(self: Any, messages: Any, seconds: float) -> None:
        del self, messages, seconds

    AttachmentFetcher.wait = wait  # type: ignore[method-assign]
    AttachmentFetcher.wake = lambda self, platform: None  # type: ignore[method-assign]


def download_twice() -> None:
    """Every file is downloaded a second time."""
    from bot.content.fetcher import AttachmentFetcher

    once = AttachmentFetcher._download_once

    async def twice(self: Any, attachment: Any) -> Any:
        await once(self, attachment)
        return await once(self, attachment)

    AttachmentFetcher._download_once = twice  # type: ignore[method-assign]


def loop_hangs() -> None:
    """The event loop stops while a file named `hang` exists; `hanging` exists once it has."""
    from bot.privacy.retention import RetentionKeeper

    run = RetentionKeeper.run

    async def hang_when_asked() -> None:
        while True:
            if Path("hang").exists():  # noqa: ASYNC240 - a test's own file
                Path("hanging").touch()  # noqa: ASYNC240
                while Path("hang").exists():  # noqa: ASYNC240
                    time.sleep(0.02)  # noqa: ASYNC251 - it is to hang
            await asyncio.sleep(0.02)

    async def running(self: Any) -> None:
        hanging = asyncio.create_task(hang_when_asked())
        try:
            await run(self)
        finally:
            hanging.cancel()
            await asyncio.wait({hanging})

    RetentionKeeper.run = running  # type: ignore[method-assign]


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
        loop_hangs,
        leave_files,
        download_twice,
    )
}


def plant(name: str) -> None:
    """Plant the bug with this name."""
    BUGS[name]()
