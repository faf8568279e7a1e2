"""Downloads and reads attachments as soon as their message is stored.

Invariant: every stored attachment reaches a final state, whatever happens to its server, its bytes
or the process. Each step is stored before the next one begins, so a restart continues where the
last process stopped.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakValueDictionary

import structlog

from bot.common.fair_slots import FairSlots, SlotOwner
from bot.common.retry import Backoff, retry_while_unavailable
from bot.domain.attachments import (
    Attachment,
    AttachmentKind,
    AttachmentState,
    Download,
    Extract,
    Omission,
)
from bot.domain.errors import AttachmentError, BudgetHeld, NoBudget, PlatformError
from bot.domain.spending import Purpose, Spender
from bot.ports.attachments import AttachmentStore, Extractor, LinkReader, Transcriber
from bot.ports.clock import Clock
from bot.ports.metrics import NO_OBSERVER, Observer
from bot.ports.platform import Adapter
from bot.ports.spending import Meter

T = TypeVar("T")

log = structlog.stdlib.get_logger(__name__)

MAX_CONCURRENT = 8
"""Attachments processed at the same time, shared fairly between people. Each may hold its bytes in
memory twice, which bounds the number."""

MAX_OF_MESSAGE = 2
"""The most of these that may belong to one message, to leave room for other people's downloads."""

MAX_PENDING = 1_000
"""Attachments to start per query of the database; each one that ends triggers another query."""

GIVE_UP_SECONDS = 600.0
"""Seconds to keep trying a download or a transcription. The turn waits a much shorter time; later
turns may still get the file."""

ELSEWHERE_RETRY = Backoff(first=0.25, longest=2.0)
"""Pauses between checks on an attachment that another process is reading."""

NETWORK_RETRY = Backoff(first=1.0, longest=60.0)


@dataclass(frozen=True, slots=True)
class Readers:
    """The readers of bytes and links. If `transcriber` is None, speech is not read."""

    links: LinkReader
    extractor: Extractor
    transcriber: Transcriber | None = None

    async def aclose(self) -> None:
        """Close connections and processes."""
        await self.links.aclose()
        await self.extractor.aclose()
        if self.transcriber is not None:
            await self.transcriber.aclose()


class DeferredLinkReader:
    """Creates the link reader for the first link, so that its libraries do not delay the start."""

    def __init__(self, make: Callable[[], LinkReader]) -> None:
        self._make = make
        self._reader: LinkReader | None = None

    async def download(self, url: str, *, limit: int) -> Download:
        """See `LinkReader.download`."""
        if self._reader is None:
            self._reader = self._make()
        return await self._reader.download(url, limit=limit)

    async def aclose(self) -> None:
        """Close the reader, if there is one."""
        if self._reader is not None:
            await self._reader.aclose()


BUDGET_SECONDS = 5.0
"""Seconds that a transcript waits while other requests have reserved the rest of a budget."""


class AttachmentFetcher:
    """Implements `bot.ports.attachments.AttachmentProgress`. `max_bytes` limits the size of a file.

    `meter` charges transcripts to the conversation's channel, not to a person. `observer` receives
    each final state.
    """

    def __init__(
        self,
        *,
        store: AttachmentStore,
        adapters: Mapping[str, Adapter],
        readers: Readers,
        clock: Clock,
        max_bytes: int,
        meter: Meter | None = None,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._meter, self._observer = meter, observer
        self._store, self._adapters = store, adapters
        self._readers, self._clock = readers, clock
        self._max_bytes = max_bytes
        self._slots = FairSlots(running=MAX_CONCURRENT, queued=sys.maxsize)
        # A message's slots exist while one of its attachments holds or awaits one.
        self._message_slots: WeakValueDictionary[int, asyncio.Semaphore] = WeakValueDictionary()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    # ── the port ──────────────────────────────────────────────────────────────────────────────
    def wake(self, platform: str) -> None:
        """Start processing the platform's pending attachments; safe to call at any time."""
        if self._closed:
            return
        # A running look may have read the database before the caller stored, so another look
        # follows.
        before = self._looks.get(platform)
        self._looks[platform] = asyncio.create_task(self._look(platform, before))

    async def wait(self, messages: Sequence[int], seconds: float) -> None:
        """Return once the attachments of these messages are final, or after `seconds`."""
        found = await self._store.of_messages(messages)
        attachments = [each for group in found.values() for each in group]
        tasks = [self._start(each) for each in attachments if each.state is AttachmentState.PENDING]
        if tasks and not self._closed:
            await asyncio.wait(tasks, timeout=seconds)

    async def aclose(self) -> None:
        """Stop; unfinished attachments stay pending for the next start."""
        self._closed = True
        tasks = [*self._tasks.values(), *self._looks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # ── tasks ─────────────────────────────────────────────────────────────────────────────────
    async def _look(self, platform: str, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        pending = await retry_while_unavailable(
            lambda: self._store.pending(platform, limit=MAX_PENDING), self._clock.sleep
        )
        for attachment in pending:
            self._start(attachment)
        if len(pending) == MAX_PENDING and not self._closed:
            tasks = [self._tasks[each.id] for each in pending if each.id in self._tasks]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.wake(platform)

    def _start(self, attachment: Attachment) -> asyncio.Task[None]:
        """Return the attachment's only reading task, starting it if necessary."""
        task = self._tasks.get(attachment.id)
        if task is None:
            task = asyncio.create_task(self._settle(attachment), name=f"attachment-{attachment.id}")
            self._tasks[attachment.id] = task
            task.add_done_callback(lambda _: self._tasks.pop(attachment.id, None))
        return task

    async def _settle(self, attachment: Attachment) -> None:
        """Bring an attachment to a final state."""
        if not await self._is_ours(attachment):
            return
        started = self._clock.monotonic()
        try:
            await self._read(attachment)
            omission = None
        except AttachmentError as error:
            omission = error.omission
            log.info("an attachment is left out", attachment=attachment.id, reason=str(error))
        except Exception:
            # Contain whatever the bytes cause: only this attachment fails.
            log.exception("an attachment could not be read", attachment=attachment.id)
            omission = Omission.DAMAGED
        if omission is not None:
            await self._retry(lambda: self._store.omit(attachment.id, omission))
        self._observer.attachment_settled(omission)
        seconds = round(self._clock.monotonic() - started, 3)
        log.debug("attachment settled", attachment=attachment.id, seconds=seconds)

    async def _is_ours(self, attachment: Attachment) -> bool:
        """Wait while another process reads the attachment; False if it is final by then."""
        for pause in ELSEWHERE_RETRY:
            claimed = await self._retry(lambda: self._store.claim(attachment.id))
            if claimed is not False:
                return bool(claimed)
            await self._clock.sleep(pause)
        raise AssertionError("the pauses never end")

    async def _read(self, attachment: Attachment) -> None:
        """Download, store and read the attachment. Raises AttachmentError."""
        download = None
        digest = attachment.digest
        if digest is None:
            download = await self._download(attachment)
            arrived = download
            digest = await self._retry(lambda: self._store.save_bytes(attachment.id, arrived))
        if digest is None:  # the attachment was deleted in the meantime
            return
        known = digest
        if await self._retry(lambda: self._store.read_extract(known)) is not None:
            return  # another message's reading made it READY when the bytes were stored
        if download is None:
            data = await self._retry(lambda: self._store.read_bytes(known))
            if data is None:
                return
            download = Download(data, attachment.media_type, attachment.name)
        read = download
        extract = await self._persist(attachment, lambda: self._extract(attachment, read))
        await self._retry(lambda: self._store.save_extract(known, extract))

    async def _retry(self, operation: Callable[[], Awaitable[T]]) -> T:
        return await retry_while_unavailable(operation, self._clock.sleep)

    async def _persist(self, attachment: Attachment, operation: Callable[[], Awaitable[T]]) -> T:
        """Run `operation`, retrying while that may help. Raises AttachmentError.

        No slot is held during the pauses, so a slow server does not stop other downloads.
        """
        give_up = self._clock.monotonic() + GIVE_UP_SECONDS
        owner = await self._owner(attachment)
        for pause in NETWORK_RETRY:
            try:
                async with self._slots_of(attachment.message), self._slots.take(owner):
                    return await operation()
            except AttachmentError as error:
                wait = max(pause, error.retry_after or 0.0)
                if error.retry_after is None or self._clock.monotonic() + wait > give_up:
                    raise
                log.info("trying again", attachment=attachment.id, seconds=wait)
            await self._clock.sleep(wait)
        raise AssertionError("the pauses never end")

    async def _owner(self, attachment: Attachment) -> SlotOwner:
        """The attachment's author, whose share of the slots it uses."""
        found = await self._retry(lambda: self._store.sender(attachment.id))
        if found is None:
            return SlotOwner("", "")
        key, person = found
        return SlotOwner((key.platform, key.workspace), person)

    def _slots_of(self, message: int) -> asyncio.Semaphore:
        slots = self._message_slots.get(message)
        if slots is None:
            slots = self._message_slots[message] = asyncio.Semaphore(MAX_OF_MESSAGE)
        return slots

    # ── bytes ─────────────────────────────────────────────────────────────────────────────────
    async def _download(self, attachment: Attachment) -> Download:
        """Download the bytes, retrying while that may help. Raises AttachmentError."""
        if attachment.transcript:  # the platform has transcribed the speech: its bytes add nothing
            return Download(attachment.transcript.encode(), attachment.media_type, attachment.name)
        if attachment.size is not None and attachment.size > self._max_bytes:
            raise AttachmentError(Omission.TOO_LARGE)
        return await self._persist(attachment, lambda: self._download_once(attachment))

    async def _download_once(self, attachment: Attachment) -> Download:
        if attachment.is_link:
            url = attachment.locator.get("url", "")
            return await self._readers.links.download(url, limit=self._max_bytes)
        key = await self._retry(lambda: self._store.place(attachment.id))
        if key is None:
            raise AttachmentError(Omission.GONE, "deleted")
        adapter = self._adapters.get(key.platform)
        if adapter is None:
            raise AttachmentError(Omission.UNREACHABLE, "its platform does not run")
        try:
            return await adapter.download(key, attachment.locator, limit=self._max_bytes)
        except PlatformError as error:
            raise AttachmentError(Omission.UNREACHABLE, str(error), retry_after=1.0) from error

    # ── text and images ───────────────────────────────────────────────────────────────────────
    async def _extract(self, attachment: Attachment, download: Download) -> Extract:
        """Extract from the bytes what a model receives. Raises AttachmentError."""
        if attachment.transcript:
            return _spoken(attachment.media_type, attachment.transcript)
        name = attachment.name or download.name
        media_type = download.media_type or attachment.media_type
        extract = await self._readers.extractor.extract(name, media_type, download.data)
        if attachment.is_voice and extract.kind is AttachmentKind.TEXT:
            return _spoken(attachment.media_type, extract.text)  # the platform's transcript
        if extract.kind is not AttachmentKind.AUDIO:
            return extract
        if self._readers.transcriber is None:
            raise AttachmentError(Omission.NO_TRANSCRIPTION)
        recording = Download(download.data, extract.media_type, name)
        words = await self._transcribe(self._readers.transcriber, attachment, recording)
        return _spoken(extract.media_type, words)

    async def _transcribe(
        self, transcriber: Transcriber, attachment: Attachment, recording: Download
    ) -> str:
        """Transcribe the recording, within the conversation's budgets. Raises AttachmentError."""

        async def work() -> str:
            return await transcriber.transcribe(
                recording.name, recording.media_type, recording.data
            )

        if self._meter is None:
            return await work()
        key = await self._retry(lambda: self._store.place(attachment.id))
        if key is None:
            raise AttachmentError(Omission.GONE, "deleted")
        try:
            spender = Spender(key, purpose=Purpose.TRANSCRIPT)
            return await self._meter.transcribe(spender, transcriber.name, work)
        except NoBudget as error:
            wait = BUDGET_SECONDS if isinstance(error, BudgetHeld) else None
            raise AttachmentError(Omission.NO_BUDGET, str(error), retry_after=wait) from error


def _spoken(media_type: str, words: str) -> Extract:
    """Build the extract of speech. Raises AttachmentError if nothing was said."""
    if not words.strip():
        raise AttachmentError(Omission.NO_SPEECH)
    return Extract(kind=AttachmentKind.AUDIO, media_type=media_type, text=words.strip())
