"""Random operations on one PostgreSQL database, by several processes at the same time.

`python -m tests.support.store_hammer URL STEPS SEED` is one process. It ends with an error if an
operation fails in a way that people would see. `check_books` complements `store_kit.check`: both
check the rows afterwards.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from bot.common.clock import SystemClock
from bot.domain.attachments import AttachmentKind, Download, Extract, IncomingAttachment, Omission
from bot.domain.context import Summary
from bot.domain.conversations import Author, ConversationKey, Role
from bot.domain.errors import CommandDone, LostOwnership, RecordHeld
from bot.domain.feedback import Vote
from bot.domain.inbox import Address, Incoming, Watermark
from bot.domain.model import Usage
from bot.domain.policy import Budget, BudgetScope, Period
from bot.domain.privacy import Person
from bot.domain.records import RecordScope
from bot.domain.spending import Booking, BudgetLine, PeriodSpan, Quote, Reserved, Spender
from bot.domain.turns import Claim
from bot.privacy.forgetting import Forgetter
from bot.store.files import digest_of
from bot.store.postgres.server import Server
from bot.store.postgres.store import PostgresStore
from tests.support.store_kit import ANN, ANSWER, BEN, PostgresPlace, key, look, said

LANES = 5
THREADS = 4
MESSAGES = 400  # ids of messages, shared by all processes: most arrive more than once
EVE = Author("U9", "Eve")
"""The person erased while others store her messages."""

BUDGETS = (
    Budget(name="all", scope=BudgetScope.ALL, period=Period.MONTH, tokens=3_000),
    Budget(name="each", scope=BudgetScope.PERSON, period=Period.MONTH, tokens=100_000),
)
LARGEST = 60  # tokens of one request
_FILES = [b"alpha", b"beta", bytes(range(256)) * 1_200]  # the last one is staged in chunks
_REFUSED = (LostOwnership, CommandDone, RecordHeld)  # answers, not failures


class Hammer:
    """One process's operations."""

    def __init__(self, store: PostgresStore, seed: int) -> None:
        self._store, self._chance = store, random.Random(seed)
        self.done = 0
        self._operations: list[Callable[[], Awaitable[object]]] = [
            *[self._accept] * 8,
            *[self._answer] * 8,
            *[self._change_message] * 4,
            *[self._change_conversation] * 4,
            *[self._use_files] * 3,
            self._press,
            self._edit_records,
            self._keep,
        ]

    async def run(self, steps: int, *, forgets_eve: bool) -> None:
        """Run `steps` operations concurrently. `forgets_eve`: erase her after half of them."""
        halfway = asyncio.Event()

        async def lane() -> None:
            for _ in range(steps // LANES):
                await self.step()
                if self.done >= steps // 2:
                    halfway.set()

        async with asyncio.TaskGroup() as group:
            for _ in range(LANES):
                group.create_task(lane())
            if forgets_eve:
                await halfway.wait()
                await self.forget_eve()

    async def step(self) -> None:
        """Perform one operation."""
        with suppress(*_REFUSED):
            await self._chance.choice(self._operations)()
        self.done += 1

    async def forget_eve(self) -> None:
        """Forget Eve, as `/forget me` does."""
        forgetter = Forgetter(store=self._store.privacy(), audit=self._store.audit())
        await forgetter.forget(Person("sim", "w1", EVE.id), by=EVE.id, key=key())

    # ── messages ──────────────────────────────────────────────────────────────────────────────
    def _place(self) -> ConversationKey:
        return key(f"t{self._chance.randrange(THREADS)}")

    def _message(self) -> Incoming:
        """Build a message; a number has the same conversation and author in every process."""
        number = self._chance.randrange(MESSAGES)
        author = (ANN, BEN, EVE)[number % 3]
        address = Address.ASIDE if number % 5 == 0 else Address.MENTION
        where = key(f"t{number % THREADS}")
        files = [self._file(number + each) for each in range(number % 4)]
        return said(number, where=where, author=author, address=address, attachments=files)

    @staticmethod
    def _file(number: int) -> IncomingAttachment:
        place = number % (len(_FILES) + 1)
        data = _FILES[place] if place < len(_FILES) else None
        locator = {} if data is not None else {"url": "https://files.example/a"}
        return IncomingAttachment(name="a", data=data, identity=f"F{number}", locator=locator)

    async def _accept(self) -> None:
        await self._store.accept(self._message(), [self._message()])

    async def _change_message(self) -> None:
        message = self._message()
        if self._chance.random() < 0.5:
            await self._store.erase(message.source, with_reply=self._chance.random() < 0.5)
        else:
            files = [self._file(self._chance.randrange(9)) for _ in range(2)]
            await self._store.edit(message.source, "edited", self._chance.random() * 99, files)

    async def _change_conversation(self) -> None:
        where, store = self._place(), self._store
        source = f"sim/w1/c1/command{self._chance.randrange(MESSAGES)}"
        await self._chance.choice(
            (
                lambda: store.reset(where, source=source),
                lambda: store.undo_reset(where, None),
                lambda: store.reopen(where, None),
                lambda: store.continue_reply(where, None, ANN, "more"),
                lambda: store.stop(where, None, source=source),
                lambda: store.choose_model(where, "m"),
                lambda: store.move_watermarks([Watermark("sim", "w1", "c1", 1)]),
            )
        )()

    # ── turns ─────────────────────────────────────────────────────────────────────────────────
    async def _answer(self) -> None:
        unfinished = await self._store.list_unfinished("sim")
        claim = await self._store.claim(self._chance.choice(unfinished)) if unfinished else None
        if claim is None:
            return
        await self._store.record_intent(claim.fence, 0)
        page = f"r{claim.fence.turn}-{claim.fence.attempt}"
        await self._store.record_shown(claim.fence, 0, channel="c1", message_id=page)
        if claim.result is None:
            await self._ask_model(claim)
        await self._store.finish(claim.fence)

    async def _ask_model(self, claim: Claim) -> None:
        books = self._store.spending()
        author = claim.questions[0].author if claim.questions else None
        lines = [
            BudgetLine(budget, budget.name, PeriodSpan("2026-11", 0.0))
            for budget in self._chance.sample(BUDGETS, 2)
        ]
        quote = Quote("m", LARGEST // 2, LARGEST // 2, 1, 1.0)
        spender = Spender(claim.conversation.key, author, claim.fence)
        reserved = await books.reserve(spender, lines, quote, "2026-11-30")
        if isinstance(reserved, Reserved):
            await books.record_progress(reserved.id, "m", 5)
            used = Usage(self._chance.randrange(LARGEST // 2), self._chance.randrange(LARGEST // 2))
            bookings = [Booking("m", used, 1)] if self._chance.random() < 0.9 else []
            if self._chance.random() < 0.9:  # others are left to the next claim
                await books.settle(reserved.id, bookings, lines)
        conversation = claim.conversation.id
        await self._store.contexts().save_summary(
            conversation, epoch=claim.epoch, revision=0, summary=Summary("They talk.", 1, "m")
        )
        await self._store.conclude(claim.fence, ANSWER)

    # ── the rest ──────────────────────────────────────────────────────────────────────────────
    async def _use_files(self) -> None:
        files, data = self._store.attachments(), self._chance.choice(_FILES)
        extract = Extract(kind=AttachmentKind.TEXT, media_type="text/plain", text="alpha")
        await files.save_extract(digest_of(data), extract)
        for each in await files.pending("sim", 2):
            if await files.claim(each.id):
                if self._chance.random() < 0.7:
                    await files.save_bytes(each.id, Download(data))
                else:
                    await files.omit(each.id, Omission.GONE)

    async def _press(self) -> None:
        turn = self._chance.randrange(1, 50)
        await self._store.feedback().press(self._place(), turn, "U1", Vote.UP)

    async def _edit_records(self) -> None:
        library = self._store.library()
        found = await self._store.find(self._place())
        if found is None:
            return
        if self._chance.random() < 0.2:
            rows = await self._store._read(
                lambda db: db.execute(
                    "SELECT uid FROM conversations WHERE id = ?", (found.id,)
                ).fetchall()
            )
            for row in rows:
                await library.delete(row["uid"], RecordScope("sim", "w1"))
        else:
            await library.add(found.id, Role.USER, "by the API", ANN)

    async def _keep(self) -> None:
        """Apply retention, and clean up after a dead process."""
        found = await self._store.find(self._place())
        if found is not None:
            await self._store.privacy().erase_step(found.id, time.time() - 1.0)
        await self._store.reap()


def check_books(place: PostgresPlace) -> None:
    """Assert that the sums of budgets equal those of their requests, and that no budget is
    exceeded."""
    for budget in BUDGETS:
        sums = look(
            place,
            "SELECT tokens, reserved_tokens FROM budget_sums WHERE budget = ?",
            budget.name,
        )
        requests = look(
            place,
            "SELECT"
            " coalesce(sum(input_tokens + output_tokens) FILTER (WHERE state = 'settled'), 0),"
            " coalesce(sum(held_tokens) FILTER (WHERE state = 'reserved'), 0)"
            " FROM model_requests",
        )
        assert (sums or [(0, 0)]) == requests
        [(spent, reserved)] = requests
        assert spent + reserved <= (budget.tokens or 0) + LARGEST


def check_eve_is_gone(place: PostgresPlace) -> None:
    """Assert that nothing of the erased person was stored afterwards."""
    assert look(place, "SELECT id FROM messages WHERE author_id = ?", EVE.id) == []


async def main(url: str, steps: int, seed: int) -> None:
    """Run one process. The first one erases a person."""
    server = Server.parse(url)
    async with PostgresStore.open(server, clock=SystemClock(), process=f"process{seed}") as store:
        hammer = Hammer(store, seed)
        await hammer.run(steps, forgets_eve=seed % 10 == 0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
