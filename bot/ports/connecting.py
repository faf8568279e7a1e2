"""Connecting a model from the page or the terminal."""

from __future__ import annotations

from typing import Protocol

from bot.domain.connecting import Connected, ModelChoice, Offers


class ModelConnector(Protocol):
    """Tries a model with a real request, and writes it into `.env` if it answers."""

    async def offers(self) -> Offers:
        """What may be chosen; takes a moment, in which servers on this machine are asked."""
        ...

    async def connect(self, choice: ModelChoice) -> Connected:
        """Try the model. Raises nothing; the key is in no part of the result."""
        ...
