"""The platform ports: adapter, surface, renderer and rate limiter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bot.domain.health import Finding, Health
from bot.domain.inbox import CommandReply, Incoming
from bot.domain.replies import FileRules, Frame, Priority, Request, Shown, Stake
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


class Grants(Protocol):
    """What the pacer offers to those who send: the budget of one platform account."""

    async def grant(
        self,
        plan: Callable[[], Request | None],
        priority: Callable[[], tuple[Priority, float]],
        stake: Stake | None = None,
    ) -> Request | None:
        """Wait until the newest plan may be sent, and return it with its budget taken.

        `plan` and `priority` are called again at the moment of the grant; None comes back when
        nothing is left to do then. The second part of a priority is the age key: the time at
        which the oldest text that is not yet seen was written (smaller goes first). What comes
        back is the plan, or what it says to do otherwise.
        """
        ...

    def expect(self) -> Stake:
        """There will be a reply, which has no text yet."""
        ...

    def begin(self, stake: Stake) -> None:
        """The reply has its first text: the budget is shared with one more from now on."""
        ...

    def leave(self, stake: Stake) -> None:
        """The reply is over, however it ended; what was kept for its end is anybody's."""
        ...

    async def spend(self, *scopes: str, priority: Priority = Priority.CONTROL) -> None:
        """Wait for the budget of one request that is not a reply's."""
        ...

    def throttled(self, retry_after: float, *scopes: str) -> None:
        """A 429 came: nobody sends in these scopes for `retry_after` seconds."""
        ...

    def refund(self, *scopes: str) -> None:
        """A request that was granted got a 429, so the platform did not count it."""
        ...

    def observed(self, scope: str, *, remaining: int, reset_after: float) -> None:
        """The platform said what is left of a budget until it is whole again, in seconds.

        It counts besides our own limit, also for a scope that we know no limit of.
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
    def grants(self) -> Grants:
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
