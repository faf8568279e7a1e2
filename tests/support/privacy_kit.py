"""A database with two people in many conversations, and a search of its raw bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from bot.domain.attachments import AttachmentKind, Extract, IncomingAttachment
from bot.domain.context import Summary
from bot.domain.conversations import Author, ConversationKey
from bot.domain.inbox import Address
from bot.domain.policy import OverrideName
from bot.domain.privacy import AuditEntry
from bot.domain.turns import Outcome, TurnResult
from bot.store.store import SqlStore
from tests.support.store_kit import Place, claim_next, look, said

EVE = Author("UEVE7714", "Evelyn Quist")
BOB = Author("UBOB3302", "Bob")


def key(channel: str, thread: str, workspace: str = "w1") -> ConversationKey:
    return ConversationKey("sim", workspace, channel, thread)


def marked(author: Author, number: int) -> str:
    """A text that can be found in a file."""
    return f"{author.name.split()[0].lower()}mark{number:05} is number {number} of them"


class Filler:
    """Fills a store. Each text carries its author's mark, such as `evelynmark00001`."""

    def __init__(self, store: SqlStore, seed: int = 0) -> None:
        self.store, self.random, self.number = store, random.Random(seed), 0

    async def ask(
        self,
        where: ConversationKey,
        author: Author,
        answer: str = "",
        *,
        text: str = "",
        file: bytes = b"",
    ) -> int:
        """A question and its answer; returns the conversation."""
        self.number += 1
        text = text or marked(author, self.number)
        attachments = [IncomingAttachment(name=f"{text[:14]}.txt", data=file)] if file else ()
        address = Address.DIRECT if where.channel.startswith("d") else Address.MENTION
        accepted = await self.store.accept(
            said(self.number, text, where=where, author=author, address=address,
                 attachments=attachments)
        )  # fmt: skip
        assert accepted.conversation is not None
        if file:
            await self._extract(file)
        await self.answer(accepted.conversation, answer or f"answer to {text}")
        return accepted.conversation

    async def _extract(self, file: bytes) -> None:
        store = self.store.attachments()
        for pending in await store.pending("sim", 10):
            assert pending.digest is not None
            extract = Extract(kind=AttachmentKind.TEXT, media_type="text/plain", text=file.decode())
            await store.save_extract(pending.digest, extract)

    async def answer(self, conversation: int, text: str) -> None:
        claim = await claim_next(self.store, conversation)
        result = TurnResult(
            outcome=Outcome.ANSWERED, content=text, display=f"{text}\n\n*note*", model="echo"
        )
        await self.store.conclude(claim.fence, result)
        await self.store.finish(claim.fence)

    async def fill(self, conversations: int = 40) -> None:
        """Conversations of Eve, of Bob, and of both."""
        for number in range(conversations):
            channel, thread = f"c{number % 5}", f"t{number}"
            people = [(EVE,), (BOB,), (EVE, BOB), (BOB, EVE, BOB)][number % 4]
            where = key(f"d{number % 2}" if len(people) == 1 else channel, thread)
            for author in people:
                filling = " ".join([author.id.lower()[:3]] * self.random.randint(0, 120))
                self.number += 1
                text = f"{marked(author, self.number)} {filling}"
                file = f"file of {marked(author, self.number)}".encode() * 30
                await self.ask(where, author, text=text, file=file if number % 3 == 0 else b"")
        where = key("c1", "quotes")
        await self.ask(where, BOB, text=f"why?\n\n{EVE.name} wrote:\n> evelynmark99999 was here")
        both = await self.ask(where, BOB, text="and Bob's own: bobmark77777")
        await self._surroundings(both)

    async def _surroundings(self, conversation: int) -> None:
        """Store a summary, votes, an override, and entries of the audit."""
        state = await self.store.contexts().read_state(conversation, epoch=1, model="echo")
        summary = Summary("Bob asked something", 1, "echo")
        await self.store.contexts().save_summary(
            conversation, epoch=1, revision=state.revision, summary=summary
        )
        channel = key("c1", "")
        await self.store.policies().set_override(channel, OverrideName.MODEL, "echo", by=EVE)
        await self.store.audit().record(
            AuditEntry("conversation.read", channel, actor=BOB.id, subject=EVE.id)
        )
        await self.store._write(
            lambda db: db.execute(
                "INSERT INTO feedback SELECT id, ?, 'down', 'evelynmark88888', 1.0, 1.0 FROM turns"
                " WHERE content LIKE '%bobmark%' LIMIT 1",
                (EVE.id,),
            )
        )
        await self.store._write(
            lambda db: db.execute(
                "INSERT INTO refusals_told VALUES ('sim', 'w1', ?, 1.0)", (EVE.id,)
            )
        )
        await self.store._write(
            lambda db: db.execute(
                "INSERT INTO usage_by_day VALUES ('sim', 'w1', ?, '2026-11-30', 'c1', 'echo',"
                " 'answer', 1, 0, 0, 10, 5, 0, 0, 0, 7)",
                (EVE.id,),
            )
        )


TRACES = [b"evelynmark", b"Evelynmark", b"Evelyn", b"Quist", b"UEVE7714"]


def traces(path: Path, searched: Sequence[bytes] = TRACES) -> dict[str, int]:
    """How often each text occurs in the files of the database."""
    found: dict[str, int] = {}
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm"), path.with_suffix(".erased")):
        data = name.read_bytes() if name.exists() else b""
        for text in searched:
            if text in data:
                found[f"{name.name}: {text.decode()}"] = data.count(text)
    return found


def rows_with_traces(place: Place, searched: Sequence[bytes] = TRACES) -> list[str]:
    """The rows of all tables of a PostgreSQL database that contain one of the texts."""
    tables = look(
        place,
        "SELECT table_schema || '.' || table_name FROM information_schema.tables"
        " WHERE table_schema IN ('public', 'threadline_erased')",
    )
    rows = [
        row for (table,) in tables for (row,) in look(place, f"SELECT t::text FROM {table} AS t")
    ]
    words = [text.decode() for text in searched] + [text.hex() for text in searched]
    return [row for row in rows if any(word in row for word in words)]


def texts_of_bob(path: Place) -> set[str]:
    return {
        text
        for (text,) in look(path, "SELECT content FROM messages WHERE author_id = ?", BOB.id)
        if text
    }
