"""The Store port on a database: a transition is durable when its await returns.

`bot.store.sqlite` and `bot.store.postgres.store` open it.

Invariant: a transition is one transaction, so cancelling its caller never leaves it half done.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import chain
from typing import TypedDict

from bot.domain.attachments import IncomingAttachment
from bot.domain.errors import LostOwnership, StoreUnavailable
from bot.domain.health import Health
from bot.domain.inbox import Accepted, Change, Gap, Incoming, Receipt
from bot.domain.operation import StoreLoad
from bot.domain.turns import Claim, Death, Fence
from bot.ports.clock import Clock
from bot.store import (
    access,
    branches,
    commands,
    conversations,
    edits,
    fairness,
    files,
    locks,
    messages,
    overview,
    process,
    queries,
    retries,
    turns,
    workload,
)
from bot.store import gaps as process_gaps
from bot.store import leftovers as platform_leftovers
from bot.store import watermarks as channel_watermarks
from bot.store.attachments import SqlAttachments
from bot.store.audit import SqlAudit
from bot.store.budget_sums import forget_old_sums
from bot.store.connected import Connected
from bot.store.contexts import SqlContexts
from bot.store.database import Database
from bot.store.feedback import SqlFeedback
from bot.store.health import Runner
from bot.store.installations import SqlInstallations
from bot.store.library import SqlLibrary
from bot.store.operations import reads, writes, writes_at
from bot.store.policy import SqlPolicy
from bot.store.privacy import SqlPrivacy
from bot.store.purge import Purger
from bot.store.search import SqlSearch
from bot.store.search_indexer import SearchIndexer
from bot.store.sessions import SqlSessions, forget_expired
from bot.store.sharing import SqlDefaultModels, SqlShares
from bot.store.spending import SqlSpending
from bot.store.staging import FileOperations, data_of, with_digests

_READERS = 2  # a slow query leaves the other free; more would only compete for the same cores


class _Shared(TypedDict):
    """What all operations on one database share."""

    writer: Runner
    readers: Runner
    file_reader: Runner
    clock: Clock
    purger: Purger


def _forget_old_state(db: Database, now: float, *, alone: bool) -> None:
    """Delete old sums of budgets, and files that dead processes had begun to write. If this process
    is `alone`, all begun files are deleted."""
    files.unstage_all(db, before=None if alone else now - files.STAGED_SECONDS)
    forget_old_sums(db, now)


def _forget_old_records(db: Database, now: float) -> None:
    """Delete old records of commands and sessions. These tables may be large. Only another start
    runs a concurrent transaction that changes several of their rows."""
    commands.forget_old_commands(db, now)
    forget_expired(db, now)


class SqlStore(FileOperations):
    """Implements `bot.ports.store.Store`. Open it with `bot.store.open_store`."""

    def __init__(
        self,
        connected: Connected,
        *,
        privacy: SqlPrivacy,
        size: Callable[[Database], int],
        process: str | None = None,
    ) -> None:
        writer, readers, clock = connected.writer, connected.readers, connected.clock
        shared = _Shared(
            writer=writer,
            readers=readers,
            file_reader=connected.file_reader,
            clock=clock,
            purger=connected.purger,
        )
        super().__init__(**shared)
        self._shared, self._monitor, self._size = shared, connected.monitor, size
        self._attachments = SqlAttachments(**shared)
        self._contexts = SqlContexts(writer=writer, readers=readers, clock=clock)
        self._audit = SqlAudit(writer=writer, readers=readers, clock=clock)
        self._privacy = privacy
        self._spending = SqlSpending(writer=writer, readers=readers, clock=clock)
        self._policies = SqlPolicy(writer=writer, readers=readers, clock=clock)
        self._indexer = connected.indexer
        self._search = SqlSearch(readers=readers, index=connected.indexer.index)
        self._feedback = SqlFeedback(writer=writer, readers=readers, clock=clock)
        self._sessions = SqlSessions(writer=writer, readers=readers, clock=clock)
        self._defaults = SqlDefaultModels(writer=writer, readers=readers, clock=clock)
        self._installations = SqlInstallations(writer=writer, readers=readers, clock=clock)
        self.process = self._spending.process = self._attachments.process = process
        self.death: Death | None = None  # of the previous process, if it died
        self._begun, self._beginning = False, asyncio.Lock()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        """Record the start and the normal end of the process, so that a start detects a death."""
        with suppress(StoreUnavailable):  # a read-only or failing database stops neither
            await self._begin()
            await self._forget_old_state(alone=self.process is None)
            await self._forget_old_records()
        try:
            async with self._purger.running(), self._indexer.running():
                yield
        finally:
            with suppress(StoreUnavailable):
                await self.record_shutdown()

    async def _begin(self) -> None:
        """Record the start once, at the latest before the first claim.

        A claim before that would count turns that a dead process held as failed attempts. If other
        processes are alive, the reaper counts deaths.
        """
        async with self._beginning:
            if not self._begun and self.process is None:
                self.death = await self._write(process.record_start)
                self._begun = True

    def health(self) -> Health:
        """Whether the database currently works."""
        return self._monitor.health()

    async def gaps(self, reader: str) -> Sequence[Gap]:
        """See the port. A single process on SQLite has none."""
        return () if self.process is None else await self._gaps(reader)

    async def load(self) -> StoreLoad:
        """The workload, and the size of the database. Raises StoreUnavailable."""
        turns, leftovers = await self._workload()
        return StoreLoad(turns, await self._read(self._size), leftovers)

    def library(self) -> SqlLibrary:
        """The same database as records."""
        return SqlLibrary(**self._shared)

    def attachments(self) -> SqlAttachments:
        """The files and links of the messages. Always the same object."""
        return self._attachments

    def contexts(self) -> SqlContexts:
        """The windows and summaries of the conversations. Always the same object."""
        return self._contexts

    def audit(self) -> SqlAudit:
        """The log of who changed, read, exported or erased what."""
        return self._audit

    def privacy(self) -> SqlPrivacy:
        """Erasures, exports and retention."""
        return self._privacy

    def spending(self) -> SqlSpending:
        """The books of what models cost. Always the same object."""
        return self._spending

    def policies(self) -> SqlPolicy:
        """The values that administrators set by command. Always the same object."""
        return self._policies

    def installations(self) -> SqlInstallations:
        """The workspaces that have installed the app. Always the same object."""
        return self._installations

    def sessions(self) -> SqlSessions:
        """The signed-in browsers. Always the same object."""
        return self._sessions

    def search(self) -> SqlSearch:
        """The search in conversations. Always the same object."""
        return self._search

    @property
    def search_indexer(self) -> SearchIndexer:
        """The task that keeps the search index up to date."""
        return self._indexer

    def feedback(self) -> SqlFeedback:
        """Votes on replies. Always the same object."""
        return self._feedback

    def shares(self) -> SqlShares:
        """Read-only links to conversations."""
        return SqlShares(**self._shared)

    def default_models(self) -> SqlDefaultModels:
        """People's default models."""
        return self._defaults

    # ── transitions ───────────────────────────────────────────────────────────────────────────
    hold = writes(process.hold, lock=locks.by_fence)
    record_intent = writes(turns.record_intent, lock=locks.by_fence)
    record_removal = writes(turns.record_removal, lock=locks.by_fence)
    conclude = writes_at(turns.conclude, lock=locks.by_fence)
    finish = writes_at(turns.finish, lock=locks.by_fence)
    record_command = writes_at(commands.record_command, lock=locks.by_command)
    reset = writes_at(conversations.reset, lock=locks.by_key)
    undo_reset = writes_at(conversations.undo_reset, lock=locks.by_key)
    choose_model = writes_at(conversations.choose_model, lock=locks.by_key)
    choose_effort = writes_at(conversations.choose_effort, lock=locks.by_key)
    stop = writes_at(turns.stop, lock=locks.by_key)
    reopen = writes_at(retries.reopen, lock=locks.by_key)
    answer_again = writes_at(branches.answer_again, lock=locks.by_key)
    show_version = writes_at(branches.show_version, lock=locks.by_key)
    continue_reply = writes_at(retries.continue_reply, lock=locks.by_key)
    move_watermarks = writes(channel_watermarks.move, lock=locks.by_watermarks)
    keep_out = writes_at(edits.keep_out, lock=locks.by_source)
    finish_gaps = writes(process_gaps.finish, lock=locks.nothing)
    record_thread_read = writes(process_gaps.record_thread_read, lock=locks.nothing)
    add_leftover = writes_at(platform_leftovers.add, lock=locks.nothing)
    remove_leftover = writes(platform_leftovers.remove, lock=locks.nothing)
    withhold = writes(access.withhold, lock=locks.by_fence)
    refusal_due = writes_at(access.refusal_due, lock=locks.nothing)

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
        return await self._claim(conversation, self.process)

    async def record_shutdown(self) -> None:
        await self._record_shutdown(self.process)

    async def list_unfinished(self, platform: str) -> Sequence[int]:
        return await self._list_unfinished(platform, self.process)

    async def record_shown(self, fence: Fence, page: int, *, channel: str, message_id: str) -> None:
        if not await self._record_shown(fence, page, channel, message_id):
            raise LostOwnership(f"people deleted page {page} of turn {fence.turn}")

    _accept = writes_at(messages.accept, lock=locks.by_incoming)
    _edit = writes_at(edits.edit, lock=locks.by_source)
    _erase = writes_at(edits.erase, lock=locks.by_source)
    _claim = writes_at(turns.claim, lock=locks.by_id)
    _record_shown = writes_at(turns.record_shown, lock=locks.by_page)
    _record_shutdown = writes(process.record_shutdown)
    _forget_old_state = writes_at(_forget_old_state)
    _forget_old_records = writes_at(_forget_old_records, lock=locks.nothing)

    # ── queries ───────────────────────────────────────────────────────────────────────────────
    _list_unfinished = reads(queries.list_unfinished)
    is_busy = reads(queries.is_busy)
    _workload = reads(workload.read)
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
    _gaps = reads(process_gaps.read)
    thread_reads = reads(process_gaps.thread_reads)
    count_known_replies = reads(process_gaps.count_known_replies)
    leftovers = reads(platform_leftovers.read)
    leftovers_of = reads(platform_leftovers.of_conversation)
    active = reads(channel_watermarks.active)
    last_questions = reads(channel_watermarks.last_questions)
    has_message_after = reads(channel_watermarks.has_message_after)
    has_message_before = reads(channel_watermarks.has_message_before)
