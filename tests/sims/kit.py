"""The base of every simulator: a recording HTTP server with faults and kills.

A simulator subclasses `Sim`, adds routes to `self.app` and runs with `main(MySim)`. Every request
outside `/_sim/` waits half a round trip, is recorded when it is received, applied and answered, and
waits the other half. Tests drive a running simulator through `SimProcess`: in a separate process by
requests to `/_sim/…`, in the test's own event loop by calls with the same JSON values.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import os
import re
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

from tests.support.fork_server import spawn

HERE = "THREADLINE_SIMS_HERE"
"""The environment variable that is "1" to run simulators in their tests' event loop.

They use the same real sockets, but starting and querying one costs a tenth. Benchmarks run them in
separate processes.
"""

STAGES = ("received", "applied", "answered")


@dataclass(slots=True)
class Entry:
    """A recorded request; times are Unix seconds."""

    n: int
    method: str
    path: str
    query: dict[str, str]
    body: Any
    received: float
    applied: float | None = None
    answered: float | None = None
    status: int | None = None
    note: dict[str, Any] = field(default_factory=dict)  # additions by the simulator


ENTRY = web.RequestKey("entry", Entry)


@dataclass(slots=True)
class Fault:
    """A faulty response to the next matching requests.

    `match` is a substring of "METHOD path", `pattern` a regular expression for the whole of it,
    `having` a substring of the request's query and body as JSON. The first `skip` matching requests
    are unaffected. `status` and `body` replace the response; `delay` is in seconds; `drop` closes
    the connection before the request is applied or, with `after`, afterwards. `remove` and `put`
    change fields of the simulator's JSON response: paths like `user.id` or `messages.*.author`,
    where `*` stands for every item.
    """

    match: str = ""
    pattern: str = ""
    times: int = 1
    having: str = ""
    skip: int = 0
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False
    after: bool = False
    remove: list[str] = field(default_factory=list)
    put: dict[str, Any] = field(default_factory=dict)

    def consume(self, what: str, content: str = "") -> bool:
        """Whether the request `what` with this content triggers the fault; counts it."""
        if self.times <= 0 or self.match not in what or self.having not in content:
            return False
        if self.pattern and re.fullmatch(self.pattern, what) is None:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass(slots=True)
class Kill:
    """SIGKILL process `pid` when request number `n` (or one that matches) reaches `stage`.

    `match` is a substring of "METHOD path" and `pattern` a regular expression for all of it;
    `body` is a substring of the body as JSON. The first `skip` matches are ignored.
    """

    pid: int
    stage: str
    n: int | None = None
    match: str = ""
    pattern: str = ""
    body: str = ""
    skip: int = 0

    def due(self, entry: Entry, stage: str) -> bool:
        """Whether to kill now that `entry` has reached `stage`; counts down `skip`."""
        if stage != self.stage or not self._matches(entry):
            return False
        self.skip -= 1
        return self.skip < 0

    def _matches(self, entry: Entry) -> bool:
        what = f"{entry.method} {entry.path}"
        return (
            self.n in (None, entry.n)
            and self.match in what
            and (not self.pattern or re.fullmatch(self.pattern, what) is not None)
            and (not self.body or self.body in json.dumps(entry.body, ensure_ascii=False))
        )


def _edit_response(response: web.StreamResponse, fault: Fault) -> web.StreamResponse:
    """The simulator's response after `fault` removed and replaced fields.

    A non-JSON body has no fields, so all of them count as missing.
    """
    if not (fault.remove or fault.put) or not isinstance(response, web.Response):
        return response
    if response.content_type != "application/json":
        return web.Response(status=response.status)
    data = json.loads(response.body or b"null")  # type: ignore[arg-type]
    for path in fault.remove:
        change(data, path.split("."), lambda owner, key: owner.pop(key, None))
    for path, value in fault.put.items():
        change(data, path.split("."), functools.partial(_put, value))
    headers = {name: value for name, value in response.headers.items() if name != "Content-Length"}
    return web.Response(status=response.status, body=json.dumps(data).encode(), headers=headers)


def _put(value: Any, owner: dict[str, Any], key: str) -> None:
    owner[key] = value


def change(data: Any, path: list[str], does: Callable[[dict[str, Any], str], object]) -> None:
    """Call `does(owner, key)` for every field of `data` that `path` matches, if any."""
    first, *rest = path
    if first == "*":
        for item in data if isinstance(data, list) else ():
            change(item, rest, does)
    elif isinstance(data, dict):
        if not rest:
            does(data, first)
        elif first in data:
            change(data[first], rest, does)


class WindowLimit:
    """At most `count` events in a fixed window of `seconds`, which begins with its first event."""

    def __init__(self, count: int, seconds: float) -> None:
        self.count, self.seconds = count, seconds
        self.begun = float("-inf")
        self.used = 0

    def take(self) -> float:
        """Count one event; returns 0.0 if it is allowed, else the seconds to wait."""
        now = time.monotonic()
        if now >= self.begun + self.seconds:
            self.begun, self.used = now, 0
        if self.used >= self.count:
            return self.begun + self.seconds - now
        self.used += 1
        return 0.0

    @property
    def remaining(self) -> int:
        """Events still allowed in this window."""
        return self.count - self.used

    @property
    def reset_after(self) -> float:
        """Seconds until the window ends."""
        return max(0.0, self.begun + self.seconds - time.monotonic())


class SlidingLimit:
    """At most `count` events in any span of `seconds`."""

    def __init__(self, count: int, seconds: float) -> None:
        self.count, self.seconds = count, seconds
        self.times: deque[float] = deque()

    def take(self) -> float:
        """Count one event; returns 0.0 if it is allowed, else the seconds to wait."""
        now = time.monotonic()
        while self.times and self.times[0] <= now - self.seconds:
            self.times.popleft()
        if len(self.times) >= self.count:
            return self.times[0] + self.seconds - now
        self.times.append(now)
        return 0.0


class Sim:
    """A recording server on loopback. Subclasses add routes, and controls with `control`."""

    name = "sim"

    def __init__(self, rtt: float = 0.0) -> None:
        self.rtt = rtt
        self.port = 0
        self.record: list[Entry] = []
        self.faults: list[Fault] = []
        self.kills: list[Kill] = []
        self.errors: list[Exception] = []
        """Exceptions that the simulator itself raised; the client got a 500 for each."""
        self._controls: dict[str, Any] = {}
        self.app = web.Application(middlewares=[self._through], client_max_size=64 * 2**20)
        self.app.router.add_get("/_sim/record", self._get_record)
        for name, does in (
            ("rtt", self._set_rtt),
            ("fault", self._add_fault),
            ("kill", self._add_kill),
            ("clear", self._clear),
        ):
            self.control(name, does)
        self.setup()

    def setup(self) -> None:
        """Add routes and controls; subclasses override it."""

    def control(self, name: str, does: Any) -> None:
        """Serve `POST /_sim/{name}` with `does(**json)`, a function or coroutine."""

        async def handle(request: web.Request) -> web.Response:
            body = await request.json() if request.can_read_body else {}
            return web.json_response({"result": await self.use(name, body)})

        self._controls[name] = does
        self.app.router.add_post(f"/_sim/{name}", handle)

    async def use(self, name: str, body: dict[str, Any]) -> Any:
        """Use a control; raises web.HTTPException if it is misused."""
        result = self._controls[name](**body)
        return await result if asyncio.iscoroutine(result) else result

    def recorded(self, match: str = "", since: int = 0) -> list[Entry]:
        """The recorded requests whose "METHOD path" contains `match`, oldest first."""
        return [entry for entry in self.record[since:] if match in f"{entry.method} {entry.path}"]

    def check(self) -> None:
        """Raise AssertionError if the simulator itself has failed, even if the bot recovered."""
        if self.errors:
            raise AssertionError(f"the simulator failed: {self.errors[0]!r}") from self.errors[0]

    # ── every request ─────────────────────────────────────────────────────────────────────────
    @web.middleware
    async def _through(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            if request.path.startswith("/_sim/"):
                return await handler(request)  # type: ignore[no-any-return]
            return await self._simulate(request, handler)
        except (web.HTTPException, ConnectionError):  # the latter: the client has gone
            raise
        except Exception as error:
            self.errors.append(error)
            raise

    async def _simulate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        await asyncio.sleep(self.rtt / 2)
        entry = Entry(
            n=len(self.record),
            method=request.method,
            path=request.path,
            query=dict(request.query),
            body=await self.read_body(request),
            received=time.time(),
        )
        self.record.append(entry)
        request[ENTRY] = entry
        self._reach(entry, "received")
        fault = self._fault_for(f"{request.method} {request.path}", entry)
        response = await self._answer(request, handler, fault)
        entry.applied = entry.applied or time.time()
        self._reach(entry, "applied")
        if fault is not None and fault.drop:
            self._drop(request)
        await asyncio.sleep(self.rtt / 2)
        entry.status, entry.answered = response.status, time.time()
        if not response.prepared:
            await response.prepare(request)
            await response.write_eof()
        self._reach(entry, "answered")
        return response

    async def _answer(
        self, request: web.Request, handler: Any, fault: Fault | None
    ) -> web.StreamResponse:
        if fault is None:
            return await self._run_handler(request, handler)
        await asyncio.sleep(fault.delay)
        if fault.drop and not fault.after:
            self._drop(request)
        replaced = fault.status is not None
        if not replaced or fault.after:
            response = await self._run_handler(request, handler)
            if not replaced:
                return _edit_response(response, fault)
        return self.fault_response(fault)

    async def _run_handler(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            return await handler(request)  # type: ignore[no-any-return]
        except web.HTTPException as error:
            return error

    def fault_response(self, fault: Fault) -> web.Response:
        """The response for a fault with a status; its content type is exactly
        `application/json`."""
        return web.Response(
            status=fault.status or 500,
            body=json.dumps(fault.body if fault.body is not None else {}).encode(),
            headers={"Content-Type": "application/json", **fault.headers},
        )

    async def read_body(self, request: web.Request) -> Any:
        """The request's body for the record and the handlers (`request[ENTRY].body`)."""
        if request.content_type == "application/json" and request.can_read_body:
            return await request.json()
        if request.content_type == "application/x-www-form-urlencoded":
            return dict(await request.post())
        return None

    def _fault_for(self, what: str, entry: Entry) -> Fault | None:
        needs_content = any(fault.having for fault in self.faults)
        content = json.dumps([entry.query, entry.body], ensure_ascii=False) if needs_content else ""
        return next((fault for fault in self.faults if fault.consume(what, content)), None)

    def _reach(self, entry: Entry, stage: str) -> None:
        for kill in [kill for kill in self.kills if kill.due(entry, stage)]:
            self.kills.remove(kill)
            entry.note["killed"] = stage
            with contextlib.suppress(ProcessLookupError):
                os.kill(kill.pid, signal.SIGKILL)

    @staticmethod
    def _drop(request: web.Request) -> None:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("dropped by a fault")

    @property
    def routes(self) -> list[str]:
        """Every simulated endpoint, as "METHOD /path/with/{names}"."""
        return sorted(
            f"{route.method} {route.resource.canonical}"
            for route in self.app.router.routes()
            if route.resource is not None
            and not route.resource.canonical.startswith("/_sim/")
            and route.method != "HEAD"
        )

    # ── controls ──────────────────────────────────────────────────────────────────────────────
    async def _get_record(self, request: web.Request) -> web.Response:
        query = request.query
        found = self.recorded(query.get("match", ""), int(query.get("since", "0")))
        return web.json_response({"result": [asdict(entry) for entry in found]})

    def _set_rtt(self, seconds: float) -> None:
        self.rtt = seconds

    def _add_fault(self, **fields: Any) -> None:
        self.faults.append(Fault(**fields))

    def _add_kill(self, **fields: Any) -> None:
        self.kills.append(Kill(**fields))

    def _clear(self) -> None:
        self.faults.clear()
        self.kills.clear()

    # ── running ───────────────────────────────────────────────────────────────────────────────
    async def start(self, port: int = 0) -> web.AppRunner:
        """Listen on 127.0.0.1 and set `self.port`. The caller must call `cleanup()`."""
        runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"


def main(kind: type[Sim]) -> None:
    """Run one simulator until its stdin closes, so that a killed test run leaves none behind."""
    parser = argparse.ArgumentParser(description=kind.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--rtt", type=float, default=0.0, help="round-trip time in seconds")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(kind(rtt=options.rtt), options.port))


async def _serve(sim: Sim, port: int) -> None:
    runner = await sim.start(port)
    sys.stdout.write(json.dumps({"port": sim.port}) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


class SimProcess:
    """A simulator as an async context manager: a separate process, or in this one (see `HERE`).

    `python -m` runs `module`, such as `tests.sims.discord`. `apart` is for tests that measure this
    process's event loop, or block it while the simulator has to answer.
    """

    def __init__(
        self, module: str, *, port: int = 0, rtt: float = 0.0, apart: bool = False
    ) -> None:
        self._command = (module, "--port", str(port), "--rtt", str(rtt))
        self._wanted_port, self.rtt, self._apart = port, rtt, apart
        self.port = 0
        self.server: Any = None
        """The `Sim`, if it runs in this process: its controls are then called directly."""

    def new_server(self) -> Sim:
        """The simulator to run in this process."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        if self._apart or os.environ.get(HERE) != "1":
            await self._start_process()
        else:
            self.server = self.new_server()
            self._runner = await self.server.start(self._wanted_port)
            self.port = self.server.port
        self._session = aiohttp.ClientSession()
        return self

    async def _start_process(self) -> None:
        # Carries the port; closing it ends the simulator.
        self._lifeline, theirs = socket.socketpair()
        with theirs:
            end = theirs.fileno()
            self._process = await spawn(
                *self._command,
                folder=Path.cwd(),
                environ=os.environ,
                stdin=end,
                stdout=end,
                stderr=2,
            )
        self._lifeline.setblocking(False)
        port_line = asyncio.get_running_loop().sock_recv(self._lifeline, 1_024)
        self.port = json.loads(await asyncio.wait_for(port_line, 60))["port"]

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self._session.close()
        if self.server is not None:
            await self._runner.cleanup()
            if kind is None:
                self.server.check()
            return
        self._lifeline.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()  # it has nothing to clean up
        await self._process.wait()

    async def call(self, name: str, /, **body: Any) -> Any:
        """Send `POST /_sim/{name}`. Raises AssertionError with the response if it failed."""
        if self.server is not None:
            return await _use_here(self.server, name, body)
        async with self._session.post(f"{self.url}/_sim/{name}", json=body) as response:
            assert response.status == 200, f"{name}: {response.status} {await response.text()}"
            return (await response.json())["result"]

    async def requests(self, match: str = "", since: int = 0) -> list[dict[str, Any]]:
        """The recorded requests whose "METHOD path" contains `match`, oldest first."""
        if self.server is not None:
            found = self.server.recorded(match, since)
            return [json.loads(json.dumps(asdict(entry))) for entry in found]
        query = {"match": match, "since": str(since)}
        async with self._session.get(f"{self.url}/_sim/record", params=query) as response:
            return list((await response.json())["result"])

    async def until(self, check: Any, seconds: float = 60.0, *, pause: float | None = None) -> Any:
        """Await `check()` until its result is true; returns the result. Raises AssertionError.

        Polls, because conditions in another process cannot be awaited. `pause` fixes the seconds
        between two checks, for checks that advance a clock.
        """
        began = time.monotonic()
        while not (result := await check()):
            assert time.monotonic() < began + seconds, f"not within {seconds} s: {check}"
            await asyncio.sleep(pause_since(began) if pause is None else pause)
        return result


async def _use_here(server: Sim, name: str, body: dict[str, Any]) -> Any:
    """Use a control in this process, with the values that a request would carry."""
    await asyncio.sleep(0)  # as with a request, others take a step in between
    try:
        return json.loads(json.dumps(await server.use(name, json.loads(json.dumps(body)))))
    except web.HTTPException as error:
        raise AssertionError(f"{name}: {error.status} {error.text}") from error


def pause_since(began: float) -> float:
    """Seconds until the next check of another process.

    This is a tenth of the wait since `began`, in monotonic seconds, from 20 to 100 ms. A check
    costs both processes some milliseconds: at a fixed 20 ms, six tests that wait for seconds would
    take most of a core with their checks.
    """
    return min(0.1, max(0.02, (time.monotonic() - began) / 10))
