"""Slack's requests over HTTP as one ASGI app: events, commands and interactivity on one path.

The signature is checked first: nothing of a request that Slack did not sign is parsed.
"""

from __future__ import annotations

import json
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

log = structlog.stdlib.get_logger(__name__)

PATH = "/slack/events"
# Slack's largest payloads (an interaction with the message it is on) are below 200 kB.
MOST_BYTES = 1_000_000
RETRIES = ("x-slack-retry-num", "x-slack-retry-reason")
# Of a header that is a number.
MOST_DIGITS = 20


class HttpEvents:
    """The ASGI app; `app` is Bolt's, None until the bot is ready (Slack then tries again)."""

    def __init__(self, signing_secret: str) -> None:
        self._verifier = SignatureVerifier(signing_secret)
        self.app: AsyncApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(status_code=405, headers={"Allow": "POST"})
        if self.app is None:
            return Response(status_code=503)
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return Response(status_code=413)
        if not self._is_signed(body, request):
            return Response(status_code=401)
        try:
            payload = parsed(body, request.headers.get("content-type", ""))
        except (ValueError, RecursionError):  # no UTF-8, no JSON, or JSON that is nested too deeply
            log.warning("a delivery could not be parsed", size=len(body))
            return Response(status_code=400)
        headers = {name: request.headers[name] for name in RETRIES if name in request.headers}
        return to_starlette_response(await dispatch(self.app, payload, headers))

    def _is_signed(self, body: bytes, request: Request) -> bool:
        """Whether Slack signed it, within the last five minutes; both headers are ASCII."""
        timestamp = request.headers.get("x-slack-request-timestamp", "")
        signature = request.headers.get("x-slack-signature", "")
        if not (timestamp.isascii() and timestamp.isdigit() and signature.isascii()):
            return False
        if len(timestamp) > MOST_DIGITS:
            return False
        try:
            return self._verifier.is_valid(body, timestamp, signature)
        except ValueError:  # a body that is no text
            return False


async def _body(request: Request) -> bytes | None:
    """The body; None when it is too long. What says so itself is not read at all."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) <= MOST_DIGITS and int(announced) > MOST_BYTES:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


def parsed(body: bytes, content_type: str) -> Any:
    """The payload of a request: JSON, a form, or a form with JSON in it.

    Bolt's own parser loses a slash command that has the word "payload" in its text. Raises
    ValueError and RecursionError.
    """
    text = body.decode()
    if content_type.startswith("application/json") or text.startswith("{"):
        return json.loads(text)
    form = dict(parse_qsl(text, keep_blank_values=True))
    return json.loads(form["payload"]) if "payload" in form else form
