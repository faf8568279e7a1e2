"""The language model port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from bot.domain.health import Finding
from bot.domain.model import ChatRequest, Delta, ModelDescription, ModelFacts


class ChatModel(Protocol):
    """A language model that streams its answers."""

    @property
    def name(self) -> str:
        """The model's name in the settings, such as `openai:gpt-5`."""
        ...

    @property
    def facts(self) -> ModelFacts:
        """Facts about the model: configured, built in, or learned from its server.

        A chain returns the facts of its first model.
        """
        ...

    @property
    def sees(self) -> bool | None:
        """Whether the model accepts images; None if unknown.

        Learned from the server's responses, so a server that silently drops images counts as
        accepting them.
        """
        ...

    def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """Stream the answer; the last pieces carry the finish reason and the usage.

        Raises a ModelError. Closing the iterator or cancelling its task aborts the request.
        """
        ...

    async def check(self) -> Finding:
        """Test the key and the model with a real call, for `doctor`. Never raises."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class ModelCatalog(Protocol):
    """The models that may answer; the selection changes while the bot runs."""

    @property
    def default(self) -> str:
        """The name of the model, or chain of models, that answers unless another one is chosen."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The models that people may choose, as far as they are known without querying a server."""
        ...

    async def list_names(self) -> Sequence[str]:
        """Like `names`, but first queries the servers that offer all their models, unless they were
        queried recently.

        Takes at most two seconds and never raises: if a server does not answer, its previous list
        is used.
        """
        ...

    def get(self, name: str | None, assigned: str | None = None) -> ChatModel:
        """The model `name` if people may choose it, otherwise the one that the rules assign to the
        place, otherwise the default.

        `assigned` may list several models separated by commas; it only counts if all of them are
        configured.
        """
        ...


class ModelDescriber(Protocol):
    """Describes models to people before they choose one."""

    async def describe(self, names: Sequence[str]) -> Sequence[ModelDescription]:
        """Describe the models, in the same order; for a chain, describe its first model.

        Queries no server and never raises; unknown facts are None.
        """
        ...
