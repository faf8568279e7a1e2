"""A reply as it should look, as the platform shows it, and the requests that connect the two."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum


@dataclass(frozen=True, slots=True)
class File:
    """A text to upload as a file; `name` is a plain file name, never a path."""

    name: str
    text: str

    @property
    def data(self) -> bytes:
        """The text in UTF-8; lone surrogates are replaced."""
        return self.text.encode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class FileRules:
    """When a code block is uploaded as a file: if it fills at least `from_pages` pages.

    `most_bytes` is the largest file, which may be exceeded by one page of text.
    """

    from_pages: int
    most_bytes: int

    @classmethod
    def from_setting(cls, messages: int, most_bytes: int) -> FileRules | None:
        """The rules for the setting FILE_FROM_MESSAGES; None if it is 0 (never)."""
        return cls(messages, most_bytes) if messages else None


@dataclass(frozen=True, slots=True)
class Page:
    """The part of a reply that one platform message shows.

    `text` is self-contained Markdown: fences are closed and reopened, unfinished markup is mended.
    `stable` is its longest prefix that later text cannot change, for surfaces that only append.
    `start` and `end` are its range in the reply's source.

    A `sealed` page is full and never changes. A `provisional` page is also full, but shows a part
    of an open code block: if the block becomes a file, the page is removed, and the page where the
    block begins changes even in its stable part. With a `file`, `text` is the caption.
    """

    text: str
    stable: str
    start: int
    end: int
    sealed: bool
    provisional: bool = False
    file: File | None = None

    @property
    def full(self) -> bool:
        """Whether further text goes to the next page."""
        return self.sealed or self.provisional


class Control(StrEnum):
    """An action that people can take on a reply; surfaces show a frame's controls as buttons."""

    STOP = "stop"
    RETRY = "retry"
    CONTINUE = "continue"
    FEEDBACK = "feedback"  # thumbs up and down


@dataclass(frozen=True, slots=True)
class Frame:
    """A reply at one moment.

    All pages but the last are sealed or, at the end, provisional; all pages of a `final` frame are
    sealed. `source` is the Markdown document, for surfaces that show it in one piece. `whole`: the
    pages reach the document's end, so messages beyond them can be removed. `queued`: the pages show
    only a note, because the reply still waits for a slot.
    """

    pages: tuple[Page, ...]
    final: bool
    controls: tuple[Control, ...] = ()
    source: str = ""
    whole: bool = False
    queued: bool = False


@dataclass(frozen=True, slots=True)
class ShownPage:
    """A message of the reply on the platform.

    `text` is the text that was sent, None for a recovered page. `end` is how much of the reply's
    source it shows; `sealed`: it is full. A `streaming` page takes only appends until it is closed.
    """

    number: int
    message_id: str
    channel: str
    text: str | None
    end: int = 0
    sealed: bool = False
    controls: tuple[Control, ...] = ()
    streaming: bool = False
    file: File | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What the platform shows of a reply now."""

    pages: tuple[ShownPage, ...] = ()
    closed: bool = False  # nothing is left to do on the platform


class Action(Enum):
    """The kind of a request."""

    @property
    def posts(self) -> bool:
        """Whether it creates a message."""
        return self in (Action.POST, Action.START)

    POST = "post"
    EDIT = "edit"
    START = "start"  # post a page that takes appends until it is closed
    APPEND = "append"
    REMOVE = "remove"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the platform, which brings the shown pages closer to a frame.

    `text` is rendered for the platform; with a `file` it is the caption. `page` counts from 0.
    After the request, the page shows the reply's source up to `end`, and is full if `sealed`.

    `scopes` are the rate limits that the request counts against, narrowest first. `keeps` are the
    limits in which one request stays reserved for the reply's end (None: as before), and `grows` is
    the limit that the next requests count against. `otherwise` is a request to send instead if this
    one would have to wait for long. `queued` is the frame's, for surfaces that show it.
    """

    action: Action
    page: int
    scopes: tuple[str, ...]
    text: str = ""
    message_id: str | None = None
    end: int = 0
    sealed: bool = False
    final: bool = False
    controls: tuple[Control, ...] = ()
    file: File | None = None
    keeps: tuple[str, ...] | None = None
    grows: str | None = None
    otherwise: Request | None = None
    queued: bool = False

    def costs_as(self, other: Request) -> bool:
        """Whether both count against the same rate limits."""
        return self.scopes == other.scopes and self.keeps == other.keeps


class Priority(IntEnum):
    """The order in which the rate limiter admits requests (invariant 7); lower goes first."""

    FINAL = 0
    CONTROL = 1
    FIRST = 2
    INTERIM = 3
    BACKGROUND = 4


class Pace(Enum):
    """How interim requests spend a budget; more urgent ones take any request that is free."""

    EVEN = "even"  # an even gap apart, so that an ending waits for one gap at most
    FORECAST = "forecast"  # over the time for which replies are expected to grow
    NONE = "none"  # immediately


@dataclass(frozen=True, slots=True)
class Limit:
    """A budget: at most `count` requests in any `seconds`.

    `then` is the scope that replies continue with when this one is used up. `divided`: all
    processes of the bot use it at the same time, so each one has a part.
    """

    count: int
    seconds: float
    pace: Pace = Pace.EVEN
    then: str | None = None
    divided: bool = False


@dataclass(frozen=True, slots=True)
class ReplyOwner:
    """The person for whom a reply is written, and their workspace with its platform."""

    workspace: str
    person: str


@dataclass(eq=False, slots=True)
class Reservation:
    """What one reply holds of its account's budget; the rate limiter changes it.

    `began` is the time of its first text; `keeps` are the scopes of which one request is reserved
    for its end, and `grows` is the scope that its interim requests cost. `is_shown`: its first text
    was sent. When the reply was announced, its owner had `own` other replies, and other people of
    the workspace had `neighbors`.
    """

    owner: ReplyOwner | None = None
    own: int = 0
    neighbors: int = 0
    began: float | None = None
    keeps: tuple[str, ...] = ()
    grows: str | None = None
    is_shown: bool = False
    over: bool = False
