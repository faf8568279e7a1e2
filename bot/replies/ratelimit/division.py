"""The part of an account's limits that this process may use, while others use the same account.

Invariant: processes that are alive together never have more than the account's limit. In any
window all of them are granted at most `count` requests, and one part more for each process that
joined or ended within that window: the others' earlier requests were granted from larger parts,
and a process that asked for nothing while another came and went has not seen it. Who has seen
it waits for a window before using what an ended process leaves.
With more processes than requests (`count < members`) each one has a single request in a window that
is longer in proportion, so that every reply can end: within one window that may be one request for
each process, over time it is `count` again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from bot.domain.replies import Limit

LONGEST_SECONDS = 3_600.0
"""No window is longer; earlier numbers of members no longer count."""

LOOK_SECONDS = 1.0
"""How often parts are computed again in the time after a change."""


class Division:
    """Divides limits by the number of processes; `members` returns it as it is known now."""

    def __init__(self, members: Callable[[], int]) -> None:
        self._members = members
        self._history: deque[tuple[float, int]] = deque()  # when the number began, and the number
        self._look_at = 0.0

    def look(self, now: float) -> bool:
        """Note the number of members; returns whether parts may be others than before."""
        members = max(1, self._members())
        changed = not self._history or self._history[-1][1] != members
        if changed:
            self._history.append((now, members))
        while len(self._history) > 1 and self._history[1][0] <= now - LONGEST_SECONDS:
            self._history.popleft()
        if not changed and (len(self._history) == 1 or now < self._look_at):
            return False
        self._look_at = now + LOOK_SECONDS
        return True

    def part(self, limit: Limit | None, now: float) -> Limit | None:
        """This process's part of a limit of the account; a limit that is not divided as it is."""
        if limit is None or not limit.divided:
            return limit
        members = self._most(now, limit.seconds)
        if members <= limit.count:
            return replace(limit, count=limit.count // members)
        windows = -(-members // limit.count)  # rounded up
        return replace(limit, count=1, seconds=limit.seconds * windows)

    def _most(self, now: float, seconds: float) -> int:
        """The most members within the last window: the requests of one that ended still count."""
        most = 1
        for began, members in reversed(self._history):
            most = max(most, members)
            if began <= now - seconds:
                break
        return most
