"""Catalogs of models: one that never changes, and one whose server a test controls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from bot.llm.echo import EchoModel
from bot.ports.model import ChatModel


class FixedCatalog:
    """Implements `bot.ports.model.ModelCatalog`; `choices` are the models by name."""

    def __init__(self, default: ChatModel, choices: Mapping[str, ChatModel]) -> None:
        self._default, self._choices = default, choices

    @property
    def default(self) -> str:
        return self._default.name

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._choices)

    async def list_names(self) -> Sequence[str]:
        return self.names

    def get(self, name: str | None, assigned: str | None = None) -> ChatModel:
        found = (self._choices.get(each) for each in (name, assigned) if each is not None)
        return next(filter(None, found), self._default)


class ChangingCatalog(FixedCatalog):
    """Like `FixedCatalog`, until `serve` sets what the server offers from the next request on.

    `asked` counts the requests to the server; `gate`, if set, holds each of them.
    """

    def __init__(self, default: ChatModel, choices: Mapping[str, ChatModel]) -> None:
        super().__init__(default, choices)
        self.asked = 0
        self.gate: asyncio.Event | None = None
        self._served: Mapping[str, ChatModel] | None = None

    def answer_with(self, model: ChatModel) -> None:
        """Make `model` the default."""
        self._default = model

    def serve(self, *names: str) -> None:
        """Let the server offer `names`, each answered by the echo model."""
        self._served = dict.fromkeys(names, EchoModel())

    async def list_names(self) -> Sequence[str]:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        self._choices = self._choices if self._served is None else self._served
        return self.names


def offering(*names: str) -> FixedCatalog:
    """A catalog in which the echo model answers under each of `names`, and by default."""
    return FixedCatalog(EchoModel(), dict.fromkeys(names, EchoModel()))
