"""Files and links that people attach to messages: as they arrive, as stored, and as text.

Three steps, each stored before the next: an adapter reports an `IncomingAttachment`, its bytes are
downloaded, and a parser turns them into an `Extract`, which is what a model gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bot.domain.conversations import ImagePart

EXTRACT_VERSION = 1
"""Raised when parsers improve: the store returns no extract of an older version."""


class AttachmentKind(StrEnum):
    """What a file turned out to contain; its declared type may be wrong."""

    TEXT = "text"  # plain text, code, logs, CSV, JSON: shown in a fence
    DOCUMENT = "document"  # PDF, Office, HTML, e-mail …: converted to Markdown
    IMAGE = "image"
    AUDIO = "audio"  # its text is a transcript


class AttachmentState(StrEnum):
    """How far an attachment has come. Every state but PENDING is final."""

    PENDING = "pending"  # not downloaded or not read yet; a restart continues
    READY = "ready"  # it has an extract
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"  # damaged, encrypted, empty, or too costly to read
    REFUSED = "refused"  # an unsupported kind, a forbidden address, or refused by the model
    SKIPPED = "skipped"  # one too many
    UNAVAILABLE = "unavailable"  # could not be downloaded


class Omission(StrEnum):
    """Why a model gets nothing of an attachment. `bot.domain.attachment_labels` has the words."""

    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    UNSUPPORTED = "unsupported"
    EMPTY = "empty"
    DAMAGED = "damaged"
    ENCRYPTED = "encrypted"
    NO_TEXT = "no_text"  # only scanned pages or pictures, and nothing that can be shown
    EXPANDS = "expands"  # a compression bomb: small on disk, huge when unpacked
    TOO_COSTLY = "too_costly"  # the parser ran into its limit of CPU time or memory
    GONE = "gone"
    NO_ACCESS = "no_access"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    FORBIDDEN_ADDRESS = "forbidden_address"  # a private network, or a host that settings exclude
    NO_SPEECH = "no_speech"
    NO_TRANSCRIPTION = "no_transcription"  # no model for speech is configured
    NO_BUDGET = "no_budget"  # nothing may be spent on a transcript at the moment
    MODEL_CANNOT_SEE = "model_cannot_see"
    MODEL_REFUSED = "model_refused"  # the model's server rejected this very image

    @property
    def state(self) -> AttachmentState:
        """The state of an attachment that is omitted for this reason."""
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

    `name` is shown to people and the model and is never a path. `media_type` and `size` (bytes) are
    what the platform says. `locator` is what `Adapter.download` needs; a link's is {"url": …}.
    `identity` is the platform's id of the file, so that an edit can keep it. `data`: the bytes, if
    they came with the message. `transcript` is the platform's own text of speech.
    """

    name: str
    media_type: str = ""
    size: int | None = None
    locator: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""
    data: bytes | None = None
    digest: str = ""  # the SHA-256 of `data` in hex, where it is known already
    transcript: str = ""
    is_link: bool = False  # an address in the text, which the core downloads
    is_paste: bool = False  # the platform made a file of a long message: it reads as the message
    is_voice: bool = False  # recorded in the platform's client
    omission: Omission | None = None  # the adapter knows that it cannot be used


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A stored attachment. `message` is its message's row id, `number` its place there from 0.

    `digest` is the SHA-256 of its bytes in hex, None until they are stored; equal bytes are stored
    once. `omission` is set in every final state but READY. `size` (bytes) is what the platform
    says until the bytes are stored. `locator` is {} once it is not needed, because it may have
    secrets; a link keeps it.
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
    characters: int | None = None  # of its text, once that was read


@dataclass(frozen=True, slots=True)
class Download:
    """Downloaded bytes; `media_type` and `name` as the server gave them, "" if it did not."""

    data: bytes
    media_type: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """What a model gets of a file.

    `media_type` is the detected one. `language` is the name for a fence around `text`; "" for
    Markdown. `images` are the scaled picture, or scanned pages. `notes` are sentences for people
    about what is left out ("Pages 4–7 have no text.").
    """

    kind: AttachmentKind
    media_type: str
    text: str = ""
    language: str = ""
    title: str = ""
    date: str = ""  # of a web page or e-mail, as written there
    images: tuple[ImagePart, ...] = ()
    notes: tuple[str, ...] = ()
