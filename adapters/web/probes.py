"""Endpoints for monitoring: /healthz, /livez, /readyz and /metrics.

None of them reveals anything about a person or a conversation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.web.auth import Access, OriginCheck
from adapters.web.token_check import TokenCheck
from adapters.web.wrong_tokens import WrongTokenThrottle
from bot.domain.health import Health
from bot.domain.operation import ReadyReport
from bot.ports.clock import Clock

Render = Callable[[str], Awaitable[tuple[bytes, str]]]
"""The metrics and their content type, in the format that an Accept header asks for."""


class _Probe(ABC):
    """An ASGI app that only answers GET and HEAD."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or 405."""
        if scope["method"] in ("GET", "HEAD"):
            response = await self._answer(Headers(scope=scope))
        else:
            response = Response(status_code=405, headers={"Allow": "GET, HEAD"})
        await response(scope, receive, send)

    @abstractmethod
    async def _answer(self, headers: Headers) -> Response: ...


class Healthz(_Probe):
    """The health of each component: 200 if every component works, else 503."""

    def __init__(self, health: Callable[[], Mapping[str, Health]]) -> None:
        self._health = health

    async def _answer(self, headers: Headers) -> Response:
        parts = self._health()
        ok = all(part.ok for part in parts.values())
        body = {
            "ok": ok,
            "parts": {name: {"ok": part.ok, **part.details} for name, part in parts.items()},
        }
        return JSONResponse(body, status_code=200 if ok else 503)


class Livez(_Probe):
    """200 if the process needs no restart, else 503; a hanging event loop does not answer at
    all."""

    def __init__(self, is_alive: Callable[[], Awaitable[bool]]) -> None:
        self._is_alive = is_alive

    async def _answer(self, headers: Headers) -> Response:
        alive = await self._is_alive()
        return JSONResponse({"alive": alive}, status_code=200 if alive else 503)


class Readyz(_Probe):
    """Whether the process delivers replies: 200, or 503 with the reasons why not."""

    def __init__(self, readiness: Callable[[], Awaitable[ReadyReport]]) -> None:
        self._readiness = readiness

    async def _answer(self, headers: Headers) -> Response:
        report = await self._readiness()
        ready = not report.not_ready
        body = {"ready": ready, "not_ready": list(report.not_ready), **report.details}
        return JSONResponse(body, status_code=200 if ready else 503)


class Metrics(_Probe):
    """The metrics, for Prometheus."""

    def __init__(self, render: Render) -> None:
        self._render = render

    async def _answer(self, headers: Headers) -> Response:
        body, content_type = await self._render(headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


def guarded_metrics(render: Render, token: str | None, *, host: str, clock: Clock) -> ASGIApp:
    """The metrics for bearers of `token`.

    None serves programs on this machine that asked for `host` or an address, so that no page in a
    browser can read the metrics under another name.
    """
    if token is None:
        return OriginCheck(Metrics(render), hosts=(host,), any_address=True)
    throttle = WrongTokenThrottle(clock)
    return TokenCheck(Metrics(render), access=Access({"metrics": token}), throttle=throttle)
