"""The content room around a real store, with scripted readers at its edges."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.content.fetcher import AttachmentFetcher, Readers
from bot.context.budgets import ContextBudgets
from bot.context.context_ports import ContextPorts, TurnOptions
from bot.context.estimates import TokenEstimates
from bot.context.turn_attachments import AttachmentPorts
from bot.domain.attachments import (
    AttachmentKind,
    Download,
    Extract,
    IncomingAttachment,
    Omission,
)
from bot.domain.conversations import ImagePart
from bot.domain.errors import AttachmentError
from bot.inbox.attachments import AttachmentIntake
from bot.ports.clock import Clock
from bot.ports.metrics import NO_OBSERVER, Observer
from bot.ports.policy import Policy
from bot.store.sqlite import SqliteStore

PNG = b"\x89PNG\r\n\x1a\n"
RECORDING = b"OggS"


def file(name: str, *, identity: str = "", **more: Any) -> IncomingAttachment:
    """A file that the platform knows as `identity` (its name if that is empty)."""
    identity = identity or name
    return IncomingAttachment(name=name, identity=identity, locator={"file": identity}, **more)


@dataclass
class ScriptedLinks:
    """Answers links from `pages`."""

    pages: dict[str, Download | AttachmentError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def download(self, url: str, *, limit: int) -> Download:
        self.asked.append(url)
        found = self.pages.get(url, AttachmentError(Omission.GONE))
        if isinstance(found, AttachmentError):
            raise found
        return found

    async def aclose(self) -> None:
        """Nothing to close."""


@dataclass
class PlainExtractor:
    """Extracts text unchanged; for other bytes, their first bytes decide the result."""

    read: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    gate: asyncio.Event | None = None

    async def extract(self, name: str, media_type: str, data: bytes) -> Extract:
        self.read.append(name)
        if self.gate is not None:
            await self.gate.wait()
        if data.startswith(PNG):
            image = ImagePart("image/png", data, 100, 75)
            return Extract(kind=AttachmentKind.IMAGE, media_type="image/png", images=(image,))
        if data.startswith(RECORDING):
            return Extract(kind=AttachmentKind.AUDIO, media_type="audio/ogg")
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise AttachmentError(Omission.UNSUPPORTED) from error
        kind = AttachmentKind.TEXT
        return Extract(kind=kind, media_type="text/plain", text=text, notes=self.notes)

    async def aclose(self) -> None:
        """Nothing to close."""


@dataclass
class ScriptedTranscriber:
    """Hears `words` in every recording."""

    words: str = "reset everything, please"
    name: str = "openai/whisper"

    async def transcribe(self, name: str, media_type: str, data: bytes) -> str:
        return self.words

    async def aclose(self) -> None:
        """Nothing to close."""


@dataclass
class Content:
    """The parts that the core needs for attachments."""

    fetcher: AttachmentFetcher
    ports: AttachmentPorts
    intake: AttachmentIntake
    links: ScriptedLinks
    extractor: PlainExtractor


def content_of(
    store: SqliteStore,
    adapters: Mapping[str, Any],
    clock: Clock,
    *,
    max_bytes: int = 100_000,
    wait_seconds: float = 30.0,
    speech: bool = False,
    observer: Observer = NO_OBSERVER,
) -> Content:
    """The content room on `store`."""
    links, extractor = ScriptedLinks(), PlainExtractor()
    transcriber = ScriptedTranscriber() if speech else None
    fetcher = AttachmentFetcher(
        store=store.attachments(),
        adapters=adapters,
        readers=Readers(links, extractor, transcriber),
        clock=clock,
        max_bytes=max_bytes,
        observer=observer,
    )
    ports = AttachmentPorts(store.attachments(), fetcher, wait_seconds)
    return Content(fetcher, ports, AttachmentIntake(fetcher, adapters), links, extractor)


def context_of(
    store: SqliteStore,
    clock: Clock,
    options: TurnOptions,
    *,
    wait: Callable[[int], Awaitable[None]] | None = None,
    policy: Policy | None = None,
) -> ContextPorts:
    """What a turn runner builds requests with."""
    budgets = ContextBudgets(
        context_tokens=options.context_tokens, max_output_tokens=options.max_output_tokens
    )
    return ContextPorts(
        store=store,
        contexts=store.contexts(),
        budgets=budgets,
        estimates=TokenEstimates(store.contexts()),
        clock=clock,
        options=options,
        wait=wait,
        policy=policy,
    )
