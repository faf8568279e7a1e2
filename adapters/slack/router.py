"""Bolt's listeners, which pass each delivery to its workspace.

If handling raises, Bolt answers 500 (in Socket Mode it does not answer), so that Slack redelivers
the event: immediately, after 1 minute and after 5 minutes.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Protocol

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from adapters.slack.envelopes import field_types
from adapters.slack.interaction_listeners import InteractionListeners
from adapters.slack.listeners import Listeners
from adapters.slack.outages import REDELIVERY_SECONDS
from adapters.slack.payloads import Payload, text
from adapters.slack.routing import REMOVALS, kind_of_event
from bot.domain.errors import ThreadlineError, Unsettled

log = structlog.stdlib.get_logger(__name__)

ANY = re.compile(".*")
EARLY_ATTEMPTS = frozenset({"", "0", "1"})
"""The first delivery and the one right after it."""

Interact = Callable[[InteractionListeners, Payload, AsyncAck], Awaitable[BoltResponse]]


class Served(Protocol):
    """A workspace that the bot serves."""

    @property
    def listeners(self) -> Listeners:
        """The listeners for its deliveries."""
        ...

    def handling(self) -> AbstractContextManager[None]:
        """Keeps the workspace open while a delivery is handled."""
        ...


class Router:
    """The app's listeners.

    `find` returns a delivery's workspace if the app is installed there, and may raise
    StoreUnavailable. `failed` is called with how many seconds ago Slack may have first attempted a
    delivery that was not handled.
    """

    def __init__(
        self,
        find: Callable[[Payload], Awaitable[Served | None]],
        failed: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._find, self._failed = find, failed

    def register(self, app: AsyncApp) -> None:
        """Register a listener for everything that `envelopes.dispatch` passes to Bolt."""
        app.event(ANY)(self._on_event)
        app.command(ANY)(self._on_slash_command)
        app.message_shortcut(ANY)(self._on_shortcut)
        app.action(ANY)(self._on_button)
        app.view_submission(ANY)(self._on_modal)
        app.error(self._on_error)

    async def _on_event(self, body: Payload, request: AsyncBoltRequest) -> None:
        served = await self._find(body)
        if served is None:
            self._refuse(body, request)
            return
        with served.handling():
            await served.listeners.on_event(body)

    async def _on_slash_command(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        return await self._interact(body, ack, InteractionListeners.on_slash_command)

    async def _on_shortcut(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        return await self._interact(body, ack, InteractionListeners.on_shortcut)

    async def _on_button(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        return await self._interact(body, ack, InteractionListeners.on_button)

    async def _on_modal(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        return await self._interact(body, ack, InteractionListeners.on_modal)

    async def _interact(self, body: Payload, ack: AsyncAck, handle: Interact) -> BoltResponse:
        served = await self._find(body)
        if served is None:
            return await ack()
        with served.handling():
            return await handle(served.listeners.interactions, body, ack)

    def _refuse(self, body: Payload, request: AsyncBoltRequest) -> None:
        """Handle an event from a workspace without the app.

        Raises Unsettled for an early attempt: events may arrive before the installation is stored.
        """
        kind = kind_of_event(body)
        log.info("an event of no installation", kind=kind, event_id=text(body, "event_id"))
        if kind not in REMOVALS and _attempt(request) in EARLY_ATTEMPTS:
            raise Unsettled("the app is not installed there")

    async def _on_error(
        self, error: Exception, body: Payload, request: AsyncBoltRequest
    ) -> BoltResponse | None:
        """Return None to answer 500.

        A redelivery that fails for any reason other than the database or Slack is acknowledged,
        since it would fail every time.
        """
        event_id, redelivered = text(body, "event_id"), _attempt(request) not in ("", "0")
        self._failed(REDELIVERY_SECONDS if redelivered else 0.0)
        if isinstance(error, ThreadlineError | TimeoutError | OSError):
            log.error("not acknowledged", event_id=event_id, error=repr(error))
            return None
        log.error("a delivery failed", event_id=event_id, types=field_types(body), exc_info=error)
        return BoltResponse(status=200, body="") if redelivered else None


def _attempt(request: AsyncBoltRequest) -> str:
    return request.headers.get("x-slack-retry-num", ["0"])[0]
