"""The ports around attachments: their storage, parsers, links and speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bot.domain.attachments import Attachment, Download, Extract, Omission
from bot.domain.conversations import ConversationKey


class AttachmentStore(Protocol):
    """Attachments, their bytes and their extracts; methods raise StoreUnavailable.

    `Store.accept` and `Store.edit` insert them. Deleting a message, a conversation or a person's
    data deletes them, and bytes that no other attachment has.
    """

    async def pending(self, platform: str, *, limit: int) -> Sequence[Attachment]:
        """The platform's attachments in state PENDING, oldest first."""
        ...

    async def claim(self, attachment: int) -> bool | None:
        """Whether this process may read the attachment; None if it is no longer PENDING.

        False while another living process does. A process that dies claims no more.
        """
        ...

    async def of_messages(self, messages: Sequence[int]) -> Mapping[int, Sequence[Attachment]]:
        """The attachments of messages, by the message's row id and in the messages' order."""
        ...

    async def place(self, attachment: int) -> ConversationKey | None:
        """The conversation of an attachment; None once it is deleted."""
        ...

    async def sender(self, attachment: int) -> tuple[ConversationKey, str] | None:
        """The conversation and the author's id of an attachment; None once it is deleted."""
        ...

    async def save_bytes(self, attachment: int, download: Download) -> str | None:
        """Store an attachment's bytes, and return their digest; None once it is deleted or omitted.

        The download's name and media type replace a missing one, and its locator is forgotten
        (a link keeps it). If the bytes have an extract from another message, the attachment is
        READY immediately. A large file is stored in small commits, and appears with the last.
        """
        ...

    async def save_extract(self, digest: str, extract: Extract) -> None:
        """Store what was read from these bytes; all PENDING attachments with them become READY.

        Nothing if the bytes were deleted. Another extract is replaced.
        """
        ...

    async def omit(self, attachment: int, omission: Omission) -> None:
        """End an attachment that cannot be used, also a READY one. Its bytes stay."""
        ...

    async def read_bytes(self, digest: str) -> bytes | None:
        """The stored bytes; None once they are deleted."""
        ...

    async def read_extract(self, digest: str) -> Extract | None:
        """The stored extract, images included; None without one.

        Also None if an older version of the parsers made it: then the bytes are read again.
        """
        ...


class AttachmentProgress(Protocol):
    """The work on attachments, as the inbox and the turns see it."""

    def wake(self, platform: str) -> None:
        """Start on the platform's pending attachments; safe to call at any time, repeatedly."""
        ...

    async def wait(self, messages: Sequence[int], seconds: float) -> None:
        """Return once the attachments of these messages are final, or after `seconds`."""
        ...


class Extractor(Protocol):
    """Turns bytes into text and images, in a process with limits."""

    async def extract(self, name: str, media_type: str, data: bytes) -> Extract:
        """Read a file, whatever it claims to be. Raises AttachmentError."""
        ...

    async def aclose(self) -> None:
        """End the worker processes."""
        ...


class LinkReader(Protocol):
    """Downloads pages that people link to, from public addresses only."""

    async def download(self, url: str, *, limit: int) -> Download:
        """The body behind `url`, of at most `limit` bytes. Raises AttachmentError."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class Transcriber(Protocol):
    """Turns speech into text."""

    @property
    def name(self) -> str:
        """The model's name from the settings."""
        ...

    async def transcribe(self, name: str, media_type: str, data: bytes) -> str:
        """The spoken words. Raises AttachmentError."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
