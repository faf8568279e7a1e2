"""The bot's one HTTP port: /healthz, and what other adapters lend it, inside the bot's own loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from bot.domain import Health
from bot.errors import CannotStart


class HttpServer:
    """Serves until cancelled. `health` names each part; `apps` are ASGI apps by exact path."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        health: Callable[[], Mapping[str, Health]],
        apps: Mapping[str, ASGIApp],
    ) -> None:
        self._host, self._port, self._health = host, port, health
        routes: Sequence[BaseRoute] = [
            Route("/healthz", self._healthz, methods=["GET"]),
            *(Route(path, app) for path, app in apps.items()),
        ]
        self._app = Starlette(routes=routes)

    async def run(self) -> None:
        """Listen; raises CannotStart when the address cannot be had."""
        server = _Server(
            uvicorn.Config(
                self._app,
                host=self._host,
                port=self._port,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=5,
            )
        )
        serving = asyncio.create_task(server.serve())
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True  # answers what is under way, then closes its sockets
            await serving
            raise
        except SystemExit as error:  # uvicorn's way to say that it cannot bind
            raise CannotStart(
                f"Nothing can listen on {self._host}:{self._port}: "
                "another program has that port; set HTTP_PORT to a free one."
            ) from error

    async def _healthz(self, _request: Request) -> Response:
        parts = self._health()
        ok = all(part.ok for part in parts.values())
        body = {
            "ok": ok,
            "parts": {name: {"ok": part.ok, **part.details} for name, part in parts.items()},
        }
        return JSONResponse(body, status_code=200 if ok else 503)


class _Server(uvicorn.Server):
    """Signals belong to the bot, which drains before it stops serving."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
