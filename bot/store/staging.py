"""Writes large files in small commits, before the transition that refers to them.

Invariant: a staged file gets an attachment or is deleted, at the latest by the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar

from bot.domain.attachments import IncomingAttachment
from bot.domain.errors import StoreUnavailable
from bot.ports.clock import Clock
from bot.store import files, locks
from bot.store.database import Database
from bot.store.health import Runner
from bot.store.operations import Operations, reads, writes, writes_at
from bot.store.purge import Purger


async def compute_digest(data: bytes) -> str:
    """Like `files.digest_of`, but keeps large data (20 MB: 15 to 60 ms) from blocking the event
    loop."""
    if len(data) <= files.CHUNK_BYTES:
        return files.digest_of(data)
    return await asyncio.to_thread(files.digest_of, data)


async def with_digests(
    attachments: Iterable[IncomingAttachment],
) -> tuple[IncomingAttachment, ...]:
    """The attachments, with the digests of the bytes that came with them."""
    known = []
    for each in attachments:
        if each.data is not None and not each.digest:
            each = replace(each, digest=await compute_digest(each.data))  # noqa: PLW2901
        known.append(each)
    return tuple(known)


def data_of(attachments: Iterable[IncomingAttachment]) -> dict[str, bytes]:
    """The bytes that came with attachments and will be stored, by digest."""
    return {
        each.digest: each.data
        for each in attachments
        if each.data is not None and each.omission is None
    }


P = ParamSpec("P")
T = TypeVar("T")


class FileOperations(Operations):
    """Operations that write, read and delete large files without delaying others.

    The files are written in small commits before the transition that refers to them; after the last
    reference ends, the purger deletes them. `file_reader` is a separate connection, because reading
    20 MB takes about 60 ms.
    """

    def __init__(
        self,
        *,
        writer: Runner,
        readers: Runner,
        file_reader: Runner,
        clock: Clock,
        purger: Purger,
    ) -> None:
        super().__init__(writer=writer, readers=readers, clock=clock)
        self._read_file = file_reader.run
        self._purger = purger

    @asynccontextmanager
    async def _staging(self, data: Mapping[str, bytes]) -> AsyncIterator[None]:
        """Stage the large files in `data`, which has their bytes by digest.

        On exit, deletes files that got no attachment; after a kill, the next start does. Another
        caller may delete or complete the same file concurrently: see `files.ensure`.
        """
        large = {digest: each for digest, each in data.items() if len(each) > files.CHUNK_BYTES}
        try:
            for digest, each in large.items():
                await self._stage(digest, each)
            yield
        finally:
            if large:
                with suppress(StoreUnavailable):  # the next start deletes it
                    await self._unstage(list(large))
                self._purger.wake()

    async def _stage(self, digest: str, data: bytes) -> None:
        if await self._file_id(digest) is None:
            for number, chunk in enumerate(files.split(data)):
                await self._stage_chunk(digest, len(data), number, chunk)

    _file_id = reads(files.file_id)
    _stage_chunk = writes_at(files.stage_chunk, lock=locks.by_digest)
    _unstage = writes(files.unstage, lock=locks.by_digests)


def reads_files(
    query: Callable[Concatenate[Database, P], T],
) -> Callable[Concatenate[FileOperations, P], Coroutine[Any, Any, T]]:
    """Like `operations.reads`, on the connection for files."""

    async def method(self: FileOperations, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._read_file(lambda db: query(db, *args, **kwargs))

    return method
