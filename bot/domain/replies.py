"""What a reply looks like, what is shown of it, and the requests between the two: frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum


@dataclass(frozen=True, slots=True)
class File:
    """Text that goes up as a file; `name` is a plain name, never a path."""

    name: str
    text: str

    @property
    def data(self) -> bytes:
        """The bytes, in UTF-8; half a surrogate pair, which no file can hold, is replaced."""
        return self.text.encode("utf-8", errors="replace")


UNKNOWN_FILE = File("", "")
"""What a page shows that has some file: nobody knows which (recovery)."""


@dataclass(frozen=True, slots=True)
class FileRules:
    """When a code block goes up as a file: if it takes `from_pages` pages or more, up to about
    `most_bytes` bytes (a page more may come). A surface without rules takes no files.
    """

    from_pages: int
    most_bytes: int

    @classmethod
    def from_setting(cls, messages: int, most_bytes: int) -> FileRules | None:
        """The rules of `FILE_FROM_MESSAGES`, where 0 means never."""
        return cls(messages, most_bytes) if messages else None


@dataclass(frozen=True, slots=True)
class Page:
    """One platform message's share of a reply.

    `text` is Markdown that stands on its own (fences closed and reopened, half-written markup
    mended); `stable` is its longest prefix that no later text can change, for surfaces that can
    only append; `start` and `end` are the range of the reply's source that it shows.

    A `sealed` page never changes again. A `provisional` one is as full, and shows a part of a code
    block that has not ended: should the block become a file, this page goes (and so does what was
    stable of the one where the block begins). With a `file` the text is its caption.
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
        """Whether what follows is on the next page."""
        return self.sealed or self.provisional


class Control(StrEnum):
    """What a person may do with a reply; surfaces show those of the frame as buttons."""

    STOP = "stop"
    RETRY = "retry"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class Frame:
    """A reply at one moment. All pages but the last are sealed, or at its end provisional; in a
    final frame all are sealed.

    `source` is the whole document as it was written, for surfaces that show it in one piece;
    `whole` tells that the pages come to its end: what is shown beyond them is not needed now.
    """

    pages: tuple[Page, ...]
    final: bool
    controls: tuple[Control, ...] = ()
    source: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True)
class ShownPage:
    """A platform message of ours. `text` is as it was sent; None when nobody knows (recovery).

    `sealed` tells that it is full: what follows is on the next page. One that is `streaming` takes
    appends only, until it is closed.
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
    """What a surface shows of a reply now."""

    pages: tuple[ShownPage, ...] = ()
    closed: bool = False  # nothing is left to do on the platform


class Action(Enum):
    """What a request does to the platform."""

    @property
    def posts(self) -> bool:
        """Whether there is one message more afterwards."""
        return self in (Action.POST, Action.START)

    POST = "post"
    EDIT = "edit"
    START = "start"  # post a page that grows by appends, until it is closed
    APPEND = "append"
    REMOVE = "remove"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a platform that brings what is shown closer to a frame.

    `text` is rendered for the platform, with a `file` its caption; `page` is counted from 0; `end`
    is how much of the reply's source is on the screen after it, and `sealed` whether the page is
    full then; `scopes` are the budgets that it costs, the narrowest first. `keeps` are those of
    which one more request is left for the reply's end from then on (None: the same as before), and
    `grows` is the budget that what comes next will cost. `otherwise` is what to do where this has
    no room for long.
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

    def costs_as(self, other: Request) -> bool:
        """Whether both cost the same budgets."""
        return self.scopes == other.scopes and self.keeps == other.keeps


class Priority(IntEnum):
    """The order in which the rate limiter grants requests (invariant 7); lower goes first."""

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

    `then` is the scope that replies continue with when this one is used up.
    """

    count: int
    seconds: float
    pace: Pace = Pace.EVEN
    then: str | None = None


@dataclass(eq=False, slots=True)
class Reservation:
    """What one reply holds of its account's budget; the rate limiter changes it.

    `began` is the time of its first text; `keeps` are the scopes of which one request is reserved
    for its end, and `grows` is the scope that its interim requests cost.
    """

    began: float | None = None
    keeps: tuple[str, ...] = ()
    grows: str | None = None
    over: bool = False
