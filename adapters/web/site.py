"""The site: all routes behind the guard, one error format and one OpenAPI description."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp

from adapters.web.admin import AdminRoutes
from adapters.web.assets import docs_routes, page_routes
from adapters.web.auth import NO_SUCH_PAGE, Access, OriginCheck, TokenCheck
from adapters.web.chat import ChatService
from adapters.web.compat import CompatRoutes
from adapters.web.conversations import ConversationRoutes, RecordRoutes
from adapters.web.limits import BodyLimit, StreamSlots
from adapters.web.workspace import Workspace
from adapters.web.wrong_tokens import WrongTokenThrottle
from bot import __version__
from bot.domain import texts
from bot.domain.errors import RecordHeld, StoreUnavailable

DESCRIPTION = "Conversations with Threadline, for programs. The workspace in the browser is at /."


def build_site(
    *,
    chat: ChatService,
    workspace: Workspace,
    streams: StreamSlots,
    access: Access,
    models: Sequence[str],
    hosts: Sequence[str],
    any_address: bool,
    guesses: WrongTokenThrottle,
) -> ASGIApp:
    """The ASGI app of the page and the API; `OriginCheck` explains `hosts` and `any_address`."""
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
    app.state.access = access
    _describe_models(app, models)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StoreUnavailable, _store_down)
    app.add_exception_handler(RecordHeld, _held)
    conversations = ConversationRoutes(chat=chat, streams=streams, offered=models)
    app.include_router(conversations.router())
    app.include_router(RecordRoutes(conversations=conversations, chat=chat).router())
    app.include_router(CompatRoutes(chat=chat, streams=streams).router())
    app.include_router(AdminRoutes(library=chat.library).router())
    app.include_router(workspace.router())
    app.router.routes.extend([*page_routes(), *docs_routes()])
    door = TokenCheck(BodyLimit(app), access=access, guesses=guesses)
    return OriginCheck(door, hosts=hosts, any_address=any_address, local=not access.needs_token)


def _describe_models(app: FastAPI, models: Sequence[str]) -> None:
    """Add the available models to the OpenAPI description, which is built when first read."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            shapes = FastAPI.openapi(app)["components"]["schemas"]
            for shape in ("NewConversation", "ConversationChange"):
                shapes[shape]["properties"]["model"] = {"enum": [None, *models]}
        known: dict[str, Any] = app.openapi_schema or {}
        return known

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


# ── errors: always `error`, one sentence; for a wrong request also `detail`, by field ─────────
async def _refused(request: Request, error: Exception) -> Response:
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
    """The methods of a path: each is its own route."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    there = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in there for method in route.methods or ()}


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    detail = [
        {"loc": list(problem["loc"]), "msg": _said(problem["msg"]), "type": problem["type"]}
        for problem in error.errors()
    ]
    first = detail[0]
    # For a body that is not JSON, the location is a number instead of a field name.
    named = [part for part in first["loc"][1:] if first["type"] != "json_invalid"]
    where = ".".join(str(part) for part in named) or str(first["loc"][0])
    return JSONResponse({"error": f"{where}: {first['msg']}", "detail": detail}, 422)


def _said(message: str) -> str:
    """The message without pydantic's prefix."""
    return message.removeprefix("Value error, ")


async def _store_down(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": texts.STORE_DOWN}, 503, {"Retry-After": "5"})


async def _held(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 409)
