"""The store port: the database as transitions and queries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from bot.domain.attachments import IncomingAttachment
from bot.domain.conversations import Author, Conversation, ConversationKey, Effort, Message
from bot.domain.inbox import (
    Accepted,
    Asked,
    Change,
    CountedQuestion,
    Gap,
    Incoming,
    ThreadRead,
    Watermark,
)
from bot.domain.leftovers import Leftover
from bot.domain.turns import Claim, Fence, Suspect, TurnResult


class Store(Protocol):
    """The database as transitions, each of which is one transaction, and as queries.

    Methods with a fence raise LostOwnership if it is stale. All raise StoreUnavailable if the
    database cannot be read or written.

    `source` is the message that issued a command, "" if a redelivery is impossible. The transition
    records it in the same transaction, and raises CommandDone, changing nothing, if the message was
    executed before, was deleted, or is stored as a question.
    """

    # ── messages ──────────────────────────────────────────────────────────────────────────────
    async def accept(
        self, incoming: Incoming, backlog: Sequence[Incoming] = (), *, withheld: bool = False
    ) -> Accepted:
        """Store a message, its attachments, its conversation and its turn.

        A known message changes nothing. If the message begins the conversation, `backlog` becomes
        the history before it. Only a question has links. `withheld`: no request contains the
        message, until `withhold` says otherwise.
        """
        ...

    async def edit(
        self,
        source: str,
        text: str,
        edited_at: float,
        attachments: Sequence[IncomingAttachment] | None = None,
        *,
        withheld: bool = False,
    ) -> Change:
        """Replace a message's text, and its attachments unless they are None.

        `withheld`: from now on no request contains the message, as in `accept`.

        An attachment with the `identity` of a stored one (a link: with its address) keeps that one
        with its bytes; so does one without identity whose name, type, size and data are the same.

        REOPENED: the newest turn must answer it again. STORED: the message is waiting, or is
        history. SUPERSEDED: later turns will see the new text. Or SAME, UNKNOWN.
        """
        ...

    async def erase(self, source: str, *, with_reply: bool) -> Change:
        """Erase a message, or take back a reply one of whose pages was deleted.

        A redelivery is not stored again. With `with_reply`, a reply is also taken back when its
        turn loses its last question.

        REOPENED: the next claim answers without the message, or removes the reply's pages. STOP:
        the running turn has no questions left. Or STORED, SAME, UNKNOWN; after UNKNOWN a tombstone
        keeps the message out.
        """
        ...

    # ── turns ─────────────────────────────────────────────────────────────────────────────────
    async def claim(self, conversation: int) -> Claim | None:
        """Claim the conversation's next turn: an unfinished one, else the waiting one.

        The claim of a waiting turn gives its questions their indexes, in the platform's order, and
        reserves the reply's index.
        """
        ...

    async def withhold(self, fence: Fence, questions: Collection[int]) -> None:
        """Exclude these questions of the turn, given by row id, from all further requests."""
        ...

    async def record_intent(self, fence: Fence, page: int) -> None:
        """Record that a page is about to be posted."""
        ...

    async def record_shown(self, fence: Fence, page: int, *, channel: str, message_id: str) -> None:
        """Record that a page was posted, or found again, as message `message_id` in `channel`.

        Raises LostOwnership also if people have already deleted the message, which takes the
        reply back.
        """
        ...

    async def record_removal(self, fence: Fence, page: int) -> None:
        """A page was removed from the platform, or was never posted."""
        ...

    async def conclude(self, fence: Fence, result: TurnResult) -> None:
        """Store the turn's result; its content enters the history."""
        ...

    async def finish(self, fence: Fence) -> None:
        """Record that the reply of a concluded turn is completely shown."""
        ...

    async def list_unfinished(self, platform: str) -> Sequence[int]:
        """The platform's conversations that have a turn to claim, oldest first."""
        ...

    async def is_busy(self, conversation: int) -> bool:
        """Whether the conversation has a turn that is not done."""
        ...

    # ── fairness ──────────────────────────────────────────────────────────────────────────────
    async def recent_questions(self, since: float) -> Sequence[CountedQuestion]:
        """The questions, retries and edits since `since`, in Unix seconds, that cost an answer."""
        ...

    async def has_several_workspaces(self) -> bool:
        """Whether there are conversations of more than one workspace."""
        ...

    # ── deaths of the process ─────────────────────────────────────────────────────────────────
    async def hold(self, fence: Fence, *, held: bool = True) -> None:
        """Mark the turn as held: the process works on it. `held=False` ends that without a failure.

        A claim holds the turn, too, unless the turn is a suspect.
        """
        ...

    async def record_shutdown(self) -> None:
        """Release all held turns, because the process is ending normally: they count no death."""
        ...

    async def suspects(self) -> Sequence[Suspect]:
        """The unfinished turns that are suspects: see `bot.turns.quarantine`."""
        ...

    # ── leftovers on the platforms ────────────────────────────────────────────────────────────
    async def add_leftover(self, leftover: Leftover) -> None:
        """Record a leftover; nothing if its conversation does not exist any more."""
        ...

    async def leftovers(self, platform: str) -> Sequence[Leftover]:
        """The leftovers on the platform, oldest first; a thousand at most."""
        ...

    async def leftovers_of(self, conversation: int) -> Sequence[Leftover]:
        """The leftovers of the conversation with this row id."""
        ...

    async def remove_leftover(self, leftover: Leftover) -> None:
        """It was removed, or never can be."""
        ...

    # ── people who may not ask ────────────────────────────────────────────────────────────────
    async def refusal_due(self, key: ConversationKey, person: str, reason: str) -> bool:
        """Whether to tell a person of the workspace of `key` now why they may not ask.

        True counts as a notice that was sent, for a day, and is written to the audit.
        """
        ...

    async def took_part(self, key: ConversationKey, person: str) -> bool | None:
        """Whether a person began the conversation or wrote in it since the reset before the last.

        None without a conversation.
        """
        ...

    async def author_of(self, source: str) -> Author | None:
        """The author of a stored message; None if there is none, or the person was erased."""
        ...

    async def askers(self, key: ConversationKey, turn: int | None) -> Sequence[Author]:
        """The authors of the questions of `turn` (None: the newest) that are not erased."""
        ...

    # ── commands ──────────────────────────────────────────────────────────────────────────────
    async def record_command(self, source: str) -> None:
        """Record a command that changes nothing else."""
        ...

    async def reset(self, key: ConversationKey, *, source: str = "") -> Conversation | None:
        """Begin a new epoch; waiting questions end as RESET. None if there is no conversation."""
        ...

    async def undo_reset(
        self, key: ConversationKey, epoch: int | None, *, source: str = ""
    ) -> Conversation | None:
        """Bring the messages from before the last reset back, in front of the newer ones.

        With an `epoch`, only if that is the last one with messages, so that pressing a button twice
        undoes one reset. None if there is nothing to bring back.
        """
        ...

    async def stop(self, key: ConversationKey, turn: int | None, *, source: str = "") -> Change:
        """Mark the running turn as stopped, if it is `turn` or `turn` is None: STOP or UNKNOWN.

        The holder of the turn concludes it. If the process dies before that, the next claim is
        `stopping`.
        """
        ...

    async def reopen(self, key: ConversationKey, turn: int | None, *, source: str = "") -> Change:
        """Reopen `turn`, which must be the newest (None: the newest), to answer it again in place.

        REOPENED, or BUSY, SUPERSEDED, UNKNOWN.
        """
        ...

    async def answer_again(
        self,
        key: ConversationKey,
        turn: int | None,
        *,
        model: str | None = None,
        source: str = "",
    ) -> Change:
        """Answer the questions of `turn` (None: the newest) again, and keep its reply.

        The reply and all that followed it are no longer shown; `show_version` brings them back.
        `model` answers this time; None is the conversation's. REOPENED with the new turn; or BUSY,
        SUPERSEDED after a reset, FULL, or UNKNOWN if the turn is not shown or has no question.
        """
        ...

    async def show_version(self, key: ConversationKey, version: int, *, source: str = "") -> Change:
        """Show another version of a question or an answer, with all that followed it.

        `version` is its index. STORED, or SAME, BUSY, SUPERSEDED after a reset, or UNKNOWN if no
        version of its place is shown.
        """
        ...

    async def continue_reply(
        self,
        key: ConversationKey,
        turn: int | None,
        author: Author,
        text: str,
        *,
        source: str = "",
    ) -> Change:
        """Ask `text` after the reply of `turn`, which must be the newest (None: the newest).

        REOPENED with the new, waiting turn; or BUSY, SUPERSEDED, or UNKNOWN if there is no reply to
        continue.
        """
        ...

    async def choose_model(
        self, key: ConversationKey, model: str | None, *, source: str = ""
    ) -> Conversation | None:
        """Use `model` from the next turn on (None: the default). None without a conversation."""
        ...

    async def choose_effort(
        self, key: ConversationKey, effort: Effort | None, *, source: str = ""
    ) -> Conversation | None:
        """Ask for `effort` from the next turn on (None: the model's default). None without a
        conversation."""
        ...

    # ── conversations ─────────────────────────────────────────────────────────────────────────
    async def history(
        self, conversation: int, *, epoch: int, before: int, limit: int, start: int = 0
    ) -> Sequence[Message]:
        """Up to `limit` messages of the epoch with indexes from `start` to below `before`.

        Newest first; erased messages are left out.
        """
        ...

    async def history_from(
        self, conversation: int, *, epoch: int, start: int, before: int, limit: int
    ) -> Sequence[Message]:
        """Up to `limit` messages of the epoch from index `start` on and below `before`, oldest
        first.

        Erased messages are left out.
        """
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
        """The newest conversations in the channel of `place` whose current epoch `author` is in."""
        ...

    async def active(self, platform: str, limit: int) -> Sequence[Conversation]:
        """Up to `limit` conversations, the most recently changed first."""
        ...

    # ── catch-up ──────────────────────────────────────────────────────────────────────────────
    async def watermarks(self, platform: str) -> Sequence[Watermark]:
        """All watermarks of the platform."""
        ...

    async def move_watermarks(self, marks: Sequence[Watermark]) -> None:
        """Raise watermarks. A workspace's watermark replaces its channels' watermarks that are
        not higher.

        Lower positions than the stored ones change nothing.
        """
        ...

    async def has_message_before(self, key: ConversationKey, position: int) -> bool:
        """Whether a person had written in the conversation by `position`."""
        ...

    async def keep_out(self, source: str) -> None:
        """Keep a message that is not stored out for an hour: its author was told so."""
        ...

    async def gaps(self, reader: str) -> Sequence[Gap]:
        """The gaps of processes that `reader` has not finished."""
        ...

    async def finish_gaps(self, reader: str, gaps: Sequence[str]) -> None:
        """Record that `reader` has read everything since these gaps, by their ids."""
        ...

    async def thread_reads(self, platform: str, workspace: str) -> Sequence[ThreadRead]:
        """What of the workspace's threads was read again within the last day."""
        ...

    async def count_known_replies(self, place: ConversationKey) -> Mapping[str, int]:
        """How many messages below its root each thread of a channel has, as far as the database
        knows: of people and of the bot. Those without a change for a day are left out.
        """
        ...

    async def record_thread_read(self, platform: str, read: ThreadRead) -> None:
        """Record that a thread was read again; one that reaches less far changes nothing."""
        ...

    async def last_questions(self, platform: str, *, since: float, limit: int) -> Sequence[Asked]:
        """The last question of each conversation that changed after `since` (Unix seconds).

        At most `limit`, newest first; erased questions are left out.
        """
        ...

    async def has_message_after(self, key: ConversationKey, position: int) -> bool:
        """Whether the conversation has a person's message after `position`."""
        ...
