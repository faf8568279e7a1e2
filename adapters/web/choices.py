"""What people choose for their threads: models, a default model of their own, settings.

Invariant: a choice that a place's rules forbid is refused here, and has no effect on requests.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from adapters.web.auth import User
from adapters.web.chat import ChatService
from adapters.web.limits import MODEL_CHARACTERS
from adapters.web.models import PlacedModels, require_offered
from adapters.web.places import CHANNEL, PLATFORM
from bot.domain import http_texts
from bot.domain.conversations import ConversationKey
from bot.domain.model import ModelDescription
from bot.domain.money import NANO, Currency
from bot.domain.prompts import MAX_INSTRUCTIONS
from bot.domain.records import ConversationRecord
from bot.ports.audit import AuditLog
from bot.ports.model import ModelDescriber
from bot.ports.policy import Policy
from bot.ports.sharing import DefaultModels, ShareStore


@dataclass(frozen=True, slots=True)
class ChoicePorts:
    """What the routes for models, thread settings and links need in addition to the
    conversations."""

    policy: Policy
    models: ModelDescriber
    defaults: DefaultModels
    shares: ShareStore
    audit: AuditLog

    async def allows_instructions(self, key: ConversationKey) -> bool:
        """Whether people may give a thread in this place instructions and a temperature."""
        return (await self.policy.effective(key)).instructions.value

    async def allows_sharing(self, key: ConversationKey) -> bool:
        """Whether a thread in this place may have a link."""
        return (await self.policy.effective(key)).share.value

    async def default_model(self, user: str, offered: Sequence[str]) -> str | None:
        """The user's own default model, if it is offered now."""
        model = await self.defaults.default_model(PLATFORM, user)
        return model if model in offered else None


class DefaultModel(BaseModel):
    """The model for the user's new threads; null removes the choice."""

    model: str | None = Field(max_length=MODEL_CHARACTERS)


class ChoiceRoutes:
    """The page's routes for models and thread settings."""

    def __init__(self, *, ports: ChoicePorts, chat: ChatService, models: PlacedModels) -> None:
        self._ports, self._chat, self._models = ports, chat, models
        self._places = chat.places

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/app", include_in_schema=False)
        router.add_api_route("/models", self.models, methods=["GET"])
        router.add_api_route("/default-model", self.set_default, methods=["PUT"])
        router.add_api_route("/threads/{thread}/settings", self.settings, methods=["GET"])
        return router

    async def models(self, user: User, thread: uuid.UUID | None = None) -> dict[str, Any]:
        """The models to choose from for a thread, or for new ones, with known facts about each.

        Servers that offer all their models are asked for the list, for two seconds at most.
        """
        record = None if thread is None else await self._readable(user, thread)
        key = _new_key(user) if record is None else record.conversation.key
        names = await self._models.list_names()
        usual = self._models.usual(key)
        chosen = None if record is None else record.conversation.model
        mine = await self._ports.default_model(user, names)
        described = await self._ports.models.describe([usual, *names])
        currency = self._chat.currency()
        return {
            "currency": currency.code,
            "default": _shape(described[0], currency),
            "chosen": mine if record is None else chosen,
            "mine": mine,
            "models": [_shape(each, currency) for each in described[1:]],
        }

    async def set_default(self, user: User, default: DefaultModel) -> dict[str, Any]:
        """Choose the model of your new threads."""
        await self._chat.require_may_ask(_new_key(user), user)
        await require_offered(self._models, default.model)
        await self._ports.defaults.set_default_model(PLATFORM, user, default.model)
        return {"model": default.model}

    async def settings(self, user: User, thread: uuid.UUID) -> dict[str, Any]:
        """A thread's instructions and temperature, and whether they may be chosen here."""
        conversation = (await self._readable(user, thread)).conversation
        policy = await self._ports.policy.effective(conversation.key)
        model = self._models.answering(conversation).name
        (described,) = await self._ports.models.describe([model])
        return {
            "instructions": conversation.instructions,
            "temperature": conversation.temperature,
            "usual_temperature": policy.temperature.value,
            "allowed": policy.instructions.value,
            "most_characters": MAX_INSTRUCTIONS,
            "model": model,
            "takes_temperature": described.takes_temperature,
        }

    async def _readable(self, user: str, thread: uuid.UUID) -> ConversationRecord:
        record = await self._places.find(str(thread), user, CHANNEL)
        if record is None:
            raise HTTPException(404, http_texts.NO_SUCH_THREAD)
        return record


def _new_key(user: str) -> ConversationKey:
    """A key for the user's threads that do not exist yet."""
    return ConversationKey(PLATFORM, user, CHANNEL, "")


def _shape(model: ModelDescription, currency: Currency) -> dict[str, Any]:
    facts, prices = model.facts, model.prices
    return {
        "name": model.name,
        "window": facts.window,
        "max_output": facts.max_output,
        "sees": facts.sees,
        "tools": facts.tools,
        "effort": facts.effort,
        # For a million tokens, in the currency of the file.
        "input_price": None if prices is None else currency.number(round(prices.input * NANO)),
        "output_price": None if prices is None else currency.number(round(prices.output * NANO)),
        "rests_for": round(model.rests_for, 1),
        "failure": model.failure,
    }
