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

    `source` is the message that issued a command, "" if it cannot be redelivered. The transition
    records it in the same transaction. If the message was executed before, was deleted, or is
    stored as a question, the transition raises CommandDone and changes nothing.
    """

    # ── messages ──────────────────────────────────────────────────────────────────────────────
    async def accept(
        self, incoming: Incoming, backlog: Sequence[Incoming] = (), *, withheld: bool = False
    ) -> Accepted:
        """Store a message, its attachments, its conversation and its turn.

        A known message changes nothing. If the message begins the conversation, `backlog` becomes
        the history before it. Only questions have links. A `withheld` message is part of no request
        until `withhold` says otherwise.
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

        A `withheld` message is part of no request from now on, as in `accept`.

        A new attachment with the same `identity` as a stored one (for a link, the same address)
        keeps the stored one and its bytes; so does one without an identity if name, type, size and
        data are equal.

        REOPENED: the newest turn must answer it again. STORED: the message is waiting, or is
        history. SUPERSEDED: later turns will see the new text. Or SAME, UNKNOWN.
        """
        ...

    async def erase(self, source: str, *, with_reply: bool) -> Change:
        """Erase a message, or take back a reply of which a page was deleted.

        A redelivered message is not stored again. With `with_reply`, a turn that loses its last
        question also loses its reply.

        REOPENED: the next claim answers without the message, or removes the reply's pages. STOP:
        the running turn has no questions left. Or STORED, SAME, UNKNOWN; after UNKNOWN a tombstone
        keeps the message out.
        """
        ...

    # ── turns ─────────────────────────────────────────────────────────────────────────────────
    async def claim(self, conversation: int) -> Claim | None:
        """Claim the conversation's next turn: an unfinished one, otherwise the waiting one.

        Claiming a waiting turn gives its questions their indexes, in the platform's order, and
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

        Also raises LostOwnership if people have already deleted the message, which takes the reply
        back.
        """
        ...

    async def record_removal(self, fence: Fence, page: int) -> None:
        """Record that a page was removed from the platform, or was never posted."""
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
        """Whether the conversations belong to more than one workspace."""
        ...

    # ── deaths of the process ─────────────────────────────────────────────────────────────────
    async def hold(self, fence: Fence, *, held: bool = True) -> None:
        """Mark the turn as held by this process, which works on it. `held=False` releases it
        without counting a failure.

        A claim also holds the turn, unless the turn is a suspect.
        """
        ...

    async def record_shutdown(self) -> None:
        """Release all held turns, because the process exits normally and no deaths must be
        counted."""
        ...

    async def suspects(self) -> Sequence[Suspect]:
        """The unfinished turns that are suspects: see `bot.turns.quarantine`."""
        ...

    # ── leftovers on the platforms ────────────────────────────────────────────────────────────
    async def add_leftover(self, leftover: Leftover) -> None:
        """Record a leftover; does nothing if its conversation no longer exists."""
        ...

    async def leftovers(self, platform: str) -> Sequence[Leftover]:
        """The leftovers on the platform, oldest first; at most a thousand."""
        ...

    async def leftovers_of(self, conversation: int) -> Sequence[Leftover]:
        """The leftovers of the conversation with this row id."""
        ...

    async def remove_leftover(self, leftover: Leftover) -> None:
        """Record that the leftover was removed, or never can be."""
        ...

    # ── people who may not ask ────────────────────────────────────────────────────────────────
    async def refusal_due(self, key: ConversationKey, person: str, reason: str) -> bool:
        """Whether to tell a person in the workspace of `key` now why they may not ask.

        A result of True counts as a notice sent, for a day, and is recorded in the audit.
        """
        ...

    async def took_part(self, key: ConversationKey, person: str) -> bool | None:
        """Whether a person began the conversation, or wrote in it since the last reset but one.

        None if there is no such conversation.
        """
        ...

    async def author_of(self, source: str) -> Author | None:
        """The author of a stored message; None if there is no such message, or the person was
        erased."""
        ...

    async def askers(self, key: ConversationKey, turn: int | None) -> Sequence[Author]:
        """The authors of the questions of `turn` (None: the newest), without erased ones."""
        ...

    # ── commands ──────────────────────────────────────────────────────────────────────────────
    async def record_command(self, source: str) -> None:
        """Record a command that changes nothing else."""
        ...

    async def reset(self, key: ConversationKey, *, source: str = "") -> Conversation | None:
        """Begin a new epoch; waiting questions end as RESET. None if there is no such
        conversation."""
        ...

    async def undo_reset(
        self, key: ConversationKey, epoch: int | None, *, source: str = ""
    ) -> Conversation | None:
        """Restore the messages from before the last reset, in front of the newer ones.

        `epoch`, if given, must be the last one with messages, so that pressing a button twice
        undoes only one reset. None if there is nothing to restore.
        """
        ...

    async def stop(self, key: ConversationKey, turn: int | None, *, source: str = "") -> Change:
        """Mark the running turn as stopped if it is `turn`, or any if `turn` is None. STOP or
        UNKNOWN.

        The holder of the turn concludes it. If the process dies before that, the next claim is
        `stopping`.
        """
        ...

    async def reopen(self, key: ConversationKey, turn: int | None, *, source: str = "") -> Change:
        """Reopen `turn` (None: the newest), which must be the newest, to answer it again in place.

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

        The reply and everything after it are no longer shown; `show_version` restores them. `model`
        answers this time; None is the conversation's model. REOPENED with the new turn; or BUSY,
        SUPERSEDED after a reset, FULL, or UNKNOWN if the turn is not shown or has no question.
        """
        ...

    async def show_version(self, key: ConversationKey, version: int, *, source: str = "") -> Change:
        """Show another version of a question or an answer, with everything that followed it.

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
        """Ask `text` after the reply of `turn` (None: the newest), which must be the newest.

        REOPENED with the new, waiting turn; or BUSY, SUPERSEDED, or UNKNOWN if there is no reply to
        continue.
        """
        ...

    async def choose_model(
        self, key: ConversationKey, model: str | None, *, source: str = ""
    ) -> Conversation | None:
        """Use `model` from the next turn on (None: the default). None if there is no such
        conversation."""
        ...

    async def choose_effort(
        self, key: ConversationKey, effort: Effort | None, *, source: str = ""
    ) -> Conversation | None:
        """Use `effort` from the next turn on (None: the model's default). None if there is no such
        conversation."""
        ...

    # ── conversations ─────────────────────────────────────────────────────────────────────────
    async def history(
        self, conversation: int, *, epoch: int, before: int, limit: int, start: int = 0
    ) -> Sequence[Message]:
        """Up to `limit` messages of the epoch with indexes from `start` up to, but not including,
        `before`.

        Newest first, without erased messages.
        """
        ...

    async def history_from(
        self, conversation: int, *, epoch: int, start: int, before: int, limit: int
    ) -> Sequence[Message]:
        """Up to `limit` messages of the epoch with indexes from `start` up to, but not including,
        `before`.

        Oldest first, without erased messages.
        """
        ...

    async def find(self, key: ConversationKey) -> Conversation | None:
        """The conversation with this key."""
        ...

    async def conversation_of(self, source: str) -> Conversation | None:
        """The conversation of a platform message, which is a person's or a page of a reply."""
        ...

    async def recent(
        self, place: ConversationKey, author: str, limit: int
    ) -> Sequence[Conversation]:
        """The newest conversations in the channel of `place` in whose current epoch `author`
        wrote."""
        ...

    async def active(self, platform: str, limit: int) -> Sequence[Conversation]:
        """Up to `limit` conversations, the most recently changed first."""
        ...

    # ── catch-up ──────────────────────────────────────────────────────────────────────────────
    async def watermarks(self, platform: str) -> Sequence[Watermark]:
        """All watermarks of the platform."""
        ...

    async def move_watermarks(self, marks: Sequence[Watermark]) -> None:
        """Raise watermarks. A workspace's watermark replaces those of its channels that are not
        higher.

        Positions below the stored ones change nothing.
        """
        ...

    async def has_message_before(self, key: ConversationKey, position: int) -> bool:
        """Whether a person had written in the conversation by `position`."""
        ...

    async def keep_out(self, source: str) -> None:
        """Reject an unstored message for an hour, because its author was told that it was not
        stored."""
        ...

    async def gaps(self, reader: str) -> Sequence[Gap]:
        """The gaps of processes that `reader` has not finished."""
        ...

    async def finish_gaps(self, reader: str, gaps: Sequence[str]) -> None:
        """Record that `reader` has read everything since these gaps, by their ids."""
        ...

    async def thread_reads(self, platform: str, workspace: str) -> Sequence[ThreadRead]:
        """The parts of the workspace's threads that were read again within the last day."""
        ...

    async def count_known_replies(self, place: ConversationKey) -> Mapping[str, int]:
        """Count the messages, by people and the bot, of each thread in a channel that the database
        knows, without the root. Threads that did not change for a day are left out."""
        ...

    async def record_thread_read(self, platform: str, read: ThreadRead) -> None:
        """Record that a thread was read again; a read that reaches less far changes nothing."""
        ...

    async def last_questions(self, platform: str, *, since: float, limit: int) -> Sequence[Asked]:
        """The last question of each conversation that changed after `since` (Unix seconds).

        At most `limit`, newest first, without erased questions.
        """
        ...

    async def has_message_after(self, key: ConversationKey, position: int) -> bool:
        """Whether a person wrote in the conversation after `position`."""
        ...
