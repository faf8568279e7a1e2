"""The models that people may choose, for the page and the API; they change while the bot runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter

from adapters.web import schemas
from adapters.web.auth import User
from adapters.web.openapi import add_route, field_error
from bot.domain import http_texts
from bot.domain.conversations import Conversation, ConversationKey
from bot.ports.model import ChatModel, ModelCatalog

Assigned = Callable[[ConversationKey], str | None]
"""The model that the rules assign to a place; None is the default."""


class PlacedModels:
    """The catalog, extended by the models that rules assign to places."""

    def __init__(self, models: ModelCatalog, assigned: Assigned) -> None:
        self._models, self._assigned = models, assigned

    @property
    def default(self) -> str:
        """See `ModelCatalog.default`."""
        return self._models.default

    @property
    def names(self) -> Sequence[str]:
        """See `ModelCatalog.names`."""
        return self._models.names

    async def list_names(self) -> Sequence[str]:
        """See `ModelCatalog.list_names`."""
        return await self._models.list_names()

    def get(self, name: str | None, assigned: str | None = None) -> ChatModel:
        """See `ModelCatalog.get`."""
        return self._models.get(name, assigned)

    def answering(self, conversation: Conversation) -> ChatModel:
        """The model that answers a conversation."""
        return self._models.get(conversation.model, self._assigned(conversation.key))

    def usual(self, key: ConversationKey) -> str:
        """The name of the model that answers in a place unless a person chooses another one."""
        assigned = self._assigned(key)
        return self._models.default if assigned is None else self._models.get(None, assigned).name


class ModelRoutes:
    """The route /models."""

    def __init__(self, models: ModelCatalog) -> None:
        self._models = models

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(prefix="/models", tags=["models"])
        add_route(router, "GET", "", self.all, gives=schemas.Models)
        return router

    async def all(self, _user: User) -> dict[str, Any]:
        """List the models that a conversation may choose, and the default.

        Servers that offer all their models are asked for the list, for two seconds at most; if one
        does not answer, its last list stays.
        """
        names = await self._models.list_names()
        return {"default": self._models.default, "models": list(names)}


async def require_offered(models: ModelCatalog, model: str | None) -> None:
    """Raises HTTPException 422 unless `model` may be chosen; None is the default model.

    A server that offers all its models is asked before a name is refused.
    """
    if model is None or model in models.names:
        return
    names = await models.list_names()
    if model not in names:
        raise field_error(("body", "model"), http_texts.model_not_offered(names))
