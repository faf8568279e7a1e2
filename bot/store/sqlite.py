"""The Store port on one SQLite file: a transition is durable when its await returns.

Invariants: one process has the file open (by a file lock), and one thread writes to it. A
transition is one transaction: cancelling its caller never leaves half of it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Self, TypedDict

from bot.domain.attachments import IncomingAttachment
from bot.domain.errors import LostOwnership, StoreUnavailable
from bot.domain.health import Health
from bot.domain.inbox import Accepted, Change, Incoming, Receipt
from bot.domain.operation import StoreLoad
from bot.domain.turns import Claim, Death, Fence
from bot.ports.clock import Clock
from bot.ports.metrics import NO_OBSERVER, Observer
from bot.store import (
    access,
    commands,
    conversations,
    edits,
    fairness,
    files,
    messages,
    overview,
    process,
    queries,
    retries,
    turns,
    workload,
)
from bot.store import watermarks as channel_watermarks
from bot.store.attachments import SqliteAttachments
from bot.store.audit import SqliteAudit
from bot.store.budget_sums import forget_old_sums
from bot.store.connection import open_readers, open_writer
from bot.store.contexts import SqliteContexts
from bot.store.erasure_list import ErasureList, apply_missing
from bot.store.feedback import SqliteFeedback
from bot.store.health import HealthMonitor, Runner
from bot.store.installations import SqliteInstallations
from bot.store.integrity import check_at_start
from bot.store.library import SqliteLibrary
from bot.store.lock import exclusive_lock
from bot.store.migrate import MIGRATIONS, migrate
from bot.store.operations import reads, writes, writes_at
from bot.store.policy import SqlitePolicy
from bot.store.privacy import SqlitePrivacy
from bot.store.purge import Purger
from bot.store.spending import SqliteSpending
from bot.store.staging import FileOperations, data_of, with_digests

_READERS = 2  # a slow query leaves the other free; more would only compete for the same cores


class _Shared(TypedDict):
    """What all operations on one database share."""

    writer: Runner
    readers: Runner
    file_reader: Runner
    clock: Clock
    purger: Purger


def _forget_old_state(db: sqlite3.Connection, now: float) -> None:
    """Delete old records of commands and of budgets, and files that a dead process had begun to
    write."""
    commands.forget_old_commands(db, now)
    files.unstage_all(db)
    forget_old_sums(db, now)


class SqliteStore(FileOperations):
    """Implements `bot.ports.store.Store`. Create it with `open`."""

    def __init__(
        self,
        *,
        writer: Runner,
        readers: Runner,
        file_reader: Runner,
        clock: Clock,
        monitor: HealthMonitor,
        path: Path,
    ) -> None:
        shared = _Shared(
            writer=writer,
            readers=readers,
            file_reader=file_reader,
            clock=clock,
            purger=Purger(writer=writer, readers=readers),
        )
        super().__init__(**shared)
        self._shared, self._monitor, self._path = shared, monitor, path
        self._attachments = SqliteAttachments(**shared)
        self._contexts = SqliteContexts(writer=writer, readers=readers, clock=clock)
        self._audit = SqliteAudit(writer=writer, readers=readers, clock=clock)
        self._privacy = SqlitePrivacy(
            path=path, writer=writer, readers=readers, clock=clock, purger=shared["purger"]
        )
        self._spending = SqliteSpending(writer=writer, readers=readers, clock=clock)
        self._policies = SqlitePolicy(writer=writer, readers=readers, clock=clock)
        self._feedback = SqliteFeedback(writer=writer, readers=readers, clock=clock)
        self._installations = SqliteInstallations(writer=writer, readers=readers, clock=clock)
        self.death: Death | None = None  # of the previous process, if it died
        self._begun, self._beginning = False, asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock,
        migrations: Path = MIGRATIONS,
        busy_timeout: float = 5.0,
        observer: Observer = NO_OBSERVER,
    ) -> AsyncIterator[Self]:
        """Lock the file, check it for damage, migrate it and connect to it.

        On exit, waits for the operations that have started, disconnects and unlocks.

        `migrations` is the directory of the SQL files. `busy_timeout` is how many seconds to wait
        for another program's lock (a backup, a shell). `observer` hears of each call. Raises InUse
        if another process has the database, MigrationError, StoreUnavailable, or StoreError if the
        list of erasures cannot be read.
        """
        with exclusive_lock(path):
            await asyncio.to_thread(check_at_start, path)
            await asyncio.to_thread(migrate, path, migrations)
            await asyncio.to_thread(apply_missing, path, ErasureList(path), clock.time())
            async with (
                open_writer(path, busy_timeout=busy_timeout) as writing,
                open_readers(path, count=_READERS, busy_timeout=busy_timeout) as reading,
                open_readers(path, count=1, busy_timeout=busy_timeout) as reading_files,
            ):
                monitor = HealthMonitor(path, clock=clock, observer=observer)
                writer = monitor.wrap(writing, writes=True)
                store = cls(
                    writer=writer,
                    readers=monitor.wrap(reading, writes=False),
                    file_reader=monitor.wrap(reading_files, writes=False),
                    clock=clock,
                    monitor=monitor,
                    path=path,
                )
                async with monitor.probing(writer), store._running():
                    yield store

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        """Record the start and the normal end of the process, so that a start detects a death."""
        with suppress(StoreUnavailable):  # a read-only or failing database stops neither
            await self._begin()
            await self._forget_old_state()
        try:
            async with self._purger.running():
                yield
        finally:
            with suppress(StoreUnavailable):
                await self.record_shutdown()

    async def _begin(self) -> None:
        """Record the start once; at the latest before the first claim.

        A claim before that would count turns that a dead process held as failed attempts.
        """
        async with self._beginning:
            if not self._begun:
                self.death = await self._write(process.record_start)
                self._begun = True

    def health(self) -> Health:
        """Whether the database works now."""
        return self._monitor.health()

    async def load(self) -> StoreLoad:
        """How much there is to do, and the size of the database. Raises StoreUnavailable."""
        return StoreLoad(await self._unfinished(), workload.size_of(self._path))

    def library(self) -> SqliteLibrary:
        """The same database as records."""
        return SqliteLibrary(**self._shared)

    def attachments(self) -> SqliteAttachments:
        """The files and links of the messages. Always the same object."""
        return self._attachments

    def contexts(self) -> SqliteContexts:
        """The windows and summaries of the conversations. Always the same object."""
        return self._contexts

    def audit(self) -> SqliteAudit:
        """Who changed, read, exported or erased what."""
        return self._audit

    def privacy(self) -> SqlitePrivacy:
        """Erasures, exports and retention."""
        return self._privacy

    def spending(self) -> SqliteSpending:
        """The books of what models cost. Always the same object."""
        return self._spending

    def policies(self) -> SqlitePolicy:
        """What administrators set by command. Always the same object."""
        return self._policies

    def feedback(self) -> SqliteFeedback:
        """Votes on replies. Always the same object."""
        return self._feedback

    def installations(self) -> SqliteInstallations:
        """The workspaces that have installed the app. Always the same object."""
        return self._installations

    # ── transitions ───────────────────────────────────────────────────────────────────────────
    hold = writes(process.hold)
    record_shutdown = writes(process.record_shutdown)
    record_intent = writes(turns.record_intent)
    record_removal = writes(turns.record_removal)
    conclude = writes_at(turns.conclude)
    finish = writes_at(turns.finish)
    record_command = writes_at(commands.record_command)
    reset = writes_at(conversations.reset)
    undo_reset = writes_at(conversations.undo_reset)
    choose_model = writes_at(conversations.choose_model)
    choose_effort = writes_at(conversations.choose_effort)
    stop = writes_at(turns.stop)
    reopen = writes_at(retries.reopen)
    continue_reply = writes_at(retries.continue_reply)
    move_watermarks = writes(channel_watermarks.move)
    withhold = writes(access.withhold)
    refusal_due = writes_at(access.refusal_due)

    async def accept(
        self, incoming: Incoming, backlog: Sequence[Incoming] = (), *, withheld: bool = False
    ) -> Accepted:
        if self._privacy.was_erased(incoming):
            return Accepted(Receipt.KNOWN)
        backlog = [each for each in backlog if not self._privacy.was_erased(each)]
        everyone = [
            replace(each, attachments=await with_digests(each.attachments))
            if each.attachments
            else each
            for each in (incoming, *backlog)
        ]
        brought = chain.from_iterable(each.attachments for each in everyone)
        async with self._staging(data_of(brought)):
            return await self._accept(everyone[0], everyone[1:], withheld=withheld)

    async def edit(
        self,
        source: str,
        text: str,
        edited_at: float,
        attachments: Sequence[IncomingAttachment] | None = None,
        *,
        withheld: bool = False,
    ) -> Change:
        known = None if attachments is None else await with_digests(attachments)
        async with self._staging(data_of(known or ())):
            change = await self._edit(source, text, edited_at, known, withheld=withheld)
        self._purger.wake()
        return change

    async def erase(self, source: str, *, with_reply: bool) -> Change:
        change = await self._erase(source, with_reply=with_reply)
        self._purger.wake()
        return change

    async def claim(self, conversation: int) -> Claim | None:
        await self._begin()
        return await self._claim(conversation)

    async def record_shown(self, fence: Fence, page: int, *, channel: str, message_id: str) -> None:
        if not await self._record_shown(fence, page, channel, message_id):
            raise LostOwnership(f"people deleted page {page} of turn {fence.turn}")

    _accept = writes_at(messages.accept)
    _edit = writes_at(edits.edit)
    _erase = writes_at(edits.erase)
    _claim = writes_at(turns.claim)
    _record_shown = writes_at(turns.record_shown)
    _forget_old_state = writes_at(_forget_old_state)

    # ── queries ───────────────────────────────────────────────────────────────────────────────
    list_unfinished = reads(queries.list_unfinished)
    _unfinished = reads(workload.unfinished)
    list_unfinished_turns = reads(overview.list_unfinished_turns)
    budget_statuses = reads(overview.budget_statuses)
    suspects = reads(process.suspects)
    recent_questions = reads(fairness.recent_questions)
    has_several_workspaces = reads(fairness.has_several_workspaces)
    history = reads(queries.history)
    history_from = reads(queries.history_from)
    find = reads(queries.find)
    conversation_of = reads(queries.conversation_of)
    recent = reads(queries.recent)
    took_part = reads(access.took_part)
    author_of = reads(access.author_of)
    askers = reads(access.askers)
    watermarks = reads(channel_watermarks.read)
    active = reads(channel_watermarks.active)
    last_questions = reads(channel_watermarks.last_questions)
    has_message_after = reads(channel_watermarks.has_message_after)
