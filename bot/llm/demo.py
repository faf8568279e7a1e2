"""The demo model: scripted answers, so that people can try Threadline before they have a model."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bot.domain.conversations import Role
from bot.domain.health import Finding, Verdict
from bot.domain.model import DEMO, ChatRequest, Delta, ModelFacts
from bot.llm import demo_answers
from bot.llm.built_in import SECONDS_PER_PIECE, stream_text


class DemoModel:
    """Answers the questions that the page suggests, and says that it is only a demo.

    The long answer stops halfway with the finish reason `length`, as a real model's does at its
    limit. `continue` resumes where the previous text ended, also after a stop.
    """

    name = DEMO
    sees = True
    facts = ModelFacts(sees=True)

    def __init__(self, *, seconds_per_piece: float = SECONDS_PER_PIECE) -> None:
        self._pause = seconds_per_piece

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """Stream the answer piece by piece; never fails."""
        said = [each for each in request.messages if each.role is not Role.SYSTEM]
        answer = demo_answers.answer(said)
        text = stream_text(
            answer.text,
            request,
            model=self.name,
            seconds_per_piece=self._pause,
            finish_reason="stop" if answer.is_whole else "length",
        )
        async for delta in text:
            yield delta

    async def check(self) -> Finding:
        """Warn that this is not a language model."""
        advice = "Set LLM to use a real model, such as openai/gpt-5-mini."
        return Finding(self.name, Verdict.WARNING, "answers with scripted text", advice)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""
