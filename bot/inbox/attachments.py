"""Prepares the files and links of a message before the message is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bot.content.links import links_in
from bot.domain.attachments import IncomingAttachment, Omission
from bot.domain.inbox import Address, Incoming
from bot.ports.attachments import AttachmentProgress
from bot.ports.platform import Adapter


@dataclass(frozen=True, slots=True)
class AttachmentIntake:
    """Adds the links of questions, and marks attachments beyond the limits.

    `max_files` and `max_links` are per message; with 0, none are read.
    """

    progress: AttachmentProgress
    adapters: Mapping[str, Adapter]
    max_files: int = 10
    max_links: int = 3

    def prepare(self, incoming: Incoming) -> Incoming:
        """Return the message with all its attachments; pure."""
        given = incoming.attachments
        files = [each for each in given if not each.is_link]
        links = [each for each in given if each.is_link] + self._links_in(incoming)
        if not files and not links:
            return incoming
        kept = (*_limited(files, self.max_files), *_limited(links, self.max_links))
        return replace(incoming, attachments=kept)

    def _links_in(self, incoming: Incoming) -> list[IncomingAttachment]:
        if not self.max_links or incoming.address is Address.ASIDE:
            return []
        skip = self.adapters[incoming.key.platform].is_own_link
        return list(links_in(incoming.text, limit=self.max_links, skip=skip))

    def wake(self, incoming: Incoming) -> None:
        """Start processing the attachments that were stored with the message."""
        if incoming.attachments:
            self.progress.wake(incoming.key.platform)


def _limited(attachments: Sequence[IncomingAttachment], limit: int) -> list[IncomingAttachment]:
    """Mark the attachments beyond the limit: they lose their bytes and get the reason."""
    omission = Omission.TOO_MANY if limit else Omission.UNSUPPORTED
    return [
        each
        if number < limit or each.omission is not None
        else replace(each, omission=omission, data=None)
        for number, each in enumerate(attachments)
    ]
