"""OpenAI's prompt cache, by its published rules.

From the guide "Prompt caching" (developers.openai.com/api/docs/guides/prompt-caching): only exact
prefixes hit; requests of 1,024 tokens and more are cached, in steps of 128 tokens; a request goes
to a machine by a hash of its first 256 tokens and its `prompt_cache_key`, and beyond about 15
requests a minute some go to further machines; an entry lives for 5 to 10 minutes without use, and
for at most an hour. Where the guide gives a range, the simulator takes the strict end. The model
and the effort are part of a request's prefix ("prompt cache diagnostics" in openai 3.52).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

MIN_TOKENS, STEP_TOKENS, ROUTING_TOKENS = 1_024, 128, 256
IDLE_SECONDS, MAX_SECONDS = 300.0, 3_600.0
REQUESTS_PER_MINUTE = 15


@dataclass(slots=True)
class _Entry:
    made: float
    used: float

    def is_alive(self, now: float) -> bool:
        return now - self.used <= IDLE_SECONDS and now - self.made <= MAX_SECONDS


class OpenAICache:
    """The request prefixes that the service's machines still have."""

    def __init__(self) -> None:
        self._machines: dict[Hashable, dict[int, _Entry]] = {}
        self._arrivals: dict[Hashable, deque[float]] = {}

    def look_up(self, variant: Hashable, key: str, tokens: Sequence[Hashable], now: float) -> int:
        """Return how many of a request's tokens are cached, then cache the request.

        `variant` is what must match in addition to the tokens: the API, the model, the effort.
        """
        if len(tokens) < MIN_TOKENS:
            return 0
        route = (variant, key, hash(tuple(tokens[:ROUTING_TOKENS])))
        entries = self._machines.setdefault((route, self._machine(route, now)), {})
        cached, missed = 0, False
        for length, beginning in _beginnings(tokens):
            entry = entries.get(beginning)
            missed = missed or entry is None or not entry.is_alive(now)
            if missed or entry is None:
                entries[beginning] = _Entry(now, now)
            else:
                entry.used, cached = now, length
        return cached

    def _machine(self, route: Hashable, now: float) -> int:
        """Choose which of the route's machines takes a request."""
        arrivals = self._arrivals.setdefault(route, deque())
        while arrivals and arrivals[0] <= now - 60.0:
            arrivals.popleft()
        arrivals.append(now)
        return (len(arrivals) - 1) // REQUESTS_PER_MINUTE


def _beginnings(tokens: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """The prefix lengths at which a request is cached, each with a hash of the tokens up to
    there."""
    chained = 0
    for end in range(STEP_TOKENS, len(tokens) + 1, STEP_TOKENS):
        chained = hash((chained, tuple(tokens[end - STEP_TOKENS : end])))
        if end >= MIN_TOKENS:
            yield end, chained
