"""The Protocols between the core and what it runs on. Small on purpose: few methods each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from bot.domain import (
    Accepted,
    Answer,
    Asked,
    Author,
    Change,
    ChatRequest,
    Choice,
    Claim,
    Command,
    Conclusion,
    Conversation,
    ConversationKey,
    Delta,
    Fence,
    Finding,
    Frame,
    Health,
    Incoming,
    Message,
    PageRecord,
    Priority,
    Receipt,
    Request,
    Shown,
    Watermark,
)


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
    ) -> Request | None:
        """Wait until the newest plan may be sent, and return it with its budget taken.

        `plan` and `priority` are called again at the moment of the grant; None comes back when
        nothing is left to do then. The second part of a priority is the age key: the time at
        which the oldest text that is not yet seen was written (smaller goes first).
        """
        ...

    async def spend(self, *scopes: str, priority: Priority = Priority.CONTROL) -> None:
        """Wait for the budget of one request that is not a reply's."""
        ...

    def throttled(self, retry_after: float, *scopes: str) -> None:
        """A 429 came: nobody sends in these scopes for `retry_after` seconds."""
        ...


class Surface(Protocol):
    """Where one reply is shown."""

    @property
    def renderer(self) -> Renderer:
        """The platform's form of Markdown."""
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

        Raises Throttled, Gone, Refused, or Unsettled when the outcome is not known.
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
        a conversation's questions are answered together. All come again after StoreUnavailable.
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


# ── the store ─────────────────────────────────────────────────────────────────────────────────
class Store(Protocol):
    """The database as transitions: each is one transaction with its precondition.

    All of a turn's carry its fence and raise LostOwnership when it is stale; all raise
    StoreUnavailable when the database cannot be written or read.
    """

    async def accept(self, incoming: Incoming, backlog: Sequence[Incoming] = ()) -> Accepted:
        """Store a message, its conversation and its turn, durably; the same again changes nothing.

        `backlog` becomes history before it when the message begins the conversation.
        """
        ...

    async def claim(self, conversation: int) -> Claim | None:
        """The conversation's next turn: an unfinished one first, then the waiting one.

        Binds the questions in the platform's order, and reserves the reply's index.
        """
        ...

    async def unfinished(self, platform: str) -> Sequence[int]:
        """The platform's conversations that have a turn to work on, oldest first."""
        ...

    async def command_done(self, source: str) -> bool:
        """Whether the message `source` was a command that was carried out."""
        ...

    async def record_command(self, source: str) -> None:
        """The message `source` was a command, and it was carried out."""
        ...

    async def intend(self, fence: Fence, page: int) -> None:
        """A page is about to be posted."""
        ...

    async def shown(self, fence: Fence, page: int, *, channel: str, message_id: str) -> None:
        """A page was posted, or found again, as message `message_id` in `channel`."""
        ...

    async def removed(self, fence: Fence, page: int) -> None:
        """A page that is no longer needed was removed from the platform."""
        ...

    async def conclude(self, fence: Fence, conclusion: Conclusion) -> None:
        """The turn's outcome and text are decided; the reply enters the history."""
        ...

    async def finish(self, fence: Fence) -> None:
        """Everything of a concluded turn is shown."""
        ...

    async def reset(self, key: ConversationKey, *, source: str = "") -> Conversation | None:
        """Begin a new epoch; waiting questions end as reset. None when there is none such.

        Here and below, `source` is the message that said so, recorded as `record_command` does in
        the same transaction: what is done is never done again when that message comes again.
        """
        ...

    async def undo_reset(
        self, key: ConversationKey, epoch: int | None, *, source: str = ""
    ) -> Conversation | None:
        """Look again at what was said before the last reset; what came since follows it, in order.

        Only if that is epoch `epoch`, where given: pressing a button twice undoes one reset. None
        when there is nothing (more) to bring back.
        """
        ...

    async def reopen(self, key: ConversationKey, turn: int | None, *, source: str = "") -> Change:
        """Open the newest turn again, in place: AGAIN, or BUSY, OLDER (not that one), UNKNOWN."""
        ...

    async def go_on(
        self, key: ConversationKey, turn: int | None, author: Author, text: str
    ) -> Change:
        """Ask `text` below the newest turn's reply, once for each: AGAIN with the turn that waits.

        Or BUSY, OLDER (there is a newer turn than `turn`), UNKNOWN (nothing to go on from).
        """
        ...

    async def edit(self, source: str, text: str, edited_at: float) -> Change:
        """A stored message says something else. AGAIN: the newest turn was opened again for it.

        KEPT (it waits, or is history), OLDER (later turns see it), SAME, UNKNOWN.
        """
        ...

    async def erase(self, source: str, *, with_reply: bool) -> Change:
        """A message, or a page of a reply, was deleted: forget its text, and never take it again.

        AGAIN: the turn is to be claimed, to go on without it or to take its reply away (that of a
        deleted page; `with_reply` that of a turn whose last question this was). STOP: the running
        turn has no question left. KEPT, SAME, or UNKNOWN: then a tombstone keeps it out.
        """
        ...

    async def choose_model(self, key: ConversationKey, model: str | None) -> Conversation | None:
        """Use another model from the next turn on. None when there is no such conversation."""
        ...

    async def history(
        self, conversation: int, *, epoch: int, before: int, limit: int
    ) -> Sequence[Message]:
        """Up to `limit` messages of the epoch with an index below `before`, newest first."""
        ...

    async def find(self, key: ConversationKey) -> Conversation | None:
        """The conversation with this key."""
        ...

    async def conversation_of(self, source: str) -> Conversation | None:
        """The conversation of a platform message: a person's, or a page of a reply."""
        ...

    async def recent(
        self, place: ConversationKey, author: str, limit: int
    ) -> Sequence[Conversation]:
        """The newest conversations in a channel in which `author` spoke in this epoch."""
        ...

    async def watermarks(self, platform: str) -> Sequence[Watermark]:
        """All watermarks of a platform."""
        ...

    async def move_watermarks(self, marks: Sequence[Watermark]) -> None:
        """Raise watermarks; a workspace's own drops those of its channels that are not higher."""
        ...

    async def active(self, platform: str, limit: int) -> Sequence[Conversation]:
        """Up to `limit` conversations, those in which something was said last first."""
        ...

    async def last_questions(self, platform: str, *, since: float, limit: int) -> Sequence[Asked]:
        """The last question of up to `limit` conversations changed since (Unix seconds), the
        newest first; none that was erased.
        """
        ...

    async def said_since(self, key: ConversationKey, position: int) -> bool:
        """Whether the conversation has a message of a person after `position`."""
        ...
