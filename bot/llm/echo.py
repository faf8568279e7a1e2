"""A model without a model: it repeats the question, so that everything else can be tried."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

from bot.domain.conversations import Role
from bot.domain.health import Finding, Verdict
from bot.domain.model import ChatRequest, Delta, Usage
from bot.domain.tokens import count_tokens

# Fast enough not to bore, slow enough to see that the reply streams: 50 pieces per second.
SECONDS_PER_PIECE = 0.02
_PIECE = re.compile(r"\s*\S{1,8}|\s+")


class EchoModel:
    """Streams the last message back, and how many messages of the conversation it got."""

    def __init__(self, *, seconds_per_piece: float = SECONDS_PER_PIECE) -> None:
        self._pause = seconds_per_piece

    @property
    def name(self) -> str:
        """As in the settings."""
        return "echo"

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """The answer, piece by piece; it never fails."""
        pieces = _PIECE.findall(_answer(request))
        most = request.max_tokens or len(pieces)
        for k, piece in enumerate(pieces[:most]):
            yield Delta(piece, model=None if k else self.name)
            await asyncio.sleep(self._pause)
        asked = sum(count_tokens(message.content) for message in request.messages)
        finish = "stop" if most >= len(pieces) else "length"
        yield Delta(finish_reason=finish, usage=Usage(asked, min(most, len(pieces))))

    async def check(self) -> Finding:
        """It always works, and says what it is."""
        advice = "Set LLM to talk with a real model, such as openai:gpt-5-mini."
        return Finding(self.name, Verdict.WARNING, "repeats what it is told", advice)

    async def aclose(self) -> None:
        """There is nothing to close."""


def _answer(request: ChatRequest) -> str:
    said = [message.content for message in request.messages if message.role is Role.USER]
    known = sum(message.role is not Role.SYSTEM for message in request.messages)
    last = said[-1] if said else ""
    count = "1 message" if known == 1 else f"{known} messages"
    return f"You wrote:\n\n{last}\n\nI only repeat, and I have {count} of this conversation."
