"""The Library port on the store's connections.

Invariant: every change is a single transaction of the store's writer.
"""

from __future__ import annotations

from bot.domain.conversations import Author, Effort, Role
from bot.domain.errors import StoreUnavailable
from bot.domain.records import (
    UNCHANGED,
    ConversationRecord,
    MessageRecord,
    NewConversation,
    RecordScope,
    Unchanged,
)
from bot.store import (
    attachment_contents,
    channel_reads,
    locks,
    message_views,
    record_edits,
    thread_list,
    versions,
    views,
)
from bot.store.operations import reads, writes, writes_at
from bot.store.staging import FileOperations, reads_files

TRIES = 3
"""Attempts to create a record if it is deleted again immediately, such as by a person's erasure."""


class SqlLibrary(FileOperations):
    """Implements `bot.ports.library.Library`."""

    find = reads(views.find)
    public = reads(views.public)
    conversations = reads(views.conversations)
    public_conversations = reads(views.public_conversations)
    threads = reads(views.threads)
    thread = reads(views.thread)
    entries = reads(thread_list.entries)
    hidden = reads(thread_list.hidden)
    messages = reads(message_views.messages)
    latest = reads(message_views.latest)
    find_message = reads(message_views.find_message)
    message = reads(message_views.record_of)
    attachment = reads_files(attachment_contents.in_scope)
    public_attachment = reads_files(attachment_contents.public)
    versions = reads(versions.of_conversation)
    versions_of = reads(message_views.versions_of)
    replies = reads(message_views.replies)
    reply = reads(message_views.reply)

    # Changes that return the new record. It is read after the commit, when another process may have
    # deleted it again.
    async def create(self, new: NewConversation) -> ConversationRecord:
        for _ in range(TRIES):
            if (created := await self._by_key(await self._create(new))) is not None:
                return created
        raise StoreUnavailable("The conversation was deleted while it was created.")

    async def update(
        self,
        uid: str,
        scope: RecordScope,
        *,
        name: str | Unchanged = UNCHANGED,
        model: str | Unchanged | None = UNCHANGED,
        effort: Effort | Unchanged | None = UNCHANGED,
        instructions: str | Unchanged = UNCHANGED,
        temperature: float | Unchanged | None = UNCHANGED,
        pinned: bool | Unchanged = UNCHANGED,
        archived: bool | Unchanged = UNCHANGED,
    ) -> ConversationRecord | None:
        await self._update(
            uid, scope, name, model, effort, instructions, temperature, pinned, archived
        )
        return await self.find(uid, scope)

    async def add(
        self, conversation: int, role: Role, content: str, author: Author | None
    ) -> MessageRecord | None:
        return await self._message(await self._add(conversation, role, content, author))

    async def change(
        self, conversation: int, uid: str, *, role: Role | None, content: str | None
    ) -> MessageRecord | None:
        return await self._message(await self._change(conversation, uid, role, content))

    mark_channel_read = writes(channel_reads.mark_channel_read, lock=locks.nothing)
    channel_reads = reads(channel_reads.channel_reads)
    mark_read = writes(thread_list.mark_read, lock=locks.by_uid)
    hide = writes_at(thread_list.hide, lock=locks.by_uid)
    hold = writes_at(thread_list.hold, lock=locks.by_uid)
    unhide = writes(thread_list.unhide, lock=locks.by_uid)

    # Deletions, after which the bytes of files are overwritten.
    async def delete(self, uid: str, scope: RecordScope) -> int | None:
        deleted = await self._delete(uid, scope)
        self._purger.wake()
        return deleted

    async def erase_hidden(self, uid: str, *, before: float) -> bool:
        erased = await self._erase_hidden(uid, before=before)
        self._purger.wake()
        return erased

    async def erase(self, conversation: int, uid: str) -> bool:
        erased = await self._erase(conversation, uid)
        self._purger.wake()
        return erased

    async def _message(self, number: int | None) -> MessageRecord | None:
        return None if number is None else await self._by_number(number)

    _create = writes_at(record_edits.create, lock=locks.by_new)
    _update = writes_at(record_edits.update, lock=locks.by_uid)
    _add = writes_at(record_edits.add, lock=locks.by_id)
    _change = writes_at(record_edits.change, lock=locks.by_id)
    _delete = writes(record_edits.delete, lock=locks.by_uid)
    _erase_hidden = writes(thread_list.erase_hidden, lock=locks.by_uid)
    _erase = writes_at(record_edits.erase, lock=locks.by_id)
    _by_key = reads(views.by_key)
    _by_number = reads(message_views.message)
