"""Exports that people request for themselves: at most once an hour, and as a file for the chat.

Invariant: a person who did not receive the file may ask again immediately.
"""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from functools import partial

from cachetools import TTLCache

from bot.domain import privacy_texts, texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import NoFile, StoreUnavailable, TooEarly
from bot.domain.inbox import PrivateFile
from bot.domain.privacy import Person
from bot.ports.clock import Clock
from bot.privacy.exporting import Exporter

FILE_NAME, INNER_NAME = "threadline-export.zip", "export.jsonl"

PERSON_SECONDS = 3_600.0
"""Seconds between two exports for the same person, because each one reads everything they wrote."""

MAX_PEOPLE = 10_000
"""The most people to remember, to bound the memory; far more than will export within an hour."""

MAX_AT_ONCE = 4
"""The most files to build at the same time; each takes up to the place's limit (10 MB) of
memory."""

CHUNK = 256 * 1024
"""Characters to compress in one step, outside of the event loop."""


class PersonalExports:
    """Exports of everything that is known about a person, for that person."""

    def __init__(self, *, exporter: Exporter, clock: Clock) -> None:
        self._exporter, self._clock = exporter, clock
        self._taken: TTLCache[tuple[str, str], float] = TTLCache(
            MAX_PEOPLE, PERSON_SECONDS, clock.monotonic
        )
        self._running = 0

    def take(self, person: Person) -> None:
        """Count an export for the person. Raises TooEarly if they had one within the last hour."""
        began = self._taken.get(_account(person))
        if began is not None:
            raise TooEarly(began + PERSON_SECONDS - self._clock.monotonic())
        self._taken[_account(person)] = self._clock.monotonic()

    def give_back(self, person: Person) -> None:
        """Undo `take`, because the person did not receive the export."""
        self._taken.pop(_account(person), None)

    async def lines(self, person: Person, *, by: str, key: ConversationKey) -> AsyncGenerator[str]:
        """The lines of an export that was counted with `take`. It only stays counted if all lines
        are read.

        Raises StoreUnavailable.
        """
        is_whole = False
        try:
            async with aclosing(self._exporter.lines(person, by=by, key=key)) as lines:
                async for line in lines:
                    yield line
            is_whole = True
        finally:
            if not is_whole:
                self.give_back(person)

    def file(self, person: Person, *, by: str, key: ConversationKey) -> PrivateFile:
        """Offer the export as a file. Raises TooEarly."""
        self.take(person)
        build = partial(self._build, person, by=by, key=key)
        return PrivateFile(FILE_NAME, build, partial(self.give_back, person))

    async def _build(self, person: Person, most: int, *, by: str, key: ConversationKey) -> bytes:
        with self._running_one():
            try:
                async with aclosing(self.lines(person, by=by, key=key)) as lines:
                    return await pack(lines, most)
            except StoreUnavailable as error:
                raise NoFile(texts.STORE_DOWN) from error
            except _TooLarge as error:
                sentence = privacy_texts.EXPORT_TOO_LARGE.format(person=person)
                raise NoFile(sentence) from error

    @contextmanager
    def _running_one(self) -> Iterator[None]:
        if self._running >= MAX_AT_ONCE:
            raise NoFile(privacy_texts.EXPORTS_BUSY)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1


def _account(person: Person) -> tuple[str, str]:
    return person.platform, person.id


# ── the file ──────────────────────────────────────────────────────────────────────────────────
class _TooLarge(Exception):
    """The file has more bytes than its place allows."""


async def pack(lines: AsyncIterator[str], most: int) -> bytes:
    """Compress the lines as one file in a zip archive. Raises _TooLarge above `most` bytes."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(INNER_NAME, "w", force_zip64=True) as file,
    ):
        async for chunk in _chunks(lines):
            await asyncio.to_thread(file.write, chunk)
            if buffer.tell() > most:
                raise _TooLarge
    if buffer.tell() > most:
        raise _TooLarge
    return buffer.getvalue()


async def _chunks(lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    parts: list[str] = []
    size = 0
    async for line in lines:
        parts.append(line)
        size += len(line)
        if size >= CHUNK:
            yield "".join(parts).encode()
            parts, size = [], 0
    yield "".join(parts).encode()
