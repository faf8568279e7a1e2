"""Declares the locks that each transition needs if several processes write to one database.

SQLite has a single writer, so every transition runs alone, and no rule is called. On PostgreSQL, a
rule names the conversation and everything else that a transition reads or changes. Transitions
without common locks run concurrently, all others one after the other. A transition without a rule
runs alone: a forgotten rule makes it slow, but never wrong.

Invariant: locks are taken in the order of `ORDER`, and by name within a kind; a row that several
conversations share is changed only with its lock. So transitions never deadlock. docs/postgresql.md
lists the rows without a lock, and why they need none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Incoming, Watermark
from bot.domain.records import NewConversation
from bot.domain.spending import Booking, BudgetLine, Spender
from bot.domain.turns import Fence
from bot.store import budget_sums
from bot.store.files import lock_name, lock_names

ORDER = ("watermarks", "purge", "source", "conversation", "request", "budget", "file")
"""The kinds of locks, in the order in which a transaction takes them. Lock names begin with the
kind."""


class Locker(Protocol):
    """Takes the locks of one transaction. Each method waits until no other transaction has the
    lock."""

    def everything(self) -> None:
        """Run alone. After any other method, transitions with other locks may run concurrently."""
        ...

    def names(self, *names: str) -> None:
        """Take locks that only have a name."""
        ...

    def conversation(self, key: ConversationKey) -> None:
        """Lock the conversation with this key, whether or not it exists."""
        ...

    def conversation_with(self, column: str, value: object) -> None:
        """Lock the conversation with this `id` or `uid`, or that has this `turn`, `source` or
        `request`."""
        ...

    def sums_of(self, request: int, names: Collection[str]) -> None:
        """Lock the budget lines in which the request is reserved, and those with these names."""
        ...

    def page_source(self, turn: int, channel: str, message_id: str) -> None:
        """Lock the source of a platform message in the workspace of the turn."""
        ...


LockRule = Callable[..., None]
"""Requests one call's locks from a Locker; gets the transition's parameters after `db` and
`now`."""

Locks = Callable[[Locker], None]
"""A LockRule bound to the parameters of one call."""


def everything(lock: Locker, *_: Any, **__: Any) -> None:
    """Lock everything: for transitions that are rare, or affect many conversations."""
    lock.everything()


def nothing(_: Locker, /, *__: Any, **___: Any) -> None:
    """Lock nothing: for a single statement that may run alongside any other."""


# ── conversations ─────────────────────────────────────────────────────────────────────────────
def by_id(lock: Locker, conversation: int, *_: Any, **__: Any) -> None:
    """Lock the conversation with this row id."""
    lock.conversation_with("id", conversation)


def by_uid(lock: Locker, uid: str, *_: Any, **__: Any) -> None:
    """Lock the conversation with this public id."""
    lock.conversation_with("uid", uid)


def by_new(lock: Locker, new: NewConversation) -> None:
    """Lock the conversation that is about to be created."""
    lock.conversation(new.key)


def by_fence(lock: Locker, fence: Fence, *_: Any, **__: Any) -> None:
    """Lock the conversation of the turn."""
    lock.conversation_with("turn", fence.turn)


def by_page(lock: Locker, fence: Fence, _: int, channel: str, message_id: str) -> None:
    """Lock the turn's conversation and the page's message, whose deletion may arrive now."""
    lock.page_source(fence.turn, channel, message_id)
    lock.conversation_with("turn", fence.turn)


def by_key(lock: Locker, key: ConversationKey, *_: Any, source: str = "", **__: Any) -> None:
    """Lock the conversation with this key, and the message that issued the command."""
    if source:
        lock.names(_source(source))
    lock.conversation(key)


def by_command(lock: Locker, source: str) -> None:
    """Lock the message that issued the command."""
    lock.names(_source(source))


# ── messages ──────────────────────────────────────────────────────────────────────────────────
def by_incoming(
    lock: Locker, incoming: Incoming, backlog: Sequence[Incoming] = (), **_: Any
) -> None:
    """Lock the messages, their conversation, and their files."""
    everyone = (incoming, *backlog)
    lock.names(*sorted(_source(each.source) for each in everyone))
    lock.conversation(incoming.key)
    brought = (file.digest for each in everyone for file in each.attachments if file.digest)
    lock.names(*lock_names(brought))


def by_source(lock: Locker, source: str, *_: Any, **__: Any) -> None:
    """Lock the message and its conversation. The message may arrive now: see `accept`."""
    lock.names(_source(source))
    lock.conversation_with("source", source)


def _source(source: str) -> str:
    return f"source/{source}"


# ── files ─────────────────────────────────────────────────────────────────────────────────────
def by_attachment(lock: Locker, attachment: int, *_: Any, **__: Any) -> None:
    """Lock the attachment's conversation; `files.ensure` locks the file."""
    lock.conversation_with("attachment", attachment)


def by_digest(lock: Locker, digest: str, *_: Any, **__: Any) -> None:
    """Lock the file."""
    lock.names(lock_name(digest))


def by_digests(lock: Locker, digests: Collection[str]) -> None:
    """Lock the files."""
    lock.names(*lock_names(digests))


def by_purge(lock: Locker) -> None:
    """Lock the discarded files."""
    lock.names("purge")


# ── budgets ───────────────────────────────────────────────────────────────────────────────────
def by_spender(
    lock: Locker, spender: Spender, lines: Sequence[BudgetLine], *_: Any, **__: Any
) -> None:
    """Lock the turn's conversation, and the budget lines."""
    if spender.fence is not None:
        lock.conversation_with("turn", spender.fence.turn)
    lock.names(*_lines(lines))


def by_reservation(
    lock: Locker, reservation: int, _: Sequence[Booking], lines: Sequence[BudgetLine]
) -> None:
    """Lock the reservation, the conversation of its turn, and the budget lines: both the current
    ones and those at the time of the reservation."""
    lock.conversation_with("request", reservation)
    lock.names(f"request/{reservation}")
    lock.sums_of(reservation, _lines(lines))


def _lines(lines: Sequence[BudgetLine]) -> list[str]:
    return sorted(
        {budget_sums.lock_name(each.budget.name, each.account, each.period.name) for each in lines}
    )


# ── others ────────────────────────────────────────────────────────────────────────────────────
def by_watermarks(lock: Locker, marks: Sequence[Watermark]) -> None:
    """Lock the workspaces whose watermarks move."""
    lock.names(*sorted({f"watermarks/{mark.platform}/{mark.workspace}" for mark in marks}))
