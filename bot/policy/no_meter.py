"""A meter that counts nothing, for programs and tests without books."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager

from bot.domain.errors import BudgetHeld
from bot.domain.model import ChatRequest, Delta
from bot.domain.spending import BudgetState, Spender
from bot.ports.model import ChatModel


class PlainStream:
    """Implements `bot.ports.spending.MeteredStream`."""

    def __init__(self, deltas: AsyncIterator[Delta]) -> None:
        self.deltas = deltas
        self.nearly_spent: Sequence[BudgetState] = ()


class NoMeter:
    """Implements `bot.ports.spending.Meter`."""

    @asynccontextmanager
    async def stream(
        self,
        _spender: Spender,
        model: ChatModel,
        request: ChatRequest,
        _input_tokens: float,
        *,
        spent: Collection[str] = (),
    ) -> AsyncIterator[PlainStream]:
        """Stream from the model; leaving the block ends the request immediately."""
        stream = model.stream(request)
        try:
            yield PlainStream(stream)
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    async def transcribe(
        self, _spender: Spender, _model: str, work: Callable[[], Awaitable[str]]
    ) -> str:
        """Return the transcript."""
        return await work()

    async def wait_for_room(self, error: BudgetHeld) -> None:
        """Return immediately; there are no budgets to wait for."""
