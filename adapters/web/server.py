"""The bot's HTTP port: /healthz, /livez, /readyz, routes of the adapters, and the site."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from adapters.web.auth import OriginCheck
from adapters.web.connections import Connection, ConnectionGate, ConnectionLimits
from adapters.web.limits import SharedBodyBudget, UnambiguousLength
from adapters.web.probes import Healthz, Livez, Readyz
from bot.domain.errors import CannotStart
from bot.domain.health import Health
from bot.domain.operation import ReadyReport

TICK_SECONDS = 1.0
"""Between renewals of the Date that responses have, which counts whole seconds."""

_ADVICE = {
    errno.EADDRINUSE: "another program has that port; set {}_PORT to a free one",
    errno.EACCES: "ports below 1024 are the system's; set {}_PORT to a higher one",
}


class HttpServer:
    """Serves until cancelled. `health` gives each component's health, `readiness` whether the
    process delivers, `alive` whether it needs no restart; `apps` are ASGI apps by exact path.

    `site` serves every other path; `listening` is called with the address once the port
    answers. `hosts` are names to accept for the probes, in addition to this machine's and
    any address. `setting` begins the names of the settings with this host and port.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        health: Callable[[], Mapping[str, Health]],
        readiness: Callable[[], Awaitable[ReadyReport]] | None = None,
        alive: Callable[[], Awaitable[bool]] | None = None,
        apps: Mapping[str, ASGIApp],
        site: ASGIApp | None = None,
        listening: Callable[[str], None] | None = None,
        hosts: Sequence[str] = (),
        limits: ConnectionLimits | None = None,
        setting: str = "HTTP",
    ) -> None:
        self._limits = limits or ConnectionLimits()
        self._host, self._port, self._setting = host, port, setting
        self._listening = listening
        lent = SharedBodyBudget()
        probes: dict[str, ASGIApp] = {"/healthz": Healthz(health)}
        if readiness is not None:
            probes["/readyz"] = Readyz(readiness)
        if alive is not None:
            probes["/livez"] = Livez(alive)
        routes: Sequence[BaseRoute] = [
            *(
                Route(path, OriginCheck(probe, hosts=hosts, any_address=True))
                for path, probe in probes.items()
            ),
            *(Route(path, lent.around(app)) for path, app in apps.items()),
        ]
        starlette = Starlette(routes=routes)
        if site is not None:
            starlette.router.default = site  # a Mount would not match a path with a line break
        self._app = UnambiguousLength(starlette)

    async def run(self) -> None:
        """Listen. Raises CannotStart if the address is not available."""
        listener = listen(self._host, self._port, self._limits.backlog, self._setting)
        server = _Server(
            uvicorn.Config(
                self._app,
                host=self._host,
                port=self._port,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=5,
                http=partial(Connection, gate=ConnectionGate(self._limits)),  # type: ignore[arg-type]
                ws="none",
                backlog=self._limits.backlog,
            ),
            listening=self._listening,
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.stop()  # finishes running requests, then closes the sockets
            await serving
            raise


def listen(host: str, port: int, backlog: int, setting: str = "HTTP") -> socket.socket:
    """The listening socket of the settings that begin with `setting`.

    uvicorn would end the process if the address is not available.

    asyncio disables Nagle's algorithm only for sockets that name their protocol. With it, the
    first text of a stream would wait 40 ms for the client to acknowledge the headers.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=backlog)
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "set {}_HOST to an address of this machine")
        why = advice.format(setting)
        raise CannotStart(f"Nothing can listen on {host}:{port}: {why}.") from error
    named = listening.detach()
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=named)


class _Server(uvicorn.Server):
    """Leaves signals to the bot, which drains before it stops serving.

    uvicorn looks ten times a second whether it should stop, which was more than half of what an
    idle bot computed. `stop` wakes this one instead.
    """

    def __init__(self, config: uvicorn.Config, listening: Callable[[str], None] | None) -> None:
        super().__init__(config)
        self._tell = listening
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Finish running requests, and close the sockets."""
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        """Renew the Date of responses once a second until `stop`."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._stopped.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._tell is not None and self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            self._tell(f"http://{host}:{port}")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
