"""The platform ports: adapter, surface, renderer and rate limiter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bot.domain.health import Finding, Health
from bot.domain.inbox import CommandReply, Incoming
from bot.domain.replies import FileRules, Frame, Priority, Request, Reservation, Shown
from bot.domain.turns import Claim, PageRecord
from bot.ports.inbox import Inbox


class Renderer(Protocol):
    """From Markdown to one platform's own form; pure."""

    @property
    def limit(self) -> int:
        """The most that one message takes, in the platform's own measure."""
        ...

    def render(self, markdown: str) -> str:
        """The platform's text. It pings nobody, whatever the Markdown says."""
        ...

    def measure(self, markdown: str) -> int:
        """The size of `render(markdown)` in the platform's own measure."""
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

    def reserve(self) -> Reservation:
        """Announce a reply, which has no text yet."""
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
    """Where one reply is shown."""

    @property
    def renderer(self) -> Renderer:
        """The platform's form of Markdown."""
        ...

    @property
    def files(self) -> FileRules | None:
        """When long code goes up as a file here; None when this place takes none."""
        ...

    @property
    def says_working(self) -> bool:
        """Whether the platform itself says that the reply is being written, and offers to stop it:
        then no message of ours needs to.
        """
        ...

    @property
    def rate_limiter(self) -> RateLimiter:
        """The budget of the account that this surface sends with."""
        ...

    async def open(self) -> None:
        """Make the place for the reply and show that it is being worked on; may be repeated.

        Raises Gone when the place cannot be had.
        """
        ...

    async def recover(self, pages: Sequence[PageRecord]) -> Shown:
        """Find what earlier attempts left on the platform; text of a found page is unknown.

        Pages that were only intended are looked for by their identity (turn, page).
        """
        ...

    def plan(self, shown: Shown, frame: Frame) -> Request | None:
        """The next request that brings `shown` closer to `frame`, or None; pure."""
        ...

    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Send it, and return what is shown then.

        Raises Throttled, Gone, Refused (FilesRefused when only the file is not taken), or Unsettled
        when the outcome is not known.
        """
        ...

    async def close(self) -> None:
        """Clear every sign of work (typing, status); called once, whatever happened."""
        ...


class Adapter(Protocol):
    """A platform."""

    @property
    def name(self) -> str:
        """The platform's word in conversation keys."""
        ...

    async def run(self, inbox: Inbox) -> None:
        """Serve events until cancelled; raises CannotStart when the platform refuses us.

        Surfaces work as long as this runs.
        """
        ...

    def surface(self, claim: Claim) -> Surface:
        """The surface of a turn's reply, from what the claim tells alone."""
        ...

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        """What people said in an old thread before they mentioned the bot, oldest first."""
        ...

    async def say(self, incoming: Incoming, answer: CommandReply) -> None:
        """Show a command's answer where the command was written; one without words is not shown."""
        ...

    async def check(self) -> Sequence[Finding]:
        """Try tokens, intents, permissions, scopes and subscriptions for `doctor`."""
        ...

    def health(self) -> Health:
        """Whether events arrive now."""
        ...
