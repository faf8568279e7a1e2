"""The bot's one HTTP port, in its own loop: /healthz, routes that adapters lend it, the site."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from bot.domain import Health
from bot.errors import CannotStart

BACKLOG = 2_048
"""Connections that wait to be accepted: uvicorn's own default."""

_ADVICE = {
    errno.EADDRINUSE: "another program has that port; set HTTP_PORT to a free one",
    errno.EACCES: "ports below 1024 are the system's; set HTTP_PORT to a higher one",
}


class HttpServer:
    """Serves until cancelled. `health` names each part; `apps` are ASGI apps by exact path.

    `site` has every other path; `listening` is called with the address once it answers there.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        health: Callable[[], Mapping[str, Health]],
        apps: Mapping[str, ASGIApp],
        site: ASGIApp | None = None,
        listening: Callable[[str], None] | None = None,
    ) -> None:
        self._host, self._port, self._health = host, port, health
        self._listening = listening
        routes: Sequence[BaseRoute] = [
            Route("/healthz", self._healthz, methods=["GET"]),
            *(Route(path, app) for path, app in apps.items()),
        ]
        self._app = Starlette(routes=routes)
        if site is not None:
            self._app.router.default = site  # a Mount would not match a path with a line break

    async def run(self) -> None:
        """Listen; raises CannotStart when the address cannot be had."""
        listener = _listen(self._host, self._port)
        server = _Server(
            uvicorn.Config(
                self._app,
                host=self._host,
                port=self._port,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=5,
            ),
            listening=self._listening,
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True  # answers what is under way, then closes its sockets
            await serving
            raise

    async def _healthz(self, _request: Request) -> Response:
        parts = self._health()
        ok = all(part.ok for part in parts.values())
        body = {
            "ok": ok,
            "parts": {name: {"ok": part.ok, **part.details} for name, part in parts.items()},
        }
        return JSONResponse(body, status_code=200 if ok else 503)


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket. uvicorn would end the process where it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "set HTTP_HOST to an address of this machine")
        raise CannotStart(f"Nothing can listen on {host}:{port}: {advice}.") from error


class _Server(uvicorn.Server):
    """Signals belong to the bot, which drains before it stops serving."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[str], None] | None) -> None:
        super().__init__(config)
        self._tell = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._tell is not None and self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            self._tell(f"http://{host}:{port}")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
