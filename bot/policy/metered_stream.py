"""Meters the stream of one request, separately for each model of a chain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from bot.domain.errors import StoreUnavailable
from bot.domain.model import Delta, Usage
from bot.domain.spending import BudgetState, Quote
from bot.domain.tokens import count_tokens
from bot.ports.clock import Clock
from bot.ports.spending import SpendingStore

PROGRESS_SECONDS = 2.0
"""Seconds between writes of a running answer's length; a kill loses at most this much usage."""


@dataclass(slots=True)
class Part:
    """The output of one model of a chain. `output` is the estimated token count of `text` so
    far."""

    model: str | None = None
    usage: Usage | None = None
    has_ended: bool = False
    output: int = 0
    text: list[str] = field(default_factory=list)

    @property
    def is_begun(self) -> bool:
        """Whether anything was received that costs money."""
        return bool(self.output or self.text or self.usage)

    @property
    def is_counted(self) -> bool:
        """Whether the provider has counted the whole answer."""
        return self.usage is not None and self.has_ended

    def count(self) -> int:
        """The estimated tokens of the answer so far."""
        self.output += count_tokens("".join(self.text))
        self.text.clear()
        return self.output

    def used(self, quote: Quote) -> Usage:
        """The provider's count, or an estimate."""
        if self.usage is not None and self.has_ended:
            return self.usage
        output, known = self.count(), self.usage or Usage(quote.input_tokens, 0)
        return Usage(
            input_tokens=known.input_tokens,
            output_tokens=max(output, known.output_tokens),
            cached_tokens=known.cached_tokens,
            cache_write_tokens=known.cache_write_tokens,
            reasoning_tokens=known.reasoning_tokens,
        )


class MeteredStream:
    """Implements `bot.ports.spending.MeteredStream`; counts what passes through it."""

    def __init__(
        self,
        stream: AsyncIterator[Delta],
        quote: Quote,
        store: SpendingStore,
        reservation: int,
        clock: Clock,
    ) -> None:
        self._stream, self._store, self._clock = stream, store, clock
        self._reservation, self.quote = reservation, quote
        self.parts = [Part()]
        self.nearly_spent: Sequence[BudgetState] = ()
        self._stored_at = clock.monotonic()
        self._storing: asyncio.Task[None] | None = None

    @property
    def deltas(self) -> AsyncIterator[Delta]:
        """The streamed answer."""
        return self._count_all()

    async def _count_all(self) -> AsyncGenerator[Delta, None]:
        async for delta in self._stream:
            self._count(delta)
            yield delta
        self.parts[-1].has_ended = True

    def _count(self, delta: Delta) -> None:
        if delta.model:
            if self.parts[-1].is_begun:  # the previous model failed after it had begun to reason
                self.parts.append(Part())
            self.parts[-1].model = delta.model
        part = self.parts[-1]
        part.usage = delta.usage or part.usage
        part.has_ended = part.has_ended or delta.finish_reason is not None
        part.text += filter(None, (delta.reasoning, delta.text))
        self._store_progress()

    def _store_progress(self) -> None:
        """Store the answer's length every few seconds, one write at a time."""
        now = self._clock.monotonic()
        busy = self._storing is not None and not self._storing.done()
        if now - self._stored_at < PROGRESS_SECONDS or busy:
            return
        self._stored_at = now
        part = self.parts[-1]
        progress = self._progress(part.model or self.quote.model, part.count())
        self._storing = asyncio.create_task(progress, name=f"progress-{self._reservation}")

    async def _progress(self, model: str, tokens: int) -> None:
        with suppress(StoreUnavailable):  # an outage followed by a kill loses the answer's count
            await self._store.record_progress(self._reservation, model, tokens)

    async def aclose(self) -> None:
        """End the request immediately."""
        if isinstance(self._stream, AsyncGenerator):
            await self._stream.aclose()
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.wait({self._storing})
