"""The web adapter in a test's own loop, with real sockets, database, core and model.

`Site` is the running server, `Person` a client with a token; `in_thread` is for synchronous
tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiohttp

from bot.common.clock import SystemClock
from bot.common.supervisor import Component, Supervisor
from bot.config.consistency import require_consistent
from bot.config.loader import load
from bot.core import Core, build_core
from bot.operation.monitoring import Monitoring
from bot.ports.context import ContextReporter
from bot.ports.model import ModelCatalog
from bot.ports.platform import Adapter
from bot.resources import open_resources
from bot.wiring.web import build_http_server, build_web
from tests.sims.kit import pause_since
from tests.sims.model.client import ModelSim

TOKENS = {"alice": "alice-token-of-16", "bob": "bob-token-of-16-too"}
HTTP_TOKENS = ",".join(f"{name}:{token}" for name, token in TOKENS.items())


class Site:
    """A server on a free port; `settings` are environment variables. Start it with `serving`."""

    def __init__(self, core: Core, url: str, adapter: Adapter, monitoring: Monitoring) -> None:
        self.core, self.url, self.adapter = core, url, adapter
        self.monitoring = monitoring

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def person(self, token: str | None = None) -> Person:
        """A client; use it as an async context manager."""
        return Person(self.url, token)


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    model: ModelSim | None = None,
    *,
    reporter: ContextReporter | None = None,
    models: ModelCatalog | None = None,
    toml: str = "",
    **settings: str,
) -> AsyncIterator[Site]:
    """The site on the database in `folder`; `model` answers, or else the echo model.

    `reporter` and `models` replace the bot's own, for the web only. `toml` is the text of the
    configuration file, which is written to `folder`.
    """
    if toml:
        (folder / "threadline.toml").write_text(toml)
    environ = {
        "HTTP_PORT": "0",
        "DATABASE_URL": f"sqlite:///{folder / 'threadline.db'}",
        "SYSTEM_PROMPT": "Be brief.",
        **({"LLM": "openai:sim", "OPENAI_BASE_URL": model.base_url} if model else {}),
        **settings,
    }
    known = load(environ, folder / ".env" if toml else None)
    require_consistent(known)
    clock = SystemClock()
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    supervisor, monitoring = Supervisor(clock), Monitoring(known, clock)
    async with open_resources(known, clock, monitoring.observer) as resources:
        web = build_web(known, resources, clock, reporter=reporter, models=models)
        core = build_core(known, resources, {"web": web}, clock)
        supervisor.add(Component("web", partial(web.run, core.inbox), lambda: True, web.health))
        monitoring.connect(core, resources, {"web": web}, supervisor)
        server = build_http_server(known, web, {}, monitoring, clock, listening.set_result)
        tasks = [
            asyncio.create_task(web.run(core.inbox)),
            asyncio.create_task(server.run()),
        ]
        try:
            yield Site(core, await asyncio.wait_for(listening, 60), web, monitoring)
        finally:
            await core.scheduler.drain(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Said:
    """A server-sent event."""

    name: str
    data: dict[str, Any]
    id: str | None = None


class Person:
    """One user's requests, as sent by a browser or a program."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession(
            base_url=self.url,
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=30),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def ask(
        self, method: str, path: str, body: Any = None, **options: Any
    ) -> tuple[int, Any]:
        """Status and JSON, or None without a body."""
        async with self.http.request(method, path, json=body, **options) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    async def get(self, path: str, **options: Any) -> Any:
        """The JSON of a request that must succeed."""
        status, body = await self.ask("GET", path, **options)
        assert status == 200, (status, body)
        return body

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """The JSON of a request that must succeed with `status`."""
        got, answer = await self.ask("POST", path, body)
        assert got == status, (got, answer)
        return answer

    # ── the page ──────────────────────────────────────────────────────────────────────────────
    async def say(self, text: str, thread: str | None = None) -> dict[str, Any]:
        """Post a message on the page."""
        message = {"text": text, "thread": thread, "client_id": str(uuid.uuid4())}
        sent: dict[str, Any] = await self.post("/app/messages", message)
        return sent

    async def replies(self, thread: str) -> list[dict[str, Any]]:
        """The assistant's messages in a thread."""
        messages = (await self.get(f"/app/threads/{thread}"))["messages"]
        return [message for message in messages if message["role"] == "assistant"]

    # ── streams ───────────────────────────────────────────────────────────────────────────────
    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> AsyncIterator[AsyncIterator[Said]]:
        """The server-sent events of a response, as they arrive."""
        async with self.http.request(method, path, json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "text/event-stream"
            yield events(response)

    def completion(
        self, conversation: str, message: str
    ) -> contextlib.AbstractAsyncContextManager[AsyncIterator[Said]]:
        """A streamed completion."""
        body = {"message": message, "stream": True}
        return self.stream("POST", f"/conversation/completion/{conversation}", body)


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[Said]:
    """The events of a stream, without comments."""
    fields: dict[str, str] = {}
    async for line in response.content:
        text = line.decode().rstrip("\n")
        if text and not text.startswith(":"):
            name, _, value = text.partition(": ")
            fields[name] = value
        elif not text and fields:
            data = json.loads(fields.get("data", "{}"))
            yield Said(fields.get("event", "message"), data, fields.get("id"))
            fields = {}


async def until(check: Callable[[], Awaitable[Any]], seconds: float = 60.0) -> Any:
    """Await `check()` until it returns a true value, and return that."""
    began = time.monotonic()
    while not (result := await check()):
        assert time.monotonic() < began + seconds, f"not within {seconds} s: {check}"
        await asyncio.sleep(pause_since(began))
    return result


async def next_event(source: AsyncIterator[Said], name: str, **fields: Any) -> Said:
    """The next event with that name whose data contains these fields."""
    async with asyncio.timeout(60):
        async for event in source:
            if event.name == name and all(event.data.get(k) == v for k, v in fields.items()):
                return event
    raise AssertionError(f"the stream ended without {name!r}")


@contextlib.contextmanager
def in_thread(folder: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """The address of a site that runs in a separate thread, with a model that answers
    immediately."""
    ready: list[str] = []
    begun, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with ModelSim() as model:
            await model.pace(rate=0, first_delay=0.0)
            async with serving(folder, model, **settings) as site:
                ready.append(site.url)
                begun.set()
                await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert begun.wait(30), "the site did not start"
        yield ready[0]
    finally:
        over.set()
        thread.join(30)
