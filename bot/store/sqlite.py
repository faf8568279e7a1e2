"""The Store port on one SQLite file: every transition durable when its await returns.

Invariant: one process has the file (an operating system's lock), one thread writes it, and a
transition is one transaction, so that cancelling whoever waits for it changes nothing half.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

from bot.domain.conversations import Author, Conversation, ConversationKey, Message
from bot.domain.errors import LostOwnership, StoreUnavailable
from bot.domain.health import Health
from bot.domain.inbox import Accepted, Asked, Change, Incoming, Watermark
from bot.domain.turns import Claim, Death, Fence, Suspect, TurnResult
from bot.ports.clock import Clock
from bot.store import conversations, edits, process, queries, retries, turns, watermarks
from bot.store.accept import accept
from bot.store.connection import open_readers, open_writer
from bot.store.conversations import recorded
from bot.store.health import Runner, Watch
from bot.store.integrity import check_at_start
from bot.store.library import Interrupt, SqliteLibrary
from bot.store.lock import exclusive
from bot.store.migrate import MIGRATIONS, migrate

_READERS = 2  # a slow read leaves the other free; more would only wait for the same cores


class SqliteStore:
    """See `bot.ports.store.Store`. Use `open`."""

    def __init__(self, *, writer: Runner, readers: Runner, clock: Clock, watch: Watch) -> None:
        self._writer, self._readers = writer, readers
        self._watch = watch
        self.death: Death | None = None  # how the process before died, if it did
        self._begun, self._beginning = False, asyncio.Lock()
        self._write = writer.run
        self._read = readers.run
        self._clock = clock

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock,
        migrations: Path = MIGRATIONS,
        busy_timeout: float = 5.0,
    ) -> AsyncIterator[Self]:
        """Lock the file, look for damage, bring its schema up to date, connect; at the end, let
        what was asked before come to its end, close and unlock.

        `migrations` is the directory of the schema's files; `busy_timeout` is how many seconds to
        wait for a lock of another program (a backup, a shell). Raises StoreError when another
        process has the database, MigrationError and StoreUnavailable.
        """
        with exclusive(path):
            await asyncio.to_thread(check_at_start, path)
            await asyncio.to_thread(migrate, path, migrations)
            async with (
                open_writer(path, busy_timeout=busy_timeout) as writing,
                open_readers(path, count=_READERS, busy_timeout=busy_timeout) as reading,
            ):
                watch = Watch(path, clock=clock)
                writer = watch.over(writing, writes=True)
                readers = watch.over(reading, writes=False)
                async with (
                    watch.trying(writer),
                    cls(writer=writer, readers=readers, clock=clock, watch=watch)._alive() as store,
                ):
                    yield store

    @asynccontextmanager
    async def _alive(self) -> AsyncIterator[Self]:
        """From the start to an end as it should be; a death between the two is found out."""
        with suppress(StoreUnavailable):  # a start and an end need no database that can be written
            await self._begin()
            now = self._clock.time()
            await self._write(partial(conversations.forget_old_commands, now=now))
        try:
            yield self
        finally:
            with suppress(StoreUnavailable):
                await self.leave()

    async def _begin(self) -> None:
        """Count the death of the process before, once: at the latest when a turn is claimed.

        A claim that came first would take what that process held for failures of the turns.
        """
        async with self._beginning:
            if not self._begun:
                self.death = await self._write(process.begin)
                self._begun = True

    def health(self) -> Health:
        """Whether the database works now."""
        return self._watch.health()

    def library(self, *, interrupt: Interrupt) -> SqliteLibrary:
        """The same database as records; `interrupt` ends a conversation's running turn."""
        return SqliteLibrary(
            writer=self._writer, readers=self._readers, clock=self._clock, interrupt=interrupt
        )

    # ── transitions ───────────────────────────────────────────────────────────────────────────
    async def accept(self, incoming: Incoming, backlog: Sequence[Incoming] = ()) -> Accepted:
        """See the port."""
        now = self._clock.time()
        return await self._write(
            partial(accept, incoming=incoming, backlog=tuple(backlog), now=now)
        )

    async def claim(self, conversation: int) -> Claim | None:
        """See the port."""
        await self._begin()
        now = self._clock.time()
        return await self._write(partial(turns.claim, conversation=conversation, now=now))

    async def hold(self, fence: Fence, *, held: bool = True) -> None:
        """See the port."""
        await self._write(partial(process.hold, fence=fence, held=held))

    async def leave(self) -> None:
        """See the port."""
        await self._write(process.leave)

    async def intend(self, fence: Fence, page: int) -> None:
        """See the port."""
        await self._write(partial(turns.intend, fence=fence, page=page))

    async def shown(self, fence: Fence, page: int, *, channel: str, message_id: str) -> None:
        """See the port."""
        recorded = partial(
            turns.shown,
            fence=fence,
            page=page,
            channel=channel,
            message_id=message_id,
            now=self._clock.time(),
        )
        if not await self._write(recorded):
            raise LostOwnership(f"page {page} of turn {fence.turn} was deleted by people")

    async def removed(self, fence: Fence, page: int) -> None:
        """See the port."""
        await self._write(partial(turns.removed, fence=fence, page=page))

    async def conclude(self, fence: Fence, conclusion: TurnResult) -> None:
        """See the port."""
        now = self._clock.time()
        await self._write(partial(turns.conclude, fence=fence, conclusion=conclusion, now=now))

    async def finish(self, fence: Fence) -> None:
        """See the port."""
        await self._write(partial(turns.finish, fence=fence, now=self._clock.time()))

    async def reset(self, key: ConversationKey, *, source: str = "") -> Conversation | None:
        """See the port."""
        now = self._clock.time()
        change = partial(conversations.reset, key=key, now=now)
        return await self._write(recorded(change, source=source, now=now))

    async def undo_reset(
        self, key: ConversationKey, epoch: int | None, *, source: str = ""
    ) -> Conversation | None:
        """See the port."""
        now = self._clock.time()
        change = partial(conversations.undo_reset, key=key, epoch=epoch, now=now)
        return await self._write(recorded(change, source=source, now=now))

    async def stop(self, key: ConversationKey, turn: int | None, *, source: str = "") -> Change:
        """See the port."""
        change = partial(turns.stop, key=key, turn=turn)
        return await self._write(recorded(change, source=source, now=self._clock.time()))

    async def reopen(self, key: ConversationKey, turn: int | None, *, source: str = "") -> Change:
        """See the port."""
        change = partial(retries.reopen, key=key, turn=turn)
        return await self._write(recorded(change, source=source, now=self._clock.time()))

    async def go_on(
        self,
        key: ConversationKey,
        turn: int | None,
        author: Author,
        text: str,
        *,
        source: str = "",
    ) -> Change:
        """See the port."""
        now = self._clock.time()
        change = partial(retries.go_on, key=key, turn=turn, author=author, text=text, now=now)
        return await self._write(recorded(change, source=source, now=now))

    async def edit(self, source: str, text: str, edited_at: float) -> Change:
        """See the port."""
        return await self._write(partial(edits.edit, source=source, text=text, edited_at=edited_at))

    async def erase(self, source: str, *, with_reply: bool) -> Change:
        """See the port."""
        now = self._clock.time()
        return await self._write(
            partial(edits.erase, source=source, with_reply=with_reply, now=now)
        )

    async def choose_model(
        self, key: ConversationKey, model: str | None, *, source: str = ""
    ) -> Conversation | None:
        """See the port."""
        now = self._clock.time()
        change = partial(conversations.choose_model, key=key, model=model, now=now)
        return await self._write(recorded(change, source=source, now=now))

    async def record_command(self, source: str) -> None:
        """See the port."""
        now = self._clock.time()
        await self._write(partial(conversations.record_command, source=source, now=now))

    async def move_watermarks(self, marks: Sequence[Watermark]) -> None:
        """See the port."""
        await self._write(partial(watermarks.move, marks=tuple(marks)))

    # ── reads ─────────────────────────────────────────────────────────────────────────────────
    async def unfinished(self, platform: str) -> Sequence[int]:
        """See the port."""
        return await self._read(partial(queries.unfinished, platform=platform))

    async def history(
        self, conversation: int, *, epoch: int, before: int, limit: int
    ) -> Sequence[Message]:
        """See the port."""
        return await self._read(
            partial(
                queries.history, conversation=conversation, epoch=epoch, before=before, limit=limit
            )
        )

    async def suspects(self) -> Sequence[Suspect]:
        """See the port."""
        return await self._read(process.suspects)

    async def find(self, key: ConversationKey) -> Conversation | None:
        """See the port."""
        return await self._read(partial(queries.find, key=key))

    async def conversation_of(self, source: str) -> Conversation | None:
        """See the port."""
        return await self._read(partial(queries.conversation_of, source=source))

    async def recent(
        self, place: ConversationKey, author: str, limit: int
    ) -> Sequence[Conversation]:
        """See the port."""
        return await self._read(partial(queries.recent, place=place, author=author, limit=limit))

    async def watermarks(self, platform: str) -> Sequence[Watermark]:
        """See the port."""
        return await self._read(partial(watermarks.read, platform=platform))

    async def active(self, platform: str, limit: int) -> Sequence[Conversation]:
        """See the port."""
        return await self._read(partial(watermarks.active, platform=platform, limit=limit))

    async def last_questions(self, platform: str, *, since: float, limit: int) -> Sequence[Asked]:
        """See the port."""
        return await self._read(
            partial(watermarks.last_questions, platform=platform, since=since, limit=limit)
        )

    async def said_since(self, key: ConversationKey, position: int) -> bool:
        """See the port."""
        return await self._read(partial(watermarks.said_since, key=key, position=position))
