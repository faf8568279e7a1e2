"""Slack's requests over HTTP as one ASGI app: events, commands and interactivity on one path.

Bolt checks each request's signature; without one, nothing of a request is looked at.
"""

from __future__ import annotations

from slack_bolt.adapter.starlette.async_handler import to_async_bolt_request, to_starlette_response
from slack_bolt.async_app import AsyncApp
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PATH = "/slack/events"
# Slack's largest payloads (an interaction with the message it is on) are below 200 kB.
MOST_BYTES = 1_000_000


class HttpEvents:
    """The ASGI app; `app` is Bolt's, None until the bot is ready (Slack then tries again)."""

    def __init__(self) -> None:
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
        try:
            bolt_request = to_async_bolt_request(request, bytes(body))
        except ValueError:  # neither UTF-8 nor JSON: nobody signed that
            return Response(status_code=400)
        return to_starlette_response(await self.app.async_dispatch(bolt_request))
