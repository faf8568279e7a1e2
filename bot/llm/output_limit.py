"""Limits the length of the answer to the request's limit and to what one model's server accepts.

The server's limits are learned from the requests it rejects, and kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain.model import ChatRequest
from bot.domain.tokens import message_tokens
from bot.llm.parameter_rules import TOO_LARGE
from bot.llm.token_counts import TokenCounts

MIN_ANSWER_TOKENS = 256
"""If less room than this is left, a shorter history helps more than a shorter answer."""

_MARGIN = 16
"""Tokens left free in the window: servers count a few for the chat template."""


class OutputLimit:
    """What one model's server has revealed about the length of its answers."""

    def __init__(self) -> None:
        self._max_output: int | None = None
        self._window: int | None = None
        self._uncounted = 0  # the most prompt tokens so far that our estimate missed

    def apply(self, request: ChatRequest, limit: int) -> int:
        """`limit`, or less if the server would reject it for this request."""
        if self._max_output is not None:
            limit = min(limit, self._max_output)
        if self._window is not None:
            room = self._window - self._prompt_tokens(request) - _MARGIN
            limit = min(limit, max(room, min(MIN_ANSWER_TOKENS, limit)))
        return limit

    def learn(
        self, counts: TokenCounts, text: str, limit: int, request: ChatRequest, *, too_long: bool
    ) -> bool:
        """Learn from `text`, the rejection of a request with the limit `limit`.

        `too_long`: the request and its limit together exceed the window. Returns whether a smaller
        limit may help. A long request that left little room must not shorten the answers to short
        ones, so only a limit for all answers is remembered.
        """
        if MIN_ANSWER_TOKENS <= (counts.max_output or 0) < limit:
            self._max_output = min(counts.max_output or limit, self._max_output or limit)
        elif counts.window is not None and (counts.about_output or limit >= counts.window):
            prompt = _counted_prompt(counts, limit) or self._prompt_tokens(request)
            room = counts.window - prompt - _MARGIN
            if room >= limit or room < min(limit, MIN_ANSWER_TOKENS):
                return False
            self._window = counts.window
            self._uncounted = max(self._uncounted, prompt - _estimate_tokens(request))
        elif counts.about_output and TOO_LARGE.search(text) and limit > 2 * MIN_ANSWER_TOKENS:
            if too_long:
                self._window = self._prompt_tokens(request) + limit // 2 + _MARGIN
            else:
                self._max_output = limit // 2
        else:
            return False
        return True

    def describe(self) -> Iterator[str]:
        """Describe the limits in words, for `doctor`."""
        if self._max_output is not None:
            yield f"for answers of at most {self._max_output:,} tokens"
        if self._window is not None:
            yield f"within a window of {self._window:,} tokens"

    def _prompt_tokens(self, request: ChatRequest) -> int:
        return _estimate_tokens(request) + self._uncounted


def _counted_prompt(counts: TokenCounts, limit: int) -> int | None:
    """The server's count for the messages alone."""
    if counts.prompt is not None or counts.requested is None:
        return counts.prompt
    includes_limit = counts.requested > limit and counts.about_output
    return counts.requested - limit if includes_limit else counts.requested


def _estimate_tokens(request: ChatRequest) -> int:
    return sum(map(message_tokens, request.messages))
