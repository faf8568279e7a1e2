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
        """The platform's markup. It never pings anyone, whatever the Markdown says."""
        ...

    def measure(self, markdown: str) -> int:
        """The size of `render(markdown)`, in the unit of the platform's limit."""
        ...


class RateLimiter(Protocol):
    """The budget of one platform account, as its senders see it."""

    async def acquire(
        self,
        plan: Callable[[], Request | None],
        priority: Callable[[], tuple[Priority, float]],
        reservation: Reservation | None = None,
    ) -> Request | None:
        """Wait until the newest plan may be sent; returns it with its budget taken.

        `plan` and `priority` are called again at the moment of the grant. The second part of a
        priority is the time at which the oldest unseen text was written (smaller goes first).
        Returns the plan or one of its alternatives (`Request.otherwise`); None if nothing is left
        to do.
        """
        ...

    def reserve(self, owner: ReplyOwner | None = None) -> Reservation:
        """Announce a reply, which has no text yet; its owner's other replies wait for those of
        people who have fewer.
        """
        ...

    def begin(self, reservation: Reservation) -> None:
        """The reply has its first text: one more reply shares the budget."""
        ...

    def release(self, reservation: Reservation) -> None:
        """The reply is over, however it ended: what it reserved is free again."""
        ...

    async def spend(self, *scopes: str, priority: Priority = Priority.CONTROL) -> None:
        """Wait for the budget of one request that belongs to no reply."""
        ...

    def throttled(self, retry_after: float, *scopes: str) -> None:
        """The platform answered 429: nothing is sent in these scopes for `retry_after` seconds."""
        ...

    def refund(self, *scopes: str) -> None:
        """Take back a granted request that got a 429: the platform did not count it."""
        ...

    def observed(self, scope: str, *, remaining: int, reset_after: float) -> None:
        """The platform reported how many requests are left for `reset_after` seconds.

        Its count applies in addition to our own limit, also to a scope without a limit.
        """
        ...

    def delay(self, *scopes: str) -> float:
        """Seconds until an urgent request in these scopes may be sent, at the least; 0 is now."""
        ...


class Surface(Protocol):
    """The place on a platform where one reply is shown."""

    @property
    def renderer(self) -> Renderer:
        """The converter to the platform's markup."""
        ...

    @property
    def files(self) -> FileRules | None:
        """When to upload long code as a file; None if files are off, or not accepted here."""
        ...

    @property
    def says_working(self) -> bool:
        """Whether the platform itself shows that the bot is working, with a way to stop it.

        If not, a first page does both.
        """
        ...

    @property
    def rate_limiter(self) -> RateLimiter:
        """The budget of the account that this surface sends with."""
        ...

    async def open(self) -> None:
        """Create the thread if the reply needs one, and show that the bot is working. Idempotent.

        Raises Gone if the reply has no place to be shown.
        """
        ...

    async def recover(self, pages: Sequence[PageRecord]) -> Shown:
        """Find the pages that earlier attempts posted; their text is unknown.

        Searches for pages that are only intended by their identity, which is (turn, page).
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
        is."""
        ...

    async def abandon(self) -> None:
        """End what runs for this surface and send nothing: another process shows the reply."""
        ...


class Adapter(Protocol):
    """One platform."""

    @property
    def name(self) -> str:
        """The platform's name in conversation keys."""
        ...

    @property
    def directory(self) -> Directory:
        """What the platform knows about people and places."""
        ...

    async def run(self, inbox: Inbox) -> None:
        """Connect and report events to `inbox` until cancelled. Surfaces work while this runs.

        Raises CannotStart if the platform refuses the bot.
        """
        ...

    def surface(self, claim: Claim) -> Surface:
        """The surface for the turn's reply, built from the claim alone."""
        ...

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        """Messages before `incoming`, oldest first, for the history.

        In a thread these are its messages; for a message that stands alone in a channel, the posts
        of other bots directly above it (`bot.inbox.posts_above`). Raises a PlatformError.
        """
        ...

    def is_own_link(self, url: str) -> bool:
        """Whether `url` leads to the platform's messages, which only the adapter can read."""
        ...

    async def download(
        self, key: ConversationKey, locator: Mapping[str, str], *, limit: int
    ) -> Download:
        """The bytes of an attachment that this adapter reported, at most `limit` of them.

        `key` is the conversation of its message. Raises AttachmentError; without `retry_after` if
        it can never be downloaded.
        """
        ...

    async def say(self, incoming: Incoming, answer: CommandReply) -> None:
        """Show a command's reply where the command was written, if it has a text."""
        ...

    async def check(self) -> Sequence[Finding]:
        """Test tokens, intents, permissions, scopes and subscriptions, for `doctor`."""
        ...

    def health(self) -> Health:
        """Whether events arrive now."""
        ...
