"""The AttachmentStore port on the store's connections.

Invariant: a large file is written in many small commits, because every reply waits for the same
writer.
"""

from __future__ import annotations

import asyncio

from bot.domain.attachments import Download, Extract
from bot.ports.clock import Clock
from bot.store import attachment_contents, attachment_rows, files, leases, locks
from bot.store.health import Runner
from bot.store.operations import reads, writes, writes_at
from bot.store.purge import Purger
from bot.store.staging import FileOperations, compute_digest, reads_files


class SqlAttachments(FileOperations):
    """Implements `bot.ports.attachments.AttachmentStore`."""

    def __init__(
        self,
        *,
        writer: Runner,
        readers: Runner,
        file_reader: Runner,
        clock: Clock,
        purger: Purger,
    ) -> None:
        super().__init__(
            writer=writer, readers=readers, file_reader=file_reader, clock=clock, purger=purger
        )
        self._saving = asyncio.Lock()  # two extracts of one file must not mix their images

    pending = reads(attachment_rows.pending)
    of_messages = reads(attachment_rows.of_messages)
    place = reads(attachment_rows.place)
    sender = reads(attachment_rows.sender)
    omit = writes(attachment_contents.omit, lock=locks.by_attachment)
    read_bytes = reads_files(files.read)
    read_extract = reads_files(attachment_contents.read_extract)

    async def claim(self, attachment: int) -> bool | None:
        if self.process is None:
            return True
        return await self._claim(attachment, self.process)

    async def save_bytes(self, attachment: int, download: Download) -> str | None:
        digest = await compute_digest(download.data)
        async with self._staging({digest: download.data}):
            saved = await self._save_bytes(attachment, digest, download)
        self._purger.wake()  # it may have had other bytes before
        return saved

    async def save_extract(self, digest: str, extract: Extract) -> None:
        async with self._saving:
            first = await self._next_part(digest)
            for part, image in enumerate(extract.images, first):
                for number, chunk in enumerate(files.split(image.data)):
                    await self._stage_image_chunk(digest, part, number, chunk)
            await self._save_extract(digest, extract, first)
            while await self._delete_old_image_chunk(digest, first):
                pass

    _claim = writes(leases.claim_attachment, lock=locks.by_attachment)
    _save_bytes = writes_at(attachment_contents.save_bytes, lock=locks.by_attachment)
    _save_extract = writes(attachment_contents.save_extract, lock=locks.by_digest)
    _delete_old_image_chunk = writes(
        attachment_contents.delete_old_image_chunk, lock=locks.by_digest
    )
    _next_part = reads(files.next_part)
    _stage_image_chunk = writes(files.stage_image_chunk, lock=locks.by_digest)
