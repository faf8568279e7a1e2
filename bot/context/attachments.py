"""Adds attachments to the messages of one request: complete, in part, or as a stub.

A file is new to the model until a reply follows it. New files share three quarters of the context;
files of earlier turns stay complete while they fit into a quarter, because people go on asking
about them. See docs/decisions/2026-11-29-files-in-the-context.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.context.window import shorten
from bot.domain import attachment_labels as words
from bot.domain.attachments import (
    Attachment,
    AttachmentKind,
    AttachmentState,
    Extract,
    Omission,
)
from bot.domain.conversations import ImagePart, Message, Role
from bot.domain.tokens import ASCII_CHARACTERS_PER_TOKEN, count_up_to, image_tokens
from bot.ports.attachments import AttachmentStore
from bot.replies.markdown.escape import escape

MIN_FILE_TOKENS = 50
"""A shorter excerpt of a file would be useless."""


@dataclass(slots=True)
class _File:
    """An attachment that the model gets completely, or as much of it as fits."""

    attachment: Attachment
    extract: Extract
    text: str
    images: tuple[ImagePart, ...] = ()


@dataclass(slots=True)
class AttachmentContext:
    """Adds attachments to the messages of one request, newest message first."""

    store: AttachmentStore
    arrive_above: Callable[[Sequence[int]], Awaitable[Mapping[int, Sequence[Attachment]]]]
    questions: frozenset[int]
    new_tokens: int
    earlier_tokens: int
    asks_again: Callable[[Attachment], bool]
    no_images: str
    max_images: int | None = None
    sent_images: list[Attachment] = field(default_factory=list)
    image_count: int = 0
    _included: set[str] = field(default_factory=set)  # the digests of files in the request
    _is_new: bool = True
    _not_read: list[tuple[Attachment, str]] = field(default_factory=list)
    _in_part: dict[int, tuple[Attachment, list[str]]] = field(default_factory=dict)
    _left_images: bool = False

    async def expand(self, rows: Sequence[Message]) -> list[Message]:
        """The messages with their attachments; call it with older rows each time."""
        ids = [row.id for row in rows if row.has_attachments]
        found = await self.store.of_messages(ids) if ids else {}
        if late := [row.id for row in self._new_among(rows) if _is_pending(found.get(row.id, ()))]:
            found = {**found, **await self.arrive_above(late)}
        expanded = []
        for row in rows:
            if row.role is Role.ASSISTANT:
                self._is_new = False
            attachments = found.get(row.id, ())
            expanded.append(await self._expand_one(row, attachments) if attachments else row)
        return expanded

    def _new_among(self, rows: Sequence[Message]) -> Sequence[Message]:
        """The messages that no reply follows, of rows from the newest to older ones."""
        ends = (n for n, row in enumerate(rows) if row.role is Role.ASSISTANT)
        return rows[: next(ends, len(rows))] if self._is_new else ()

    def sentences(self) -> Sequence[str]:
        """The sentences about the questions' attachments, for the end of the reply."""
        said = [words.not_read(self._not_read), words.read_in_part(self._in_part.values())]
        said.append(self.no_images if self._left_images else "")
        return [escape(sentence) for sentence in said if sentence]

    # ── one message ───────────────────────────────────────────────────────────────────────────
    async def _expand_one(self, row: Message, attachments: Sequence[Attachment]) -> Message:
        files = [file for each in attachments if (file := await self._open(row, each)) is not None]
        self._choose_images(row, files)
        self._fit_texts(row, files)
        opened = {file.attachment.id: file for file in files}
        texts = [row.content]
        parts: list[ImagePart] = []
        for each in attachments:
            file = opened.get(each.id)
            texts.append(self._describe(row, each, file))
            parts += file.images if file is not None else ()
        content = "\n\n".join(text for text in texts if text)
        return replace(row, content=content, parts=(*row.parts, *parts))

    def _is_wanted(self, row: Message, attachment: Attachment) -> bool:
        if attachment.state is not AttachmentState.READY:
            return False
        if self._is_new or row.id in self.questions or attachment.is_paste or attachment.is_voice:
            return True
        room = ASCII_CHARACTERS_PER_TOKEN * self.earlier_tokens
        return (attachment.characters or 0) <= room > 0 or self.asks_again(attachment)

    async def _open(self, row: Message, attachment: Attachment) -> _File | None:
        """The attachment's content; None if it is not read, repeated, or too long to be repeated.

        People attach the same file again, and replying to a message brings its files along.
        """
        digest = attachment.digest or ""
        if digest in self._included or not self._is_wanted(row, attachment):
            return None
        extract = await self.store.read_extract(digest)
        file = None if extract is None else self._choose(attachment, extract)
        if file is not None:
            self._included.add(digest)
        return file

    def _choose(self, attachment: Attachment, extract: Extract) -> _File | None:
        """The file, unless it is an earlier one for which there is no room."""
        file = _File(attachment, extract, extract.text, extract.images)
        if self._is_new or self.asks_again(attachment):
            return file
        images = () if self.no_images else extract.images
        cost = count_up_to(extract.text, self.earlier_tokens) + sum(map(image_tokens, images))
        if cost > self.earlier_tokens:
            return None
        self.earlier_tokens -= cost
        return file

    def _choose_images(self, row: Message, files: Sequence[_File]) -> None:
        """Keep the images that the model sees and that fit."""
        for file in files:
            if not file.images:
                continue
            if self.no_images:
                self._left_images = self._left_images or row.id in self.questions
                file.images = ()
                continue
            fitting: list[ImagePart] = []
            for image in file.images:
                cost = image_tokens(image)
                if self._has_room(cost):
                    self.new_tokens -= cost
                    self.image_count += 1
                    fitting.append(_named(image, file.attachment))
            if len(fitting) < len(file.images):
                self._note(
                    row, file.attachment, words.images_left_out(len(file.images) - len(fitting))
                )
            file.images = tuple(fitting)
            if fitting:
                self.sent_images.append(file.attachment)

    def _has_room(self, cost: int) -> bool:
        """Whether one more image of `cost` tokens fits; the newest one always does."""
        if self.max_images is not None and self.image_count >= self.max_images:
            return False
        return cost <= self.new_tokens or not self.image_count

    def _fit_texts(self, row: Message, files: Sequence[_File]) -> None:
        """Share the room for texts: short files are complete, long ones get equal parts."""
        room = max(self.new_tokens, MIN_FILE_TOKENS * len(files))
        costs = sorted(((count_up_to(f.text, room), f) for f in files if f.text), key=_cost)
        for position, (cost, file) in enumerate(costs):
            share = max(MIN_FILE_TOKENS, max(0, self.new_tokens) // (len(costs) - position))
            if cost > share:
                file.text = shorten(file.text, share)
                self._note(row, file.attachment, words.SHORTENED)
            self.new_tokens -= min(cost, share)

    def _describe(self, row: Message, attachment: Attachment, file: _File | None) -> str:
        """The text that stands for an attachment in its message."""
        if file is None:
            return self._describe_absent(row, attachment)
        self._note(row, attachment, *file.extract.notes)
        if attachment.is_paste:
            return file.text
        if file.extract.kind is AttachmentKind.AUDIO:
            said = words.voice_text if attachment.is_voice else words.recording_text
            return said(attachment, file.text)
        shown = [words.file_text(attachment, file.extract, file.text)] if file.text else []
        if file.images:
            shown.append(words.image_text(attachment, len(file.images)))
        elif file.extract.images:
            shown.append(words.missing(attachment, words.reason(Omission.MODEL_CANNOT_SEE)))
        return "\n\n".join(shown)

    def _describe_absent(self, row: Message, attachment: Attachment) -> str:
        if attachment.digest in self._included:
            return words.repeated(attachment)
        if attachment.state is AttachmentState.READY:
            return words.stub(attachment)
        why = words.why_not(attachment)
        if row.id in self.questions:
            self._not_read.append((attachment, why))
        return words.missing(attachment, why)

    def _note(self, row: Message, attachment: Attachment, *notes: str) -> None:
        if notes and row.id in self.questions:
            self._in_part.setdefault(attachment.id, (attachment, []))[1].extend(notes)


def _is_pending(attachments: Sequence[Attachment]) -> bool:
    return any(each.state is AttachmentState.PENDING for each in attachments)


def _cost(pair: tuple[int, _File]) -> int:
    return pair[0]


def _named(image: ImagePart, attachment: Attachment) -> ImagePart:
    """The image with the name of its file in the label."""
    label = ", ".join(filter(None, (words.shown_name(attachment), image.label)))
    return replace(image, label=label)
