"""A reply as it should look, as the platform shows it, and the requests in between."""

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
    """A code block that fills at least `from_pages` pages is uploaded as a file.

    `most_bytes` limits the size of a file; a file may exceed it by one page of text.
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
    """An action that people can take on a reply. Surfaces show a frame's controls as buttons."""

    STOP = "stop"
    RETRY = "retry"
    CONTINUE = "continue"
    FEEDBACK = "feedback"  # thumbs up and down


@dataclass(frozen=True, slots=True)
class Frame:
    """A reply at one moment.

    All pages but the last are sealed or, towards the end, provisional; if the frame is `final`, all
    are sealed. `source` is the Markdown document, for surfaces that show it in one piece. `whole`:
    the pages reach the end of the document, so messages beyond them can be removed. `queued`: the
    pages only show a note, because the reply is still waiting for a slot.
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

    `text` is the sent text, None for a recovered page. The page shows the reply's source up to
    `end`; a `sealed` page is full. A `streaming` page takes only appends until it is closed.
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
    """What the platform currently shows of a reply."""

    pages: tuple[ShownPage, ...] = ()
    closed: bool = False  # nothing is left to do on the platform


class Action(Enum):
    """The kind of a request."""

    @property
    def posts(self) -> bool:
        """Whether the request creates a message."""
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

    The request counts against the rate limits in `scopes`, narrowest first. In each limit in
    `keeps`, one request stays reserved for the end of the reply (None: as before). The requests
    that follow will count against `grows`. If this request would have to wait for long, `otherwise`
    is sent instead. `queued` is copied from the frame, for surfaces that show it.
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
        """Whether both requests count against the same rate limits."""
        return self.scopes == other.scopes and self.keeps == other.keeps


class Priority(IntEnum):
    """The order in which the rate limiter admits requests (invariant 7); lower goes first."""

    FINAL = 0
    CONTROL = 1
    FIRST = 2
    INTERIM = 3
    BACKGROUND = 4


class Pace(Enum):
    """How interim requests use up a budget. Urgent requests may take any free one."""

    EVEN = "even"  # evenly spaced, so that a final request waits for one gap at most
    FORECAST = "forecast"  # spread over the time for which replies are expected to grow
    NONE = "none"  # immediately


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate limit: at most `count` requests in any `seconds`.

    When it is used up, replies continue in the scope `then`. `divided`: all processes of the bot
    share the limit, so each one gets a part of it.
    """

    count: int
    seconds: float
    pace: Pace = Pace.EVEN
    then: str | None = None
    divided: bool = False


@dataclass(frozen=True, slots=True)
class ReplyOwner:
    """The person who gets the reply, with their workspace and its platform."""

    workspace: str
    person: str


@dataclass(eq=False, slots=True)
class Reservation:
    """One reply's share of its account's budget; the rate limiter updates it.

    `began` is the time of the first text. In each scope of `keeps`, one request is reserved for the
    end of the reply. Interim requests count against `grows`. `is_shown`: the first text was sent.
    When the reply was announced, its owner had `own` other replies, and other people in the
    workspace had `neighbors`.
    """

    owner: ReplyOwner | None = None
    own: int = 0
    neighbors: int = 0
    began: float | None = None
    keeps: tuple[str, ...] = ()
    grows: str | None = None
    is_shown: bool = False
    over: bool = False
