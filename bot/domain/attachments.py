"""Files and links attached to messages: as they arrive, as stored, and as extracted text.

An attachment passes through three steps, each stored before the next: an adapter reports an
`IncomingAttachment`, the bot downloads its bytes, and a parser turns them into the `Extract` that
the model gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bot.domain.conversations import ImagePart

EXTRACT_VERSION = 1
"""Raise this when a parser improves: the store ignores extracts of older versions."""


class AttachmentKind(StrEnum):
    """The kind of file, detected from its content because the declared type may be wrong."""

    TEXT = "text"  # plain text, code, logs, CSV, JSON: shown in a fence
    DOCUMENT = "document"  # PDF, Office, HTML, e-mail …: converted to Markdown
    IMAGE = "image"
    AUDIO = "audio"  # the extract's text is a transcript


class AttachmentState(StrEnum):
    """The processing state of an attachment. Every state but PENDING is final."""

    PENDING = "pending"  # not downloaded or not parsed yet; continues after a restart
    READY = "ready"  # an extract is stored
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"  # damaged, encrypted, empty, or too costly to read
    REFUSED = "refused"  # unsupported kind, forbidden address, or rejected by the model
    SKIPPED = "skipped"  # beyond the limit on attachments
    UNAVAILABLE = "unavailable"  # could not be downloaded


class Omission(StrEnum):
    """Why an attachment does not reach the model. `bot.domain.attachment_labels` has the
    wording."""

    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    UNSUPPORTED = "unsupported"
    EMPTY = "empty"
    DAMAGED = "damaged"
    ENCRYPTED = "encrypted"
    NO_TEXT = "no_text"  # only scanned pages or pictures, none of which can be shown
    EXPANDS = "expands"  # a compression bomb: small on disk, huge when unpacked
    TOO_COSTLY = "too_costly"  # the parser reached its CPU or memory limit
    GONE = "gone"
    NO_ACCESS = "no_access"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    FORBIDDEN_ADDRESS = "forbidden_address"  # a private network, or a host excluded in the settings
    NO_SPEECH = "no_speech"
    NO_TRANSCRIPTION = "no_transcription"  # no speech model is configured
    NO_BUDGET = "no_budget"  # the budget has no room for a transcription at the moment
    MODEL_CANNOT_SEE = "model_cannot_see"
    MODEL_REFUSED = "model_refused"  # the model's server rejected this image

    @property
    def state(self) -> AttachmentState:
        """The state of an attachment omitted for this reason."""
        return _STATES.get(self, AttachmentState.UNREADABLE)


_STATES: Mapping[Omission, AttachmentState] = {
    Omission.TOO_LARGE: AttachmentState.TOO_LARGE,
    Omission.EXPANDS: AttachmentState.TOO_LARGE,
    Omission.TOO_MANY: AttachmentState.SKIPPED,
    Omission.UNSUPPORTED: AttachmentState.REFUSED,
    Omission.FORBIDDEN_ADDRESS: AttachmentState.REFUSED,
    Omission.NO_TRANSCRIPTION: AttachmentState.REFUSED,
    Omission.NO_BUDGET: AttachmentState.REFUSED,
    Omission.MODEL_CANNOT_SEE: AttachmentState.REFUSED,
    Omission.MODEL_REFUSED: AttachmentState.REFUSED,
    Omission.GONE: AttachmentState.UNAVAILABLE,
    Omission.NO_ACCESS: AttachmentState.UNAVAILABLE,
    Omission.UNREACHABLE: AttachmentState.UNAVAILABLE,
    Omission.TIMED_OUT: AttachmentState.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingAttachment:
    """A file or link of an incoming message.

    People and the model see `name`, which is never a path. `media_type` and `size` (bytes) come
    from the platform. `locator` holds what `Adapter.download` needs; for a link it is {"url": …}.
    `identity` is the platform's id of the file, by which an edit recognizes a file it keeps.
    `data` holds the bytes if they came with the message. `transcript` is the platform's own
    transcript of speech.
    """

    name: str
    media_type: str = ""
    size: int | None = None
    locator: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""
    data: bytes | None = None
    digest: str = ""  # SHA-256 of `data` in hex, if already known
    transcript: str = ""
    is_link: bool = False  # a URL in the text, downloaded by the core
    is_paste: bool = False  # a long message that the platform made a file; treated as text
    is_voice: bool = False  # recorded in the platform's client
    omission: Omission | None = None  # set if the adapter knows that it is unusable


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A stored attachment. `message` is the row id of its message, `number` its position there from
    0.

    `digest` is the SHA-256 of the bytes in hex, or None until they are stored; equal bytes are
    stored once. `omission` is set in every final state but READY. Until the bytes are stored,
    `size` (bytes) is the platform's claim. `locator` may hold secrets, so it becomes {} when it is
    no longer needed, except for links.
    """

    id: int
    uid: str
    message: int
    number: int
    name: str
    media_type: str
    size: int | None
    locator: Mapping[str, str]
    state: AttachmentState
    omission: Omission | None = None
    digest: str | None = None
    transcript: str = ""
    is_link: bool = False
    is_paste: bool = False
    is_voice: bool = False
    characters: int | None = None  # length of the extracted text, once it was read


@dataclass(frozen=True, slots=True)
class Download:
    """Downloaded bytes. `media_type` and `name` are as the server sent them, "" if it sent none."""

    data: bytes
    media_type: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """The text and images that a model gets of a file.

    `media_type` is the detected type. `language` names the language of the fence around `text`; ""
    means Markdown. `images` holds the scaled picture or the scanned pages. `notes` are sentences
    that tell people what was left out ("Pages 4–7 have no text.").
    """

    kind: AttachmentKind
    media_type: str
    text: str = ""
    language: str = ""
    title: str = ""
    date: str = ""  # date of a web page or e-mail, as written there
    images: tuple[ImagePart, ...] = ()
    notes: tuple[str, ...] = ()
