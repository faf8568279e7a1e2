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
    def grants(self) -> Grants:
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
        """Send the request, and return what is shown after it.

        Raises Throttled, Gone, Refused (FilesRefused if only the file was not accepted) or
        Unsettled.
        """
        ...

    async def close(self) -> None:
        """Remove the signs that the bot is working (typing, status). Called once, in every case."""
        ...


class Adapter(Protocol):
    """One platform."""

    @property
    def name(self) -> str:
        """The platform's name in conversation keys."""
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
        """Messages of the thread before `incoming`, oldest first, for the history."""
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
