"""What each person has of an account's budget, so that one person's replies leave room for others'.

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
        """Count a reply, and note what its owner has already."""
        reservation.owner, reservation.own = owner, self._replies[owner]
        reservation.neighbors = self._workspaces[owner.workspace] - reservation.own
        self._replies[owner] += 1
        self._workspaces[owner.workspace] += 1

    def forget(self, reservation: Reservation) -> None:
        """The reply is over; nothing is reserved for it."""
        if (owner := reservation.owner) is not None:
            self._replies -= Counter((owner,))
            self._workspaces -= Counter((owner.workspace,))
            reservation.owner = None

    def keep(self, reservation: Reservation, scopes: tuple[str, ...]) -> None:
        """The reply holds one request of each of `scopes` from now on."""
        if (owner := reservation.owner) is not None:
            self._kept.update((owner, scope) for scope in scopes)
            self._kept -= Counter((owner, scope) for scope in reservation.keeps)

    def kept(self, reservation: Reservation | None, scope: str) -> int:
        """How many requests of a scope are reserved for replies of the same person."""
        owner = None if reservation is None else reservation.owner
        return 0 if owner is None else self._kept[owner, scope]

    @property
    def people(self) -> int:
        """The number of people with a reply."""
        return len(self._replies)

    @property
    def has_flood(self) -> bool:
        """Whether a person has several replies."""
        return self._replies.total() > self.people
