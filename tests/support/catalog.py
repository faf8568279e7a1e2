"""A catalog of models that does not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.llm.echo import EchoModel
from bot.ports.model import ChatModel


class FixedCatalog:
    """Implements `bot.ports.model.ModelCatalog`: `choices` are the models by name."""

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

    def get(self, name: str | None) -> ChatModel:
        return self._default if name is None else self._choices.get(name, self._default)


def offering(*names: str) -> FixedCatalog:
    """A catalog in which echo answers under each of `names`, and by default."""
    return FixedCatalog(EchoModel(), dict.fromkeys(names, EchoModel()))
