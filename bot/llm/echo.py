"""The echo model: repeats the question, so that everything else can be tried without a model."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bot.domain.conversations import Message, Role
from bot.domain.health import Finding, Verdict
from bot.domain.model import ChatRequest, Delta, ModelFacts
from bot.llm.built_in import SECONDS_PER_PIECE, stream_text


class EchoModel:
    """Streams back the last user message, and reports how many images and messages it received."""

    name = "echo"
    sees = True
    facts = ModelFacts(sees=True)

    def __init__(self, *, seconds_per_piece: float = SECONDS_PER_PIECE) -> None:
        self._pause = seconds_per_piece

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """Stream the answer piece by piece; never fails."""
        text = stream_text(
            _answer(request), request, model=self.name, seconds_per_piece=self._pause
        )
        async for delta in text:
            yield delta

    async def check(self) -> Finding:
        """Warn that this is not a language model."""
        advice = "Set LLM to use a real model, such as openai:gpt-5-mini."
        return Finding(self.name, Verdict.WARNING, "repeats the question", advice)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""


def _answer(request: ChatRequest) -> str:
    questions = [message for message in request.messages if message.role is Role.USER]
    known = sum(message.role is not Role.SYSTEM for message in request.messages)
    last = questions[-1] if questions else Message(Role.USER, "")
    said = f"You wrote:\n\n{last.content}\n\n"
    if last.parts:
        said += f"I got {_count(len(last.parts), 'image')}.\n\n"
    return f"{said}I only repeat, and I have {_count(known, 'message')} of this conversation."


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
