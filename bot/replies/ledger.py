"""Keeps the store's ledger of one reply's pages: which are about to be posted, which are shown.

In: from `Delivery`, each page before its post, and the pages on the screen after each request. Out:
intents, shown pages and removals in the store, which the next attempt reads after a crash.

Invariant: the ledger follows the screen. While the database is slow or fails, a background task
catches up; a posted page can be found again even without its entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from bot.common.retry import retry_while_unavailable
from bot.domain.replies import Shown
from bot.domain.turns import Fence, PageRecord
from bot.ports.clock import Clock

COMMIT_WAIT = 0.05
"""Seconds that a reply waits for a commit: several times its usual duration. A slower commit
continues in the background and does not delay the next text."""


class Ledger(Protocol):
    """The part of the store that a reply writes."""

    async def record_intent(self, fence: Fence, page: int) -> None:
        """Record that a page is about to be posted."""
        ...

    async def record_shown(self, fence: Fence, page: int, *, channel: str, message_id: str) -> None:
        """Record that a page was posted, or found again."""
        ...

    async def record_removal(self, fence: Fence, page: int) -> None:
        """Record that a page was removed."""
        ...


class LedgerWriter:
    """Writes the ledger of one reply; `shown` returns what is currently on the screen.

    `failed` is called when a background write fails; `raise_failure` then raises the error.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        fence: Fence,
        clock: Clock,
        shown: Callable[[], Shown],
        failed: Callable[[], None],
    ) -> None:
        self._ledger, self._fence, self._clock, self._shown = ledger, fence, clock, shown
        self._failed = failed
        self._recorded: dict[int, tuple[str, str]] = {}  # page: (channel, message id)
        self._intended: set[int] = set()
        self._removes_shown = False  # whether to remove recorded pages that are not on the screen …
        self._removes_intended = False  # … and pages that were only intended
        self._writing: asyncio.Task[None] | None = None  # continues while the database is slow

    def load(self, pages: Sequence[PageRecord]) -> None:
        """Adopt the entries of earlier attempts."""
        self._intended.update(page.number for page in pages)
        for page in pages:
            if page.message_id is not None:
                self._recorded[page.number] = (page.channel, page.message_id)

    async def intend(self, page: int) -> None:
        """Record that a page is about to be posted, unless the ledger has the page already."""
        if page not in self._intended:
            await self._write_intention(page)

    async def intend_removal(self, page: int) -> None:
        """Remove a page's message from the ledger before the bot deletes the message.

        So if a message in the ledger is deleted, a person deleted it.
        """
        await self.flush()  # a pending write could add the message again
        await self._write_intention(page)

    async def record_shown(self) -> None:
        """Record the pages on the screen, but keep entries of pages that were not found.

        Returns after at most COMMIT_WAIT; the rest is written in the background.
        """
        if self._writing is not None:
            if not self._writing.done():
                return
            self._writing.result()
        if self._changes():
            await self._start_writing()

    async def record(self) -> None:
        """Like `record_shown`, and from now on remove entries of pages not on the screen."""
        self._removes_shown = True
        await self.record_shown()

    async def remove_unposted(self) -> None:
        """At the end, remove the entries of pages that were intended but are not on the screen."""
        self._removes_intended = True
        try:
            await self.record()
            await self.flush()
        finally:
            self._removes_intended = False

    async def flush(self) -> None:
        """Wait until the ledger matches the screen. Raises LostOwnership."""
        if self._writing is not None:
            await asyncio.shield(self._writing)

    def raise_failure(self) -> None:
        """Raise the error that ended the background write, if there was one."""
        if self._writing is not None and self._writing.done():
            self._writing.result()

    @property
    def writing(self) -> asyncio.Task[None] | None:
        """The task that catches up with the screen."""
        return self._writing

    async def _write_intention(self, page: int) -> None:
        await retry_while_unavailable(
            lambda: self._ledger.record_intent(self._fence, page), self._clock.sleep
        )
        self._intended.add(page)

    async def _start_writing(self) -> None:
        tried = asyncio.Event()

        async def write() -> None:
            try:
                await self._write()
            finally:
                tried.set()

        writing = asyncio.create_task(
            retry_while_unavailable(write, self._clock.sleep), name="ledger"
        )
        writing.add_done_callback(self._on_end)
        self._writing = writing
        with suppress(TimeoutError):
            async with asyncio.timeout(COMMIT_WAIT):
                await tried.wait()
        if writing.done():
            writing.result()

    def _on_end(self, writing: asyncio.Task[None]) -> None:
        if not writing.cancelled() and writing.exception() is not None:
            self._failed()

    async def _write(self) -> None:
        while changes := self._changes():
            for number, message in changes.items():
                if message is None:
                    await self._ledger.record_removal(self._fence, number)
                    self._recorded.pop(number, None)
                    self._intended.discard(number)
                else:
                    channel, message_id = message
                    await self._ledger.record_shown(
                        self._fence, number, channel=channel, message_id=message_id
                    )
                    self._recorded[number] = message

    def _changes(self) -> dict[int, tuple[str, str] | None]:
        """Entries that differ from the screen, by page; None for a page to remove."""
        visible = {page.number: (page.channel, page.message_id) for page in self._shown().pages}
        new = {n: message for n, message in visible.items() if self._recorded.get(n) != message}
        known = self._recorded.keys() | (self._intended if self._removes_intended else set())
        removed = known - visible.keys() if self._removes_shown else ()
        return {**new, **dict.fromkeys(removed)}
