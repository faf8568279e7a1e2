"""The ports for attachments: storage, parsers, links and speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bot.domain.attachments import Attachment, Download, Extract, Omission
from bot.domain.conversations import ConversationKey


class AttachmentStore(Protocol):
    """Attachments, their bytes and their extracts; methods raise StoreUnavailable.

    `Store.accept` and `Store.edit` insert attachments. Deleting a message, a conversation or a
    person's data deletes its attachments, and the bytes that no other attachment shares.
    """

    async def pending(self, platform: str, *, limit: int) -> Sequence[Attachment]:
        """The platform's attachments in state PENDING, oldest first."""
        ...

    async def claim(self, attachment: int) -> bool | None:
        """Whether this process may read the attachment; None if it is no longer PENDING.

        False while another living process is reading it. The claims of a process end when it dies.
        """
        ...

    async def of_messages(self, messages: Sequence[int]) -> Mapping[int, Sequence[Attachment]]:
        """The attachments of messages, in order, by the row id of the message."""
        ...

    async def place(self, attachment: int) -> ConversationKey | None:
        """The conversation of an attachment; None once it is deleted."""
        ...

    async def sender(self, attachment: int) -> tuple[ConversationKey, str] | None:
        """The conversation and the author's id of an attachment; None once it is deleted."""
        ...

    async def save_bytes(self, attachment: int, download: Download) -> str | None:
        """Store an attachment's bytes, and return their digest; None if it was deleted or omitted.

        The download's name and media type fill in missing ones. The locator is cleared, except for
        a link. If another message's attachment has the same bytes and an extract, this one is READY
        immediately. A large file is stored in several commits, and becomes visible with the last
        one.
        """
        ...

    async def save_extract(self, digest: str, extract: Extract) -> None:
        """Store what was read from these bytes; all PENDING attachments with them become READY.

        Does nothing if the bytes were deleted. Replaces an existing extract.
        """
        ...

    async def omit(self, attachment: int, omission: Omission) -> None:
        """End an attachment that cannot be used, even if it is READY. Its bytes stay stored."""
        ...

    async def read_bytes(self, digest: str) -> bytes | None:
        """The stored bytes; None once they are deleted."""
        ...

    async def read_extract(self, digest: str) -> Extract | None:
        """The stored extract, images included; None without one.

        Also None if an older version of the parsers produced it, so that the bytes are parsed
        again.
        """
        ...


class AttachmentProgress(Protocol):
    """Progress on attachments, as the inbox and the turns use it."""

    def wake(self, platform: str) -> None:
        """Start working on the platform's pending attachments; may be called repeatedly."""
        ...

    async def wait(self, messages: Sequence[int], seconds: float) -> None:
        """Return once the attachments of these messages are final, or after `seconds`."""
        ...


class Extractor(Protocol):
    """Turns bytes into text and images, in a process with limits."""

    async def extract(self, name: str, media_type: str, data: bytes) -> Extract:
        """Read a file, whatever type it claims to be. Raises AttachmentError."""
        ...

    async def aclose(self) -> None:
        """End the worker processes."""
        ...


class LinkReader(Protocol):
    """Downloads pages that people link to, only from public addresses."""

    async def download(self, url: str, *, limit: int) -> Download:
        """Download the body of `url`, at most `limit` bytes. Raises AttachmentError."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class Transcriber(Protocol):
    """Turns speech into text."""

    @property
    def name(self) -> str:
        """The name of the model, as in the settings."""
        ...

    async def transcribe(self, name: str, media_type: str, data: bytes) -> str:
        """Return the spoken words. Raises AttachmentError."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
