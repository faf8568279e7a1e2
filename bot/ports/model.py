"""The language model port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from bot.domain.health import Finding
from bot.domain.model import ChatRequest, Delta


class ChatModel(Protocol):
    """A language model that streams."""

    @property
    def name(self) -> str:
        """As in the settings, such as `openai:gpt-5`."""
        ...

    def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """The answer, piece by piece; the last pieces carry finish reason and usage.

        Raises a ModelError. Closing the iterator or cancelling its task ends the request at once.
        """
        ...

    async def check(self) -> Finding:
        """Try the key and the model with a real call, for `doctor`; raises nothing."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
