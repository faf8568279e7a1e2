"""The Protocols between the core and what it runs on. Small on purpose: few methods each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from bot.domain import (
    Answer,
    Asked,
    ChatRequest,
    Choice,
    Claim,
    Command,
    Conversation,
    ConversationKey,
    Delta,
    Finding,
    Health,
    Incoming,
    PageRecord,
    Receipt,
    Watermark,
)
from bot.frames import FileRules, Frame, Priority, Request, Shown
from bot.reply.stakes import Stake


class Clock(Protocol):
    """Time, so that tests can hold it."""

    def time(self) -> float:
        """Unix seconds, for what is stored."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for budgets and limits."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class ChatModel(Protocol):
    """A language model that streams."""

    @property
    def name(self) -> str:
        """As in the settings, such as `openai:gpt-5`."""
        ...

    def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """The answer, piece by piece; the last pieces carry finish reason and usage.

        Raises a ModelError. Closing the iterator or cancelling its task ends the request at once.
        """
        ...

    async def check(self) -> Finding:
        """Try the key and the model with a real call, for `doctor`; raises nothing."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


# ── platforms ─────────────────────────────────────────────────────────────────────────────────
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

    async def say(self, incoming: Incoming, answer: Answer) -> None:
        """Show a command's answer where the command was written; one without words is not shown."""
        ...

    async def check(self) -> Sequence[Finding]:
        """Try tokens, intents, permissions, scopes and subscriptions for `doctor`."""
        ...

    def health(self) -> Health:
        """Whether events arrive now."""
        ...


class Inbox(Protocol):
    """What adapters tell the core. All methods return once the database has it."""

    async def connected(self, platform: str) -> None:
        """Events arrive from now on (a start or a new session): unfinished turns go on."""
        ...

    async def receive(self, incoming: Incoming) -> Receipt:
        """Accept a message; only then it may be acknowledged. Raises StoreUnavailable."""
        ...

    async def apology_due(self, incoming: Incoming) -> bool:
        """Whether to tell its author, now, that it could not be stored; a yes counts as told."""
        ...

    async def missed(self, messages: Sequence[Incoming]) -> None:
        """Accept what one place said while its events did not arrive, oldest first.

        As `receive`, but what is older than the settings allow becomes history with an apology, and
        a conversation's questions are answered together. One that is known and says another text
        now was edited meanwhile. All come again after StoreUnavailable.
        """
        ...

    async def watermarks(self, platform: str) -> Sequence[Watermark]:
        """How far each place was decided when it was last stored."""
        ...

    async def move_watermarks(self, marks: Sequence[Watermark]) -> None:
        """Store that places were decided so far; a watermark never goes back."""
        ...

    async def active(self, platform: str) -> Sequence[Conversation]:
        """The platform's conversations in which something was said last, the newest first."""
        ...

    async def last_questions(self, platform: str) -> Sequence[Asked]:
        """The last question of the few conversations in which somebody may still change it."""
        ...

    async def command(self, command: Command) -> Answer:
        """Carry out a command of a slash, a button or a shortcut."""
        ...

    async def edited(self, incoming: Incoming, edited_at: float) -> None:
        """A message was edited (in Unix seconds); the same text again changes nothing.

        One that is not stored counts as new where it addresses the bot and was edited just now.
        """
        ...

    async def deleted(self, source: str) -> None:
        """A message was deleted: a person's (`Incoming.source`), or a page of ours.

        Messages that the adapter itself deletes are not reported.
        """
        ...

    async def replaced(self, source: str) -> None:
        """A person's message was replaced by another with the same words, which is received too.

        It is forgotten, and a reply to it is taken back.
        """
        ...

    async def gone(self, place: ConversationKey) -> None:
        """A place can no longer be written to: end what is being written there.

        Without a thread it is a channel, without a channel the whole workspace.
        """
        ...

    async def conversation_of(self, source: str) -> ConversationKey | None:
        """The conversation that a platform message (`Incoming.source`, or a page's) belongs to."""
        ...

    async def recent(self, place: ConversationKey, author: str) -> Sequence[Choice]:
        """That person's latest conversations in `place` (its thread is ignored), to reset."""
        ...
