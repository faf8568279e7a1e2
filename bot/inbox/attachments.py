"""What the inbox does with the files and links of a message before it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.content.links import links_in
from bot.domain.attachments import IncomingAttachment, Omission
from bot.domain.inbox import Address, Incoming
from bot.ports.attachments import AttachmentProgress
from bot.ports.platform import Adapter


@dataclass(frozen=True, slots=True)
class AttachmentIntake:
    """Adds the links of questions, and marks what is beyond the limits.

    `max_files` and `max_links` are per message; 0 reads none.
    """

    progress: AttachmentProgress
    adapters: Mapping[str, Adapter]
    max_files: int = 10
    max_links: int = 3

    def prepare(self, incoming: Incoming) -> Incoming:
        """The message with everything that it brings; pure."""
        files = [self._limited(number, file) for number, file in enumerate(incoming.attachments)]
        links: tuple[IncomingAttachment, ...] = ()
        if self.max_links and incoming.address is not Address.ASIDE:
            skip = self.adapters[incoming.key.platform].is_own_link
            links = links_in(incoming.text, limit=self.max_links, skip=skip)
        if not files and not links:
            return incoming
        return replace(incoming, attachments=(*files, *links))

    def _limited(self, number: int, file: IncomingAttachment) -> IncomingAttachment:
        if file.omission is not None or number < self.max_files:
            return file
        omission = Omission.TOO_MANY if self.max_files else Omission.UNSUPPORTED
        return replace(file, omission=omission, data=None)

    def wake(self, incoming: Incoming) -> None:
        """Start on what was stored with the message."""
        if incoming.attachments:
            self.progress.wake(incoming.key.platform)
