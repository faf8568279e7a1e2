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
        """The name from the settings, such as `openai:gpt-5`."""
        ...

    @property
    def facts(self) -> ModelFacts:
        """Facts about the model: configured, built in, or learned from its server.

        For a chain of models: of the one that is asked first.
        """
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


class ModelCatalog(Protocol):
    """The models that may answer; they change while the bot runs."""

    @property
    def default(self) -> str:
        """The name of the model, or chain of models, that answers unless another one is chosen."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The models that people may choose, as far as they are known without asking a server."""
        ...

    async def list_names(self) -> Sequence[str]:
        """As `names`, after asking the servers whose models are all offered, if that was long ago.

        Never takes more than two seconds and raises nothing: a server that does not answer keeps
        its last list.
        """
        ...

    def get(self, name: str | None, assigned: str | None = None) -> ChatModel:
        """The model `name` if people may choose it, else the one that the rules assign to the
        place, else the default one.

        `assigned` may be several models with commas; it counts if all of them are configured.
        """
        ...


class ModelDescriber(Protocol):
    """What people see of models before they choose one."""

    async def describe(self, names: Sequence[str]) -> Sequence[ModelDescription]:
        """The models, in the same order; a chain is described by its first model.

        Asks no server and raises nothing: what is not known stays None.
        """
        ...
