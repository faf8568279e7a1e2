"""Divides an account's limits between the processes that use the same account.

Invariant: processes that are alive together never exceed the account's limit. In any window, all of
them together are granted at most `count` requests, plus one part for each process that joined or
ended within that window: the others' earlier requests were granted from larger parts, and a process
that asked for nothing while another came and went has not noticed it. A process that did notice
waits for one window before it uses the part of an ended process. With more processes than requests
(`count < members`), each process gets a single request in a proportionally longer window, so that
every reply can end. Within one window this may be one request per process; over time it is `count`
again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from bot.domain.replies import Limit

LONGEST_SECONDS = 3_600.0
"""No window is longer, so older member counts no longer matter."""

LOOK_SECONDS = 1.0
"""Seconds between recalculations of the parts after a change."""


class Division:
    """Divides limits by the number of processes; `members` returns the number known now."""

    def __init__(self, members: Callable[[], int]) -> None:
        self._members = members
        self._history: deque[tuple[float, int]] = deque()  # (start time, number)
        self._look_at = 0.0

    def look(self, now: float) -> bool:
        """Record the number of members; return whether the parts may have changed."""
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
        """This process's part of an account's limit. A limit that is not divided stays the same."""
        if limit is None or not limit.divided:
            return limit
        members = self._most(now, limit.seconds)
        if members <= limit.count:
            return replace(limit, count=limit.count // members)
        windows = -(-members // limit.count)  # rounded up
        return replace(limit, count=1, seconds=limit.seconds * windows)

    def _most(self, now: float, seconds: float) -> int:
        """The most members in the last window, because requests of ended processes still count."""
        most = 1
        for began, members in reversed(self._history):
            most = max(most, members)
            if began <= now - seconds:
                break
        return most
