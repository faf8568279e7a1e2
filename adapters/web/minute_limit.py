"""Limits how often each user may do something in a minute."""

from __future__ import annotations

import math

from cachetools import LRUCache
from fastapi import HTTPException

from bot.domain import http_texts
from bot.ports.clock import Clock

MINUTE = 60.0
MOST_USERS = 10_000
"""How many users to count; the most recent ones are kept."""


class MinuteLimit:
    """Counts in windows of a minute, each of which begins with its first use."""

    def __init__(self, most: int, clock: Clock) -> None:
        self._most, self._clock = most, clock
        self._windows: LRUCache[str, tuple[float, int]] = LRUCache(MOST_USERS)

    def take(self, user: str) -> None:
        """Count one use. Raises HTTPException 429 if the user has had `most` of them."""
        now = self._clock.monotonic()
        began, count = self._windows.get(user, (now, 0))
        if now - began >= MINUTE:
            began, count = now, 0
        if count >= self._most:
            wait = {"Retry-After": str(max(1, math.ceil(began + MINUTE - now)))}
            raise HTTPException(429, http_texts.TOO_MANY_REQUESTS, headers=wait)
        self._windows[user] = began, count + 1
