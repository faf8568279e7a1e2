"""What each transition has for itself where several processes write to one database.

SQLite has one writer, so every transition has everything for itself, and no rule is asked. On
PostgreSQL a rule names the conversation and the other things that a transition reads or changes;
transitions with nothing in common run at the same time, all others one after the other. A
transition without a rule has everything for itself: a forgotten rule is slow, never wrong.

Invariant: locks are taken in the order of `ORDER`, those of one kind by their names, and a row that
several conversations share is changed only with its lock. So two transitions never wait for each
other. docs/postgresql.md has the rows that have no lock, and why they need none.
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
"""The kinds of locks, in the order in which a transaction takes them: names begin with them."""


class Locker(Protocol):
    """Takes the locks of one transaction. Each waits until no other transaction has the lock."""

    def everything(self) -> None:
        """Run alone. Every other method lets transitions with other locks run, too."""
        ...

    def names(self, *names: str) -> None:
        """Locks that only have a name."""
        ...

    def conversation(self, key: ConversationKey) -> None:
        """The conversation with this key, whether or not it exists."""
        ...

    def conversation_with(self, column: str, value: object) -> None:
        """The conversation whose `id`, `uid`, or that has the `turn`, `source` or `request`."""
        ...

    def sums_of(self, request: int, names: Collection[str]) -> None:
        """The lines of budgets in which the request is reserved, and those with these names."""
        ...

    def page_source(self, turn: int, channel: str, message_id: str) -> None:
        """The source of a platform message in the workspace of the turn."""
        ...


LockRule = Callable[..., None]
"""Asks a Locker for one call's locks: gets the transition's parameters after `db` and `now`."""

Locks = Callable[[Locker], None]
"""A LockRule with the parameters of one call."""


def everything(lock: Locker, *_: Any, **__: Any) -> None:
    """The rule of transitions that are rare, or that concern many conversations."""
    lock.everything()


def nothing(_: Locker, /, *__: Any, **___: Any) -> None:
    """The rule of a single statement that is correct beside any other."""


# ── conversations ─────────────────────────────────────────────────────────────────────────────
def by_id(lock: Locker, conversation: int, *_: Any, **__: Any) -> None:
    """The conversation with this row id."""
    lock.conversation_with("id", conversation)


def by_uid(lock: Locker, uid: str, *_: Any, **__: Any) -> None:
    """The conversation with this public id."""
    lock.conversation_with("uid", uid)


def by_new(lock: Locker, new: NewConversation) -> None:
    """The conversation that is about to exist."""
    lock.conversation(new.key)


def by_fence(lock: Locker, fence: Fence, *_: Any, **__: Any) -> None:
    """The conversation of the turn."""
    lock.conversation_with("turn", fence.turn)


def by_page(lock: Locker, fence: Fence, _: int, channel: str, message_id: str) -> None:
    """The conversation of the turn, and the page's message: its deletion may arrive now."""
    lock.page_source(fence.turn, channel, message_id)
    lock.conversation_with("turn", fence.turn)


def by_key(lock: Locker, key: ConversationKey, *_: Any, source: str = "", **__: Any) -> None:
    """The conversation with this key, and the message that is the command."""
    if source:
        lock.names(_source(source))
    lock.conversation(key)


def by_command(lock: Locker, source: str) -> None:
    """The message that is the command."""
    lock.names(_source(source))


# ── messages ──────────────────────────────────────────────────────────────────────────────────
def by_incoming(
    lock: Locker, incoming: Incoming, backlog: Sequence[Incoming] = (), **_: Any
) -> None:
    """The messages, their conversation, and the files that they bring."""
    everyone = (incoming, *backlog)
    lock.names(*sorted(_source(each.source) for each in everyone))
    lock.conversation(incoming.key)
    brought = (file.digest for each in everyone for file in each.attachments if file.digest)
    lock.names(*lock_names(brought))


def by_source(lock: Locker, source: str, *_: Any, **__: Any) -> None:
    """The message and its conversation. The message may arrive now: see `accept`."""
    lock.names(_source(source))
    lock.conversation_with("source", source)


def _source(source: str) -> str:
    return f"source/{source}"


# ── files ─────────────────────────────────────────────────────────────────────────────────────
def by_attachment(lock: Locker, attachment: int, *_: Any, **__: Any) -> None:
    """The conversation of the attachment; its file's lock is taken by `files.ensure`."""
    lock.conversation_with("attachment", attachment)


def by_digest(lock: Locker, digest: str, *_: Any, **__: Any) -> None:
    """The file."""
    lock.names(lock_name(digest))


def by_digests(lock: Locker, digests: Collection[str]) -> None:
    """The files."""
    lock.names(*lock_names(digests))


def by_purge(lock: Locker) -> None:
    """The files that were discarded."""
    lock.names("purge")


# ── budgets ───────────────────────────────────────────────────────────────────────────────────
def by_spender(
    lock: Locker, spender: Spender, lines: Sequence[BudgetLine], *_: Any, **__: Any
) -> None:
    """The turn's conversation, and the lines of budgets."""
    if spender.fence is not None:
        lock.conversation_with("turn", spender.fence.turn)
    lock.names(*_lines(lines))


def by_reservation(
    lock: Locker, reservation: int, _: Sequence[Booking], lines: Sequence[BudgetLine]
) -> None:
    """The reservation, the conversation of its turn, and the lines of budgets: those of now, and
    those of the time of the reservation.
    """
    lock.conversation_with("request", reservation)
    lock.names(f"request/{reservation}")
    lock.sums_of(reservation, _lines(lines))


def _lines(lines: Sequence[BudgetLine]) -> list[str]:
    return sorted(
        {budget_sums.lock_name(each.budget.name, each.account, each.period.name) for each in lines}
    )


# ── others ────────────────────────────────────────────────────────────────────────────────────
def by_watermarks(lock: Locker, marks: Sequence[Watermark]) -> None:
    """The workspaces whose watermarks move."""
    lock.names(*sorted({f"watermarks/{mark.platform}/{mark.workspace}" for mark in marks}))
