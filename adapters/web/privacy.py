"""A person's own data, erasures and the audit.

Invariant: the API never gives anyone another person's data. An administrator may erase anyone; only
the operator on the machine can export others' data (`threadline export person`).
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import StreamingResponse

from adapters.web import schemas
from adapters.web.admin import require_admin
from adapters.web.auth import User
from adapters.web.openapi import add_route
from adapters.web.places import CHANNEL, PLATFORM
from adapters.web.serializers import timestamp
from bot.domain import privacy_texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import TooEarly
from bot.domain.privacy import EVERYWHERE, Person, Receipt
from bot.ports.audit import AuditLog
from bot.privacy.forgetting import Forgetter
from bot.privacy.personal_exports import PersonalExports

log = structlog.stdlib.get_logger(__name__)

LINES = {"application/jsonl": {"schema": {"type": "string"}}}

_After = Annotated[int, Query(ge=0, le=2**62, description="the last id that was read")]
_Since = Annotated[float, Query(ge=0, le=1e11, description="Unix seconds")]
_Limit = Annotated[int, Query(ge=1, le=1_000)]


class PrivacyRoutes:
    """The routes under /me, and /admin/forget and /admin/audit."""

    def __init__(self, *, forgetter: Forgetter, exports: PersonalExports, audit: AuditLog) -> None:
        self._forgetter, self._exports, self.audit_log = forgetter, exports, audit

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["privacy"])
        receipt = schemas.ForgetReceipt
        add_route(router, "GET", "/me/export", self.export, gives_bytes=LINES)
        add_route(router, "POST", "/me/forget", self.forget_me, gives=receipt)
        add_route(router, "POST", "/admin/forget", self.forget, gives=receipt)
        add_route(router, "GET", "/admin/audit", self.audit, gives=list[schemas.AuditLine])
        return router

    async def export(self, user: User) -> StreamingResponse:
        """Return everything that is known of you, as JSON lines; once an hour."""
        try:
            self._exports.take(_person(user))
        except TooEarly as error:
            sentence = privacy_texts.export_too_early(error.seconds)
            headers = {"Retry-After": str(math.ceil(error.seconds))}
            raise HTTPException(429, sentence, headers=headers) from error
        lines = self._exports.lines(_person(user), by=user, key=_place(user))
        return StreamingResponse(lines, media_type="application/jsonl")

    async def forget_me(self, user: User, confirmed: schemas.Forget) -> dict[str, Any]:
        """Erase everything that is known of you."""
        del confirmed
        receipt = await self._forgetter.forget(_person(user), by=user, key=_place(user))
        return _receipt(receipt)

    # ── administrators ────────────────────────────────────────────────────────────────────────
    async def forget(
        self, request: Request, user: User, wanted: schemas.ForgetPerson
    ) -> dict[str, Any]:
        """Erase everything that is known of a person."""
        require_admin(request, user)
        person = Person(wanted.platform, wanted.workspace, wanted.person)
        return _receipt(await self._forgetter.forget(person, by=user, key=_place(user)))

    async def audit(
        self,
        request: Request,
        user: User,
        after: _After = 0,
        since: _Since = 0.0,
        limit: _Limit = 200,
    ) -> list[dict[str, Any]]:
        """List who changed, read, exported or erased what, oldest first."""
        require_admin(request, user)
        found = await self.audit_log.entries(after=after, since=since, limit=limit)
        return [
            {
                "id": entry.id,
                "at": timestamp(entry.at),
                "action": entry.action,
                "platform": entry.key.platform,
                "workspace": entry.key.workspace,
                "channel": entry.key.channel,
                "actor": entry.actor,
                "subject": entry.subject,
                "details": dict(entry.details),
            }
            for entry in found
        ]


def _person(user: str) -> Person:
    return Person(PLATFORM, EVERYWHERE, user)


def _place(user: str) -> ConversationKey:
    return ConversationKey(PLATFORM, user, CHANNEL, "")


def _receipt(receipt: Receipt) -> dict[str, Any]:
    erased = receipt.erased
    return {
        "receipt": receipt.id,
        "at": timestamp(receipt.at),
        "conversations": erased.conversations,
        "messages": erased.messages,
        "files": erased.files,
        "replies": erased.replies,
    }
