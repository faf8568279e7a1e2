"""The web adapter as a component that is restarted after a failure."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.web.adapter import WebAdapter
from adapters.web.auth import Access
from adapters.web.ports import WebOptions, WebParts, WebPorts
from adapters.web.privacy import PrivacyRoutes
from adapters.web.site import SiteOnDemand
from bot.common.local_cluster import LocalCluster
from tests.support.clock import ManualClock, settle


class Inbox:
    """An inbox that fails once, unexpectedly."""

    fails = True

    async def connected(self, _platform: str) -> None:
        if self.fails:
            raise ValueError("unforeseen")


def event_stream(adapter: WebAdapter, sent: list[Any]) -> asyncio.Task[None]:
    """A page that follows the events."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": "/app/events", "raw_path": b"/app/events", "query_string": b"",
        "root_path": "", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
    }  # fmt: skip
    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        return requests.pop() if requests else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    async def follow() -> None:
        await adapter.site(scope, receive, send)

    return asyncio.create_task(follow())


async def test_after_a_failure_pages_follow_the_events_again() -> None:
    unused: Any = SimpleNamespace()
    ports = WebPorts(
        library=unused,
        clock=ManualClock(),
        cluster=LocalCluster(),
        models=unused,
        assigned=lambda _place: None,
        reporter=unused,
        usage=unused,
        privacy=PrivacyRoutes(forgetter=unused, exports=unused, audit=unused),
        feedback=unused,
        choices=unused,
        search=unused,
        sessions=unused,
    )
    adapter = WebAdapter(ports, WebOptions(access=Access({})))
    inbox: Any = Inbox()
    with pytest.raises(ValueError, match="unforeseen"):
        await adapter.run(inbox)
    assert not adapter.health().ok
    inbox.fails = False
    running = asyncio.create_task(adapter.run(inbox))
    await settle()
    assert adapter.health().ok
    sent: list[Any] = []
    await adapter.site.built()
    page = event_stream(adapter, sent)
    await settle()
    assert sent[0]["status"] == 200
    assert not page.done(), "the stream is open"
    running.cancel()
    await asyncio.wait({running, page}, timeout=30)
    assert page.done(), "it ends with the process"


async def test_the_site_is_built_once_for_the_first_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many pages may reconnect to a restarted bot together; each gets an answer."""
    built: list[WebParts] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})

    def build(parts: WebParts) -> ASGIApp:
        built.append(parts)
        return app

    monkeypatch.setattr("adapters.web.site.build_site", build)
    parts: Any = SimpleNamespace()
    site, sent = SiteOnDemand(parts), list[Any]()

    async def receive() -> Any:
        raise AssertionError("no body is read")

    async def send(message: Any) -> None:
        sent.append(message["status"])

    assert built == [], "a start builds nothing"
    await asyncio.gather(*(site({"type": "http"}, receive, send) for _ in range(3)))
    assert (built, sent) == ([parts], [204, 204, 204])


async def test_a_site_that_could_not_be_built_is_built_for_the_next_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a failure nor the end of the request that builds it costs the others their
    response."""
    begun, may_end = threading.Event(), threading.Event()
    failures = [RuntimeError("unforeseen")]

    def build(_parts: WebParts) -> Any:
        if failures:
            raise failures.pop()
        begun.set()
        assert may_end.wait(10)
        return "site"

    monkeypatch.setattr("adapters.web.site.build_site", build)
    parts: Any = SimpleNamespace()
    site = SiteOnDemand(parts)
    with pytest.raises(RuntimeError, match="unforeseen"):
        await site.built()
    first, second = asyncio.create_task(site.built()), asyncio.create_task(site.built())
    await asyncio.to_thread(begun.wait, 10)
    first.cancel()
    may_end.set()
    assert await second == "site"
    assert first.cancelled()
    assert await site.built() == "site"
