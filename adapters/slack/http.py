"""One ASGI app for all of Slack's HTTP requests: events, commands and interactivity.

The signature is checked before anything is parsed.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import structlog
from slack_bolt.adapter.starlette.async_handler import to_starlette_response
from slack_bolt.async_app import AsyncApp
from slack_sdk.signature import SignatureVerifier
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.slack.envelopes import dispatch
from adapters.slack.outages import DROPPED_SECONDS, Arrivals, OnLost, ignore_loss
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

PATH = "/slack/events"
# Slack's largest payloads (an interaction with the message it is on) are below 200 kB.
MAX_BYTES = 1_000_000
RETRY_HEADERS = ("x-slack-retry-num", "x-slack-retry-reason")
MAX_DIGITS = 20  # of a number in a header


class HttpEvents:
    """The ASGI app. `app` is Bolt's, or None until the bot is ready: Slack then retries.

    `on_lost` is called if Slack gave up events: see `Workspaces.events_lost`.
    """

    def __init__(self, signing_secret: str, clock: Clock) -> None:
        self._verifier = SignatureVerifier(signing_secret)
        self._arrivals = Arrivals(clock)
        self.app: AsyncApp | None = None
        self.on_lost: OnLost = ignore_loss

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        response = await self._handle(Request(scope, receive))
        await response(scope, receive, send)

    async def _handle(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(status_code=405, headers={"Allow": "POST"})
        if self.app is None:
            return Response(status_code=503)
        try:
            body = await _read_body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return Response(status_code=413)
        if not self._is_signed(body, request):
            return Response(status_code=401)
        try:
            payload = parse_body(body, request.headers.get("content-type", ""))
        except (ValueError, RecursionError):  # no UTF-8, no JSON, or JSON that is nested too deeply
            log.warning("cannot parse a delivery", size=len(body))
            return Response(status_code=400)
        headers = {name: request.headers[name] for name in RETRY_HEADERS if name in request.headers}
        self._note_arrival(headers.get(RETRY_HEADERS[0], ""))
        on_dropped = partial(self.on_lost, *DROPPED_SECONDS)
        return to_starlette_response(await dispatch(self.app, payload, headers, on_dropped))

    def _note_arrival(self, attempt: str) -> None:
        number = int(attempt) if attempt.isdecimal() and len(attempt) <= MAX_DIGITS else 0
        seconds = self._arrivals.note(number)
        if seconds is not None:
            log.warning("Slack could not deliver events", seconds=round(seconds))
            self.on_lost(seconds, 0.0)

    def _is_signed(self, body: bytes, request: Request) -> bool:
        """Whether Slack signed the request in the last five minutes."""
        timestamp = request.headers.get("x-slack-request-timestamp", "")
        signature = request.headers.get("x-slack-signature", "")
        if not (timestamp.isascii() and timestamp.isdigit() and signature.isascii()):
            return False
        if len(timestamp) > MAX_DIGITS:
            return False
        try:
            return self._verifier.is_valid(body, timestamp, signature)
        except ValueError:  # the body is no text
            return False


async def _read_body(request: Request) -> bytes | None:
    """Read the body; None if it is too long, without reading it if its Content-Length already
    says so."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and len(length) <= MAX_DIGITS and int(length) > MAX_BYTES:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            return None
    return bytes(body)


def parse_body(body: bytes, content_type: str) -> Any:
    """The payload of a request: JSON, a form, or a form that contains JSON.

    Bolt's parser would lose a slash command whose text contains the word "payload". Raises
    ValueError and RecursionError.
    """
    text = body.decode()
    if content_type.startswith("application/json") or text.startswith("{"):
        return json.loads(text)
    form = dict(parse_qsl(text, keep_blank_values=True))
    return json.loads(form["payload"]) if "payload" in form else form
