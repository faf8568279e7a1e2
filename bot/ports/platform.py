"""The platform ports: adapter, surface, renderer and rate limiter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from bot.domain.attachments import Download
from bot.domain.conversations import ConversationKey
from bot.domain.health import Finding, Health
from bot.domain.inbox import CommandReply, Incoming
from bot.domain.replies import (
    FileRules,
    Frame,
    Priority,
    ReplyOwner,
    Request,
    Reservation,
    Shown,
)
from bot.domain.turns import Claim, PageRecord
from bot.ports.inbox import Inbox
from bot.ports.policy import Directory


class Renderer(Protocol):
    """Converts Markdown to a platform's markup; pure."""

    @property
    def limit(self) -> int:
        """The largest size of one message, in the platform's unit (see `measure`)."""
        ...

    def render(self, markdown: str) -> str:
        """The text in the platform's markup. It never pings anyone, whatever the Markdown says."""
        ...

    def measure(self, markdown: str) -> int:
        """The size of `render(markdown)`, in the unit of the platform's limit."""
        ...


class RateLimiter(Protocol):
    """The request budget of one platform account, as its senders see it."""

    async def acquire(
        self,
        plan: Callable[[], Request | None],
        priority: Callable[[], tuple[Priority, float]],
        reservation: Reservation | None = None,
    ) -> Request | None:
        """Wait until the newest plan may be sent, charge it to the budget, and return it.

        `plan` and `priority` are called again at the moment of the grant. The second part of a
        priority is the time at which the oldest unseen text was written; earlier times go first.
        Returns the plan or one of its alternatives (`Request.otherwise`), or None if there is
        nothing left to do.
        """
        ...

    def reserve(self, owner: ReplyOwner | None = None) -> Reservation:
        """Announce a reply that has no text yet. If its owner has several replies, they yield to
        those of people who have fewer."""
        ...

    def begin(self, reservation: Reservation) -> None:
        """Report the reply's first text: from now on, one more reply shares the budget."""
        ...

    def release(self, reservation: Reservation) -> None:
        """Free what the reply reserved, because it is over, however it ended."""
        ...

    async def spend(self, *scopes: str, priority: Priority = Priority.CONTROL) -> None:
        """Wait for the budget of one request that is not part of a reply."""
        ...

    def throttled(self, retry_after: float, *scopes: str) -> None:
        """Report that the platform answered 429: send nothing in these scopes for `retry_after`
        seconds."""
        ...

    def refund(self, *scopes: str) -> None:
        """Return the budget of a granted request that got a 429, which the platform did not
        count."""
        ...

    def observed(self, scope: str, *, remaining: int, reset_after: float) -> None:
        """Report that the platform allows `remaining` requests in the next `reset_after` seconds.

        This applies in addition to our own limit, and also to a scope without a limit.
        """
        ...

    def delay(self, *scopes: str) -> float:
        """The least number of seconds until an urgent request in these scopes may be sent; 0 if
        now."""
        ...


class Surface(Protocol):
    """The place on a platform where one reply is shown."""

    @property
    def renderer(self) -> Renderer | None:
        """The converter to the platform's markup; None if readers get the Markdown as one page."""
        ...

    @property
    def files(self) -> FileRules | None:
        """The rules for uploading long code as a file; None if files are off or not accepted
        here."""
        ...

    @property
    def says_working(self) -> bool:
        """Whether the platform itself shows that the bot is working, with a way to stop it.

        If not, the first page has to do both.
        """
        ...

    @property
    def rate_limiter(self) -> RateLimiter:
        """The rate limiter of the account that this surface sends with."""
        ...

    async def open(self) -> None:
        """Create the thread if the reply needs one, and show that the bot is working. Idempotent.

        Raises Gone if there is no place to show the reply.
        """
        ...

    async def recover(self, pages: Sequence[PageRecord]) -> Shown:
        """Find the pages that earlier attempts posted; their text is unknown.

        A page that was intended, but is not known to be posted, is searched for by its identity
        (turn, page).
        """
        ...

    def plan(self, shown: Shown, frame: Frame) -> Request | None:
        """The next request that brings `shown` closer to `frame`; None if there is none. Pure."""
        ...

    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Send the request, and return the pages shown after it.

        Raises Throttled, Gone, Refused (FilesRefused if only the file was not accepted) or
        Unsettled.
        """
        ...

    async def close(self) -> None:
        """Remove the signs that the bot is working (typing, status). Called once, unless `abandon`
        is called."""
        ...

    async def abandon(self) -> None:
        """Stop everything that runs for this surface and send nothing: another process shows the
        reply."""
        ...


class Adapter(Protocol):
    """The connection to one platform."""

    @property
    def name(self) -> str:
        """The platform's name in conversation keys."""
        ...

    @property
    def directory(self) -> Directory:
        """The directory of people and places on this platform."""
        ...

    async def run(self, inbox: Inbox) -> None:
        """Connect and report events to `inbox` until cancelled. Surfaces work while this runs.

        Raises CannotStart if the platform refuses the bot.
        """
        ...

    def surface(self, claim: Claim) -> Surface:
        """Create the surface for the turn's reply, from the claim alone."""
        ...

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        """Read messages before `incoming` for the history, oldest first.

        In a thread these are its messages; for a message that stands alone in a channel, the posts
        of other bots directly above it (`bot.inbox.posts_above`). Raises a PlatformError.
        """
        ...

    def is_own_link(self, url: str) -> bool:
        """Whether `url` points to a message on the platform, which only the adapter can read."""
        ...

    async def download(
        self, key: ConversationKey, locator: Mapping[str, str], *, limit: int
    ) -> Download:
        """Download an attachment that this adapter reported, at most `limit` bytes.

        `key` is the conversation of its message. Raises AttachmentError; without `retry_after` if
        the download can never succeed.
        """
        ...

    async def say(self, incoming: Incoming, answer: CommandReply) -> None:
        """Show a command's reply, if it has a text, where the command was written."""
        ...

    async def check(self) -> Sequence[Finding]:
        """Test tokens, intents, permissions, scopes and subscriptions, for `doctor`."""
        ...

    def health(self) -> Health:
        """Whether events currently arrive."""
        ...
