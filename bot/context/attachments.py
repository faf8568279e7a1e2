"""Adds attachments to the messages of one request: complete, in part, or as a stub.

Invariant: the form of an attachment depends on its message, on older messages and on the model's
usual budget, never on newer messages or on the remaining room. So a file keeps the form in which it
was first shown until the window moves, and providers' prompt caches keep matching. See
docs/decisions/2026-11-29-requests-keep-their-beginning.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.context.excerpts import (
    HUGE,
    MIN_FILE_TOKENS,
    Excerpt,
    ExcerptCache,
    ExcerptReader,
    brief_tokens,
)
from bot.context.omissions import Omissions
from bot.domain import attachment_labels as words
from bot.domain.attachments import (
    Attachment,
    AttachmentKind,
    AttachmentState,
    Omission,
)
from bot.domain.conversations import ImagePart, Message, Role
from bot.domain.tokens import ASCII_CHARACTERS_PER_TOKEN, image_tokens
from bot.ports.attachments import AttachmentStore

MESSAGE_SHARE = 0.75
"""The largest share of the budget for one message's attachments; the rest is for the text."""

RECALLED_MESSAGES = 100
"""How many messages back a message may ask again for a file."""


@dataclass(slots=True)
class AttachmentContext:
    """Adds attachments to the messages of one request.

    The attachments of one message share part of `usual_budget`, the largest request to the model.
    `asks_again` decides whether a text asks for an attachment of an earlier message,
    `may_ask_again` whether it could ask for any.
    """

    store: AttachmentStore
    arrive_above: Callable[[Sequence[int]], Awaitable[Mapping[int, Sequence[Attachment]]]]
    questions: frozenset[int]
    usual_budget: int
    asks_again: Callable[[str, Attachment], bool]
    may_ask_again: Callable[[str], bool]
    no_images: str
    max_images: int
    cache: ExcerptCache
    sent_images: list[Attachment] = field(default_factory=list)
    image_count: int = 0
    file_count: int = 0  # attachments included with their content
    _found: dict[int, Sequence[Attachment]] = field(default_factory=dict)
    _complete: set[str] = field(default_factory=set)  # digests included completely
    _indexes: dict[int, int] = field(default_factory=dict)  # of the loaded messages, by row id
    # The files that the request does not contain, with the indexes of their messages.
    _hidden: dict[str, tuple[int, Attachment]] = field(default_factory=dict)
    _omissions: Omissions = field(init=False)
    _excerpts: ExcerptReader = field(init=False)
    _images_from: int = 0

    def __post_init__(self) -> None:
        self._omissions = Omissions(self.questions)
        self._excerpts = ExcerptReader(self.store, self.cache)

    async def load(self, rows: Sequence[Message]) -> None:
        """Load the attachments of messages (oldest first), and wait for the newest ones."""
        self._indexes = {row.id: row.index for row in rows if row.has_attachments}
        if self._indexes:
            self._found = dict(await self.store.of_messages(list(self._indexes)))
        late = [row.id for row in new_among(rows) if _is_pending(self._found.get(row.id, ()))]
        if late:
            self._found.update(await self.arrive_above(late))

    def first_wanted(self, rows: Sequence[Message], stubs_before: int) -> int | None:
        """The lowest index whose files `rows` may ask for again; None if they ask for none."""
        for row in rows:
            first = max(0, row.index - RECALLED_MESSAGES)
            if first >= rows[0].index:
                return None
            is_asking = row.role is Role.USER and row.index >= stubs_before
            if is_asking and self.may_ask_again(row.content):
                return first
        return None

    def bodies(self, rows: Sequence[Message]) -> list[int]:
        """The indexes of the messages whose files would take less room as stubs."""
        return [
            row.index
            for row in rows
            if any(
                each.state is AttachmentState.READY and not _is_message(each)
                for each in self._found.get(row.id, ())
            )
        ]

    def has_long_words(self, row: Message) -> bool:
        """Whether a paste or voice message of `row` would be shortened as a stub."""
        long = HUGE * brief_tokens(self.usual_budget)
        return any(
            _is_message(each) and (each.characters or 0) > long
            for each in self._found.get(row.id, ())
        )

    async def expand(
        self, rows: Sequence[Message], *, stubs_before: int, images_from: int = 0
    ) -> list[Message]:
        """Add attachments to the messages, which are ordered oldest first.

        Messages below index `stubs_before` get stubs. Messages below `images_from` get no images,
        because newer messages have as many as the model accepts.
        """
        self.sent_images, self.image_count, self.file_count = [], 0, 0
        self._images_from = images_from
        self._complete, self._hidden = set(), self._find_above(rows)
        self._omissions = Omissions(self.questions)
        expanded = []
        for row in rows:
            attachments, is_stub = self._found.get(row.id, ()), row.index < stubs_before
            recalled = () if is_stub else self._recall(row)
            if attachments or recalled:
                expanded.append(await self._expand_one(row, attachments, recalled, is_stub))
            else:
                expanded.append(row)
        return expanded

    def sentences(self) -> Sequence[str]:
        """The sentences about the questions' attachments, to show at the end of the reply."""
        return self._omissions.sentences(self.no_images)

    @property
    def _room(self) -> int:
        """The tokens that the attachments of one message share."""
        return int(MESSAGE_SHARE * self.usual_budget)

    # ── one message ───────────────────────────────────────────────────────────────────────────
    async def _expand_one(
        self,
        row: Message,
        attachments: Sequence[Attachment],
        recalled: Sequence[Attachment],
        is_stub: bool,
    ) -> Message:
        opened = await self._open(attachments, recalled, is_stub)
        texts, parts = [row.content], list[ImagePart]()
        room = _Room(self._room, self.max_images if row.index >= self._images_from else 0)
        for each in (*attachments, *recalled):
            excerpt = opened.pop(each.digest or "", None)
            if excerpt is None:
                texts.append(self._describe_absent(row, each))
                continue
            self.file_count += 1
            images = self._choose_images(row, each, excerpt.extract.images, room)
            texts.append(self._describe(row, each, excerpt, len(images)))
            parts += images
        content = "\n\n".join(text for text in texts if text)
        return replace(row, content=content, parts=(*row.parts, *parts))

    def _find_above(self, rows: Sequence[Message]) -> dict[str, tuple[int, Attachment]]:
        """Files of the loaded messages above `rows`; the request includes them only if recalled."""
        first = rows[0].index if rows else 0
        return {
            each.digest: (self._indexes[message], each)
            for message, attachments in self._found.items()
            for each in attachments
            if self._indexes[message] < first
            and each.state is AttachmentState.READY
            and each.digest
        }

    def _recall(self, row: Message) -> Sequence[Attachment]:
        """The files above the request's messages that this message asks for again."""
        if row.role is not Role.USER:
            return ()
        return [
            each
            for index, each in self._hidden.values()
            if row.index - index <= RECALLED_MESSAGES and self.asks_again(row.content, each)
        ]

    async def _open(
        self, attachments: Sequence[Attachment], recalled: Sequence[Attachment], is_stub: bool
    ) -> dict[str, Excerpt]:
        """The contents to show, by digest: each file appears once per request."""
        wanted = [
            each.digest
            for each in (*attachments, *recalled)
            if each.state is AttachmentState.READY
            and each.digest
            and each.digest not in self._complete
            and (not is_stub or _is_message(each) or _is_short(each))
        ]
        opened: dict[str, Excerpt] = {}
        room = brief_tokens(self.usual_budget) if is_stub else self._room
        found = await self._excerpts.read(tuple(dict.fromkeys(wanted)), room)
        for digest, excerpt in found.items():
            if is_stub and excerpt.extract.images:
                continue
            opened[digest] = excerpt
            self._hidden.pop(digest, None)
            if not excerpt.is_shortened:
                self._complete.add(digest)
        return opened

    def _choose_images(
        self, row: Message, attachment: Attachment, images: Sequence[ImagePart], room: _Room
    ) -> Sequence[ImagePart]:
        """The images that the model can see and that fit into `room`."""
        if not images:
            return ()
        if self.no_images:
            self._omissions.left_images(row)
            return ()
        fitting = [_named(image, attachment) for image in images if room.take(image)]
        self.image_count += len(fitting)
        if len(fitting) < len(images):
            self._omissions.in_part(
                row, attachment, words.images_left_out(len(images) - len(fitting))
            )
        if fitting:
            self.sent_images.append(attachment)
        return fitting

    def _describe(self, row: Message, attachment: Attachment, excerpt: Excerpt, images: int) -> str:
        """The text that represents an attachment in its message."""
        extract = excerpt.extract
        self._omissions.in_part(
            row, attachment, *([words.SHORTENED] if excerpt.is_shortened else [])
        )
        self._omissions.in_part(row, attachment, *extract.notes)
        if attachment.is_paste:
            return extract.text
        if extract.kind is AttachmentKind.AUDIO:
            said = words.voice_text if attachment.is_voice else words.recording_text
            return said(attachment, extract.text)
        shown = [words.file_text(attachment, extract, extract.text)] if extract.text else []
        if images:
            shown.append(words.image_text(attachment, images))
        elif extract.images:
            why = Omission.MODEL_CANNOT_SEE if self.no_images else Omission.TOO_MANY
            shown.append(words.missing(attachment, words.reason(why)))
        return "\n\n".join(shown)

    def _describe_absent(self, row: Message, attachment: Attachment) -> str:
        if attachment.digest in self._complete:
            return words.repeated(attachment)
        if attachment.state is AttachmentState.READY:
            self._hidden.setdefault(attachment.digest or "", (row.index, attachment))
            return words.stub(attachment)
        why = words.why_not(attachment)
        self._omissions.not_read(row, attachment, why)
        return words.missing(attachment, why)


@dataclass(slots=True)
class _Room:
    """The room left for one message's images: tokens, and a number of images."""

    tokens: int
    images: int
    _is_empty: bool = True

    def take(self, image: ImagePart) -> bool:
        """Whether the image fits. The first one always fits, whatever it costs."""
        cost = image_tokens(image)
        fits = self.images > 0 and (cost <= self.tokens or self._is_empty)
        if fits:
            self.tokens, self.images, self._is_empty = self.tokens - cost, self.images - 1, False
        return fits


def new_among(rows: Sequence[Message]) -> Sequence[Message]:
    """The messages (oldest first) that no reply follows."""
    last = max((n for n, row in enumerate(rows) if row.role is Role.ASSISTANT), default=-1)
    return rows[last + 1 :]


def _is_message(attachment: Attachment) -> bool:
    """Whether the attachment is its author's own words, which stay with the message."""
    return attachment.is_paste or attachment.is_voice


def _is_short(attachment: Attachment) -> bool:
    return 0 < (attachment.characters or 0) <= ASCII_CHARACTERS_PER_TOKEN * MIN_FILE_TOKENS


def _is_pending(attachments: Sequence[Attachment]) -> bool:
    return any(each.state is AttachmentState.PENDING for each in attachments)


def _named(image: ImagePart, attachment: Attachment) -> ImagePart:
    """Add the file's name to the image's label."""
    label = ", ".join(filter(None, (words.shown_name(attachment), image.label)))
    return replace(image, label=label)
