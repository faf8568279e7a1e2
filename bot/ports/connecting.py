"""The port for connecting a model from the page or the terminal."""

from __future__ import annotations

from typing import Protocol

from bot.domain.connecting import Connected, ModelChoice, Offers


class ModelConnector(Protocol):
    """Tries a model with a real request, and writes it into `.env` if it answers."""

    async def offers(self) -> Offers:
        """The choices; takes a moment, because servers on this machine are queried."""
        ...

    async def connect(self, choice: ModelChoice) -> Connected:
        """Try the model. Never raises; no part of the result contains the key."""
        ...
