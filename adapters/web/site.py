"""The site: all routes behind the guard, one error format and one OpenAPI description."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.web import openapi, schemas
from adapters.web.assets import docs_routes, page_routes
from adapters.web.auth import NO_SUCH_PAGE, OriginCheck
from adapters.web.limits import BodyLimit, UploadLimits
from adapters.web.ports import WebParts
from adapters.web.routes import routers
from adapters.web.token_check import TokenCheck
from adapters.web.uploads import UploadBudget
from adapters.web.wrong_tokens import WrongTokenThrottle
from bot import __version__
from bot.domain import http_texts, texts
from bot.domain.errors import RecordHeld, StoreUnavailable

DESCRIBED_APART = (
    schemas.Question,
    schemas.QuestionForm,
    schemas.Prompt,
    schemas.PromptForm,
    schemas.ConversationExport,
)
COMPRESSION = 5
"""zlib's level: half the time of its best one for 3 % more bytes."""

DESCRIPTION = "Conversations with Threadline, for programs. The workspace in the browser is at /."


class SiteOnDemand:
    """The ASGI app of the page and the API, built for its first request.

    FastAPI needs a tenth of a second to build the routes. A bot that only serves chat platforms
    never spends that time, and no start waits for it. A thread builds them, so that replies keep
    streaming. If building fails, the next request tries again.
    """

    def __init__(self, parts: WebParts) -> None:
        self._parts, self._building = parts, asyncio.Lock()
        self._site: ASGIApp | None = None

    async def built(self) -> ASGIApp:
        """Return the app; the first caller builds it."""
        async with self._building:
            if self._site is None:
                self._site = await asyncio.to_thread(build_site, self._parts)
            return self._site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        site = self._site or await self.built()
        await site(scope, receive, send)


def build_site(parts: WebParts) -> ASGIApp:
    """The ASGI app of the page and the API."""
    options, uploads = parts.options, parts.options.uploads
    app = _bare_app()
    app.state.access = options.access
    app.state.upload_limits, app.state.upload_budget = uploads, UploadBudget()
    _complete_description(app, uploads)
    for router in routers(parts):
        # `include_router` would build each route again, with nothing added: a third of the time
        # that the first request waits.
        app.router.routes.extend(router.routes)
    app.router.routes.extend([*page_routes(), *docs_routes()])
    door = TokenCheck(
        BodyLimit(app, uploads),
        access=options.access,
        throttle=WrongTokenThrottle(parts.ports.clock),
        sessions=parts.sessions,
    )
    local = not options.access.needs_token
    return OriginCheck(door, hosts=options.hosts, any_address=options.any_address, local=local)


def _bare_app() -> FastAPI:
    """An app without routes: compression, and one format of errors."""
    app = FastAPI(
        title="Threadline",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Our log has what we need, and no request data leaves this machine.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    # Event streams compress themselves. Nothing secret is in a body: see docs/decisions/
    # 2026-11-30-streams-of-changes.md.
    app.add_middleware(GZipMiddleware, compresslevel=COMPRESSION)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _report_invalid)
    app.add_exception_handler(StoreUnavailable, _store_unavailable)
    app.add_exception_handler(RecordHeld, _conflict)
    app.add_exception_handler(Exception, _report_failure)
    return app


def _complete_description(app: FastAPI, uploads: UploadLimits) -> None:
    """Add errors and the bodies with files to the OpenAPI description.

    It is built when it is first read.
    """

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            shapes = FastAPI.openapi(app)["components"]["schemas"]
            shapes.update(openapi.referenced_schemas(*DESCRIBED_APART))
            for shape in ("QuestionForm", "PromptForm"):
                shapes[shape]["properties"]["files"]["maxItems"] = uploads.files
        known: dict[str, Any] = app.openapi_schema or {}
        return known

    app.openapi = describe  # type: ignore[method-assign]  # FastAPI's own way to extend it


# ── errors: always `error`, one sentence; for a wrong request also `detail`, by field ─────────
async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    headers = dict(error.headers or {})
    if error.status_code == 404 and "text/html" in request.headers.get("Accept", ""):
        return HTMLResponse(
            NO_SUCH_PAGE, 404, headers
        )  # a browser: programs accept JSON or anything
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_allowed(request)))
    return JSONResponse({"error": error.detail}, error.status_code, headers)


def _allowed(request: Request) -> set[str]:
    """The methods of a path, each of which is a separate route."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    there = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in there for method in route.methods or ()}


async def _report_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    detail = [
        {"loc": list(problem["loc"]), "msg": _message(problem["msg"]), "type": problem["type"]}
        for problem in error.errors()
    ]
    first = detail[0]
    # For a body that is not JSON, the location is a number instead of a field name.
    named = [part for part in first["loc"][1:] if first["type"] != "json_invalid"]
    where = ".".join(str(part) for part in named) or str(first["loc"][0])
    return JSONResponse({"error": f"{where}: {first['msg']}", "detail": detail}, 422)


def _message(message: str) -> str:
    """The message without pydantic's prefix."""
    return message.removeprefix("Value error, ")


async def _store_unavailable(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": texts.STORE_DOWN}, 503, {"Retry-After": "5"})


async def _report_failure(_request: Request, _error: Exception) -> Response:
    # Starlette raises the error again after this response, so that the server logs it.
    return JSONResponse({"error": http_texts.FAILED_UNEXPECTEDLY}, 500)


async def _conflict(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 409)
