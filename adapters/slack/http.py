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
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.slack.envelopes import dispatch

log = structlog.stdlib.get_logger(__name__)

PATH = "/slack/events"
# Slack's largest payloads (an interaction with the message it is on) are below 200 kB.
MOST_BYTES = 1_000_000
RETRIES = ("x-slack-retry-num", "x-slack-retry-reason")


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
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                return Response(status_code=413)
        if not self._is_signed(bytes(body), request):
            return Response(status_code=401)
        payload = parsed(bytes(body), request.headers.get("content-type", ""))
        if payload is None:  # signed, and yet nothing: to send it again would not help
            log.warning("a delivery could not be parsed", size=len(body))
            return Response(status_code=200)
        headers = {name: request.headers[name] for name in RETRIES if name in request.headers}
        return to_starlette_response(await dispatch(self.app, payload, headers))

    def _is_signed(self, body: bytes, request: Request) -> bool:
        """Whether Slack signed it, within the last five minutes."""
        try:
            return self._verifier.is_valid(
                body,
                request.headers.get("x-slack-request-timestamp", ""),
                request.headers.get("x-slack-signature", ""),
            )
        except ValueError:  # no number as the time, or a body that is no text
            return False


def parsed(body: bytes, content_type: str) -> Any:
    """The payload of a request: JSON, a form, or a form with JSON in it; None when it is none.

    Bolt's own parser loses a slash command that has the word "payload" in its text.
    """
    try:
        text = body.decode()
        if content_type.startswith("application/json") or text.startswith("{"):
            return json.loads(text) if text else None
        form = dict(parse_qsl(text, keep_blank_values=True))
        return json.loads(form["payload"]) if "payload" in form else form
    except (ValueError, RecursionError):  # no UTF-8, no JSON, or JSON that is nested too deeply
        return None
