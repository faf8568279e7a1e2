"""The files and links of one turn's questions: waits for them and drops refused images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.context.attachments import AttachmentContext
from bot.context.budgets import MAX_IMAGES
from bot.context.excerpts import ExcerptCache, excerpt_cache
from bot.domain import attachment_labels as words
from bot.domain.attachments import (
    Attachment,
    AttachmentState,
    Omission,
)
from bot.domain.turns import Claim
from bot.ports.attachments import AttachmentProgress, AttachmentStore
from bot.replies.markdown.escape import escape

_AGAIN = re.compile(
    r"\b(?:files?|images?|pictures?|screenshots?|photos?|documents?|attachments?|links?|pdfs?|logs?)"
    r"\W+again\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class AttachmentPorts:
    """Where a turn finds attachments, and how long it waits for them."""

    store: AttachmentStore
    progress: AttachmentProgress
    wait_seconds: float = 45.0
    cache: ExcerptCache = field(default_factory=excerpt_cache)


class TurnAttachments:
    """The attachments of one turn's questions."""

    def __init__(self, ports: AttachmentPorts, claim: Claim) -> None:
        self._ports, self._claim = ports, claim
        self._of_questions: list[Attachment] = []
        self._patience = ports.wait_seconds  # seconds left for files above the questions
        self.no_images = ""  # why images are left out; "" means that they are sent
        self.max_images = MAX_IMAGES  # the limit of the model's server

    async def arrive(self) -> None:
        """Wait until the attachments are read, but not too long."""
        ids = [question.id for question in self._claim.asked if question.has_attachments]
        if not ids:
            return
        await self._ports.progress.wait(ids, self._ports.wait_seconds)
        found = await self._ports.store.of_messages(ids)
        self._of_questions = [each for group in found.values() for each in group]
        if any(each.state is AttachmentState.PENDING for each in self._of_questions):
            self._patience = 0.0  # the whole time has been used

    async def arrive_above(self, messages: Sequence[int]) -> Mapping[int, Sequence[Attachment]]:
        """The attachments of messages above the questions, after waiting for the rest of the time.

        The questions are about them; for example, a mention stands below an alert.
        """
        patience, self._patience = self._patience, 0.0
        if patience:
            await self._ports.progress.wait(messages, patience)
        return await self._ports.store.of_messages(messages)

    @property
    def has_any(self) -> bool:
        """Whether the questions have attachments."""
        return bool(self._of_questions)

    def unread(self) -> Sequence[str]:
        """One sentence about the attachments, when none of them can be read."""
        pairs = [(each, words.why_not(each)) for each in self._of_questions]
        return [escape(words.not_read(pairs))]

    @property
    def can_be_read(self) -> bool:
        """Whether a question without text has something that a model can read."""
        return any(each.state is AttachmentState.READY for each in self._of_questions)

    async def spoken(self) -> str:
        """The transcripts of voice messages, for the line above the answer."""
        heard = [each for each in self._of_questions if each.is_voice and each.digest]
        texts = []
        for each in heard:
            extract = await self._ports.store.read_extract(each.digest or "")
            if extract is not None and extract.text:
                texts.append(escape(words.spoken(extract.text)))
        return " ".join(texts)

    def context(self, usual_budget: int) -> AttachmentContext:
        """Create one request's attachment context; `usual_budget` limits requests to this model."""
        return AttachmentContext(
            store=self._ports.store,
            arrive_above=self.arrive_above,
            questions=frozenset(question.id for question in self._claim.asked),
            usual_budget=usual_budget,
            asks_again=asks_again,
            may_ask_again=may_ask_again,
            no_images=self.no_images,
            max_images=self.max_images,
            cache=self._ports.cache,
        )

    async def refuse_images(self, sent: Sequence[Attachment]) -> None:
        """Send none of the images in `sent` again, because the model's server rejected one."""
        for each in sent:
            await self._ports.store.omit(each.id, Omission.MODEL_REFUSED)


def asks_again(asked: str, attachment: Attachment) -> bool:
    """Whether a message asks for an earlier attachment, by its name or as "the file again"."""
    name = attachment.name.lower()
    stem = name.rpartition(".")[0] or name
    text = asked.lower()
    return bool(_AGAIN.search(asked)) or name in text or (len(stem) > 3 and stem in text)


def may_ask_again(text: str) -> bool:
    """Whether a message may ask for a file that is above the window.

    Looks for the word "again", or for a letter after a dot, as in most file names. Every message of
    a window is tested in every turn, so the test is fast rather than exact.
    """
    if any(piece[:1].isalpha() for piece in text.split(".")[1:]):
        return True
    return "again" in text.lower() and bool(_AGAIN.search(text))
