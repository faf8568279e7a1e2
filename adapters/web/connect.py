"""The page's panel that connects a model: only for the owner of this machine, or an administrator.

Invariant: a key is read from a request and never written into a response.
"""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field, SecretStr

from adapters.web.auth import Access, User
from adapters.web.limits import MODEL_CHARACTERS
from bot.domain import http_texts
from bot.domain.connecting import ModelChoice, ProviderOffer
from bot.ports.connecting import ModelConnector

log = structlog.stdlib.get_logger(__name__)

KEY_CHARACTERS = 1_000
"""The most characters of a key; providers' keys have up to 200."""


class ChosenModel(BaseModel):
    """The model to try. An empty key keeps the current one."""

    provider: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,49}$")
    model: str = Field(min_length=1, max_length=MODEL_CHARACTERS)
    key: SecretStr = Field(default=SecretStr(""), max_length=KEY_CHARACTERS)


class ConnectRoutes:
    """The routes, which belong to the page and not to the API description."""

    def __init__(self, connector: ModelConnector) -> None:
        self._connector = connector

    def router(self) -> APIRouter:
        """GET the available choices, POST one."""
        router = APIRouter(prefix="/app/connect", include_in_schema=False)
        router.add_api_route("", self.offers, methods=["GET"])
        router.add_api_route("", self.connect, methods=["POST"])
        return router

    async def offers(self, request: Request, user: User) -> dict[str, Any]:
        """The servers on this machine and the services; says which keys are set, never their
        values."""
        _require_owner(request, user)
        offers = await self._connector.offers()
        return {
            "local": [_offer(each) for each in offers.local],
            "services": [_offer(each) for each in offers.services],
        }

    async def connect(self, request: Request, user: User, chosen: ChosenModel) -> dict[str, str]:
        """Try a model, and use it from now on if it answers."""
        _require_owner(request, user)
        choice = ModelChoice(chosen.provider, chosen.model, chosen.key.get_secret_value())
        result = await self._connector.connect(choice)
        log.info(
            "a model was tried", model=choice.name, user=user, connected=not bool(result.error)
        )
        return {"answer": result.answer, "error": result.error, "note": result.note}


def may_connect(access: Access, user: str) -> bool:
    """Without tokens only this machine's owner reaches the page; with them, administrators may."""
    return not access.needs_token or access.is_admin(user)


def _require_owner(request: Request, user: str) -> None:
    """Raise HTTPException 403 for other users."""
    if not may_connect(request.app.state.access, user):
        raise HTTPException(403, http_texts.ADMINS_ONLY)


def _offer(offer: ProviderOffer) -> dict[str, Any]:
    return {
        "name": offer.name,
        "title": offer.title,
        "models": list(offer.models),
        "key": offer.key,
        "key_is_set": offer.key_is_set,
    }
