"""How much one request may bring, and how many streams one person may hold open."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from fastapi import HTTPException

BODY_BYTES = 1_048_576
"""A whole past conversation fits; more than a model's context of text does not."""

MESSAGE_CHARACTERS = 64_000
"""One message: about the default context (16,000 tokens of four characters)."""

NAME_CHARACTERS = 80
"""A conversation's name: a line in a list."""

RETRY_SECONDS = 5
"""When to ask again after 429: an answer takes about so long."""

TOO_MANY = "You have too many answers and pages open at once: close some, or ask again soon."


class Streams:
    """Counts the answers and event streams that each user waits for; at most `most` at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def require_free(self, user: str) -> None:
        """Raise 429 when this user may open no more."""
        if self._open[user] >= self._most:
            raise HTTPException(429, TOO_MANY, headers={"Retry-After": str(RETRY_SECONDS)})

    @contextlib.contextmanager
    def hold(self, user: str) -> Iterator[None]:
        """One of the user's places, for as long as the context lasts. Raises 429."""
        self.require_free(user)
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]
