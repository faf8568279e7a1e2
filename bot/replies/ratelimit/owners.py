"""Tracks each person's share of an account's budget, so that their replies leave room for others'.

Invariant: people and workspaces without replies are not remembered.
"""

from __future__ import annotations

from collections import Counter

from bot.domain.replies import ReplyOwner, Reservation


class Owners:
    """Counts the replies of people and workspaces, and the requests reserved for their endings."""

    def __init__(self) -> None:
        self._replies: Counter[ReplyOwner] = Counter()
        self._workspaces: Counter[str] = Counter()
        self._kept: Counter[tuple[ReplyOwner, str]] = Counter()

    def announce(self, reservation: Reservation, owner: ReplyOwner) -> None:
        """Count a reply, and record how many its owner and workspace already have."""
        reservation.owner, reservation.own = owner, self._replies[owner]
        reservation.neighbors = self._workspaces[owner.workspace] - reservation.own
        self._replies[owner] += 1
        self._workspaces[owner.workspace] += 1

    def forget(self, reservation: Reservation) -> None:
        """Stop counting a reply that is over and has no reserved requests."""
        if (owner := reservation.owner) is not None:
            self._replies -= Counter((owner,))
            self._workspaces -= Counter((owner.workspace,))
            reservation.owner = None

    def keep(self, reservation: Reservation, scopes: tuple[str, ...]) -> None:
        """Record that the reply now holds one reserved request in each of `scopes`."""
        if (owner := reservation.owner) is not None:
            self._kept.update((owner, scope) for scope in scopes)
            self._kept -= Counter((owner, scope) for scope in reservation.keeps)

    def kept(self, reservation: Reservation | None, scope: str) -> int:
        """The number of requests in a scope that are reserved for replies of the same person."""
        owner = None if reservation is None else reservation.owner
        return 0 if owner is None else self._kept[owner, scope]

    @property
    def people(self) -> int:
        """The number of people who have a reply."""
        return len(self._replies)

    @property
    def has_flood(self) -> bool:
        """Whether any person has several replies."""
        return self._replies.total() > self.people
