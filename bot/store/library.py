"""The Library port on the store's own connections.

Invariant: what it changes are single transactions of the store's writer; a deleted conversation's
turn is interrupted only after it is deleted, so that no turn can begin in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from bot.domain.conversations import Author, Role
from bot.domain.records import (
    UNCHANGED,
    ConversationRecord,
    MessageRecord,
    NewConversation,
    RecordScope,
    ReplyRecord,
    ThreadRecord,
    Unchanged,
)
from bot.domain.turns import Outcome
from bot.ports.clock import Clock
from bot.store import record_edits, views
from bot.store.health import Runner

Interrupt = Callable[[int, Outcome], bool]


class SqliteLibrary:
    """See `bot.ports.library.Library`. `interrupt` ends the running turn of a conversation."""

    def __init__(
        self, *, writer: Runner, readers: Runner, clock: Clock, interrupt: Interrupt
    ) -> None:
        self._write, self._read = writer.run, readers.run
        self._clock, self._interrupt = clock, interrupt

    # ── reading ───────────────────────────────────────────────────────────────────────────────
    async def find(self, uid: str, place: RecordScope) -> ConversationRecord | None:
        """See the port."""
        return await self._read(partial(views.find, uid=uid, place=place))

    async def public(self, uid: str) -> ConversationRecord | None:
        """See the port."""
        return await self._read(partial(views.public, uid=uid))

    async def conversations(
        self, place: RecordScope, *, before: str | None, limit: int
    ) -> Sequence[ConversationRecord]:
        """See the port."""
        read = partial(views.conversations, place=place, before=before, limit=limit)
        return await self._read(read)

    async def public_conversations(
        self, platform: str, *, before: str | None, limit: int
    ) -> Sequence[ConversationRecord]:
        """See the port."""
        return await self._read(
            partial(views.public_conversations, platform=platform, before=before, limit=limit)
        )

    async def threads(
        self, place: RecordScope, *, before: str | None, limit: int
    ) -> Sequence[ThreadRecord]:
        """See the port."""
        return await self._read(partial(views.threads, place=place, before=before, limit=limit))

    async def thread(self, uid: str, place: RecordScope) -> ThreadRecord | None:
        """See the port."""
        return await self._read(partial(views.thread, uid=uid, place=place))

    async def messages(
        self, conversation: int, *, after: int, limit: int
    ) -> Sequence[MessageRecord]:
        """See the port."""
        read = partial(views.messages, conversation=conversation, after=after, limit=limit)
        return await self._read(read)

    async def latest(self, conversation: int, *, limit: int) -> Sequence[MessageRecord]:
        """See the port."""
        return await self._read(partial(views.latest, conversation=conversation, limit=limit))

    async def asked(self, source: str) -> MessageRecord | None:
        """See the port."""
        return await self._read(partial(views.asked, source=source))

    async def replies(self, conversation: int, *, limit: int) -> Sequence[ReplyRecord]:
        """See the port."""
        return await self._read(partial(views.replies, conversation=conversation, limit=limit))

    async def reply(self, turn: int) -> ReplyRecord | None:
        """See the port."""
        return await self._read(partial(views.reply, turn=turn))

    # ── writing ───────────────────────────────────────────────────────────────────────────────
    async def create(self, new: NewConversation) -> ConversationRecord:
        """See the port."""
        key = await self._write(partial(record_edits.create, new=new, now=self._clock.time()))
        return await self._read(partial(views.by_key, key=key))

    async def update(
        self,
        uid: str,
        place: RecordScope,
        *,
        name: str | Unchanged = UNCHANGED,
        model: str | Unchanged | None = UNCHANGED,
    ) -> ConversationRecord | None:
        """See the port."""
        now = self._clock.time()
        await self._write(
            partial(record_edits.update, uid=uid, place=place, name=name, model=model, now=now)
        )
        return await self.find(uid, place)

    async def delete(self, uid: str, place: RecordScope) -> int | None:
        """See the port."""
        conversation = await self._write(partial(record_edits.delete, uid=uid, place=place))
        if conversation is not None:
            self._interrupt(conversation, Outcome.GONE)
        return conversation

    async def add(
        self, conversation: int, role: Role, content: str, author: Author | None
    ) -> MessageRecord | None:
        """See the port."""
        now = self._clock.time()
        return await self._message(
            partial(
                record_edits.add,
                conversation=conversation,
                role=role,
                content=content,
                author=author,
                now=now,
            )
        )

    async def change(
        self, conversation: int, uid: str, *, role: Role | None, content: str | None
    ) -> MessageRecord | None:
        """See the port."""
        now = self._clock.time()
        return await self._message(
            partial(
                record_edits.change,
                conversation=conversation,
                uid=uid,
                role=role,
                content=content,
                now=now,
            )
        )

    async def erase(self, conversation: int, uid: str) -> bool:
        """See the port."""
        now = self._clock.time()
        return await self._write(
            partial(record_edits.erase, conversation=conversation, uid=uid, now=now)
        )

    async def _message(self, transition: partial[int | None]) -> MessageRecord | None:
        number = await self._write(transition)
        if number is None:
            return None
        return await self._read(partial(views.message, number=number))
