"""The language model port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from bot.domain.health import Finding
from bot.domain.model import ChatRequest, Delta


class ChatModel(Protocol):
    """A language model that streams its answers."""

    @property
    def name(self) -> str:
        """The name from the settings, such as `openai:gpt-5`."""
        ...

    @property
    def sees(self) -> bool | None:
        """Whether the model takes images; None if that is unknown.

        Learned from the server's answers: a server that drops images silently counts as one that
        takes them.
        """
        ...

    def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """Stream the answer; the last pieces have the finish reason and the usage.

        Raises a ModelError. Closing the iterator or cancelling its task aborts the request.
        """
        ...

    async def check(self) -> Finding:
        """Test the key and the model with a real call, for `doctor`. Raises nothing."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
