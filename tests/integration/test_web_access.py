"""Access control: tokens, hosts, origins, limits, administrators."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import pytest_asyncio
from yarl import URL

from adapters.web import admin
from bot.domain.conversations import ConversationKey, Visibility
from tests.sims.model.client import ModelSim
from tests.support.store_kit import said
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, Site, next_event, serving, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPEN = ("/", "/docs", "/docs/docs.js", "/openapi.json", "/healthz")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(model: ModelSim, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder: Path = tmp_path_factory.mktemp("access")
    settings = {
        "HTTP_TOKENS": HTTP_TOKENS,
        "ADMINS": "web:alice",
        "HTTP_MAX_STREAMS": "3",
        "HTTP_ALLOWED_HOSTS": "chat.example.org",
    }
    async with serving(folder, model, **settings) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def alice(site: Site, model: ModelSim) -> AsyncIterator[Person]:
    await model.reset()
    await model.pace(rate=2_000, first_delay=0.001)
    async with site.person(TOKENS["alice"]) as person:
        yield person


@pytest_asyncio.fixture(loop_scope="module")
async def bob(site: Site) -> AsyncIterator[Person]:
    async with site.person(TOKENS["bob"]) as person:
        yield person


# ── tokens ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKENS['alice']}x",
        f"Bearer {TOKENS['alice'][:-1]}",
        f"Basic {TOKENS['alice']}",
        "Bearer alice",
        "Bearer \xff\xfe",
    ],
)
async def test_an_unknown_token_is_refused_everywhere(
    site: Site, authorization: str | None
) -> None:
    """401 with WWW-Authenticate on the API, the page's endpoints and its events."""
    headers = {} if authorization is None else {"Authorization": authorization}
    paths = (
        ("GET", "/conversation"),
        ("POST", "/conversation"),
        ("GET", "/app/session"),
        ("GET", "/app/events"),
        ("GET", "/admin/conversation?platform=slack"),
    )
    guessed = authorization is not None and authorization.startswith("Bearer ")
    async with site.person() as stranger:  # wrong tokens are answered slowly, so try one path each
        for method, path in paths[:1] if guessed else paths:
            async with stranger.http.request(method, path, headers=headers) as response:
                assert response.status == 401
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert set(await response.json()) == {"error"}


async def test_public_files_need_no_token(site: Site) -> None:
    async with site.person() as stranger:
        for path in OPEN:
            async with stranger.http.get(path) as response:
                assert response.status == 200, path


async def test_users_cannot_access_each_others_conversations(
    alice: Person, bob: Person, model: ModelSim
) -> None:
    """Another user's conversation is 404 on every route and in no list, and its events stay
    private."""
    await model.say("For Alice.")
    mine = (await alice.post("/conversation"))["id"]
    record = await alice.post(
        f"/conversation/{mine}/messages", {"role": "user", "content": "secret"}, 201
    )
    async with bob.stream("GET", "/app/events") as events:
        await anext(events)
        thread = (await alice.say("@threadline for Alice alone"))["thread"]
        await until(lambda: alice.replies(thread))
        note = f"/conversation/{mine}/messages/{record['id']}"
        for method, path, body in (
            ("GET", f"/conversation/{mine}", None),
            ("PATCH", f"/conversation/{mine}", {"name": "x"}),
            ("DELETE", f"/conversation/{mine}", None),
            ("POST", f"/conversation/completion/{mine}", {"message": "x"}),
            ("GET", f"/conversation/{mine}/messages", None),
            ("POST", f"/conversation/{mine}/messages", {"role": "user", "content": "x"}),
            ("PATCH", note, {"content": "x"}),
            ("DELETE", note, None),
            ("GET", f"/app/threads/{thread}", None),
        ):
            assert (await bob.ask(method, path, body))[0] == 404, path
        assert await bob.get("/conversation") == []
        assert (await bob.get("/app/threads"))["threads"] == []
        own = (await bob.say("@threadline for Bob"))["thread"]
        assert (await anext(events)).data["thread"] == own
    assert (await alice.get(f"/conversation/{mine}"))["messages"][0]["content"] == "secret"


async def test_the_same_chosen_id_is_a_different_conversation_for_each_user(
    alice: Person, bob: Person, model: ModelSim
) -> None:
    await model.say("Hm.")
    for person in (alice, bob):
        await person.post("/api/chat", {"prompt": "mine", "id": "the-same"})
        assert len((await model.last("mine")).body["messages"]) == 2
    mine = next(
        c for c in await alice.get("/conversation") if c["messages"][0]["content"] == "mine"
    )
    await bob.post("/api/chat", {"prompt": "not mine", "id": mine["id"]})
    assert len((await alice.get(f"/conversation/{mine['id']}"))["messages"]) == 2


# ── hosts and origins ─────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:{port}", 200),
        ("LOCALHOST", 200),
        ("app.localhost:{port}", 200),
        ("127.0.0.1", 200),
        ("127.8.9.1:{port}", 200),
        ("[::1]:{port}", 200),
        ("chat.example.org", 200),
        ("evil.example:{port}", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("chat.example.org.evil.example", 403),
        ("192.168.1.7:{port}", 403),
        ("user@localhost", 403),
        ("localhost/..", 403),
        ("[::1", 403),
        ("localhost:none", 403),
        ("localhost:99999", 403),
        ("localhost?.evil.example", 403),
        ("localhost#.evil.example", 403),
        ("", 403),
    ],
)
async def test_an_unknown_host_is_refused(
    site: Site, alice: Person, host: str, status: int
) -> None:
    """DNS rebinding: a request under another site's name for this machine is refused."""
    for path in ("/app/session", "/", "/openapi.json"):
        async with alice.http.get(path, headers={"Host": host.format(port=site.port)}) as response:
            assert response.status == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:{port}", 200),
        ("https://127.0.0.1:{port}", 200),  # behind a proxy that terminates TLS
        ("http://127.0.0.1", 403),
        ("http://localhost:{port}", 403),  # another origin, in the form that browsers send
        ("http://evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
async def test_pages_of_other_sites_are_refused(
    site: Site, alice: Person, origin: str, status: int
) -> None:
    headers = {"Origin": origin.format(port=site.port)}
    async with alice.http.get("/app/session", headers=headers) as response:
        assert response.status == status
    before = await alice.get("/conversation")
    async with alice.http.post("/conversation", headers=headers) as response:
        assert response.status == status
    assert len(await alice.get("/conversation")) == len(before) + (status == 200)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("chat.example.org", "https://chat.example.org", 200),
        ("chat.example.org", "https://chat.example.org:8443", 200),  # `Host $host` on 8443
        ("chat.example.org:8443", "https://chat.example.org:8443", 200),  # `Host $http_host`
        ("chat.example.org:8080", "https://chat.example.org:8443", 200),  # `Host $host:$proxy_port`
        ("127.0.0.1:{port}", "https://Chat.Example.org:8443", 200),  # no `proxy_set_header`
        ("chat.example.org", "https://evil.example", 403),
        ("chat.example.org", "https://evil.example:8443", 403),
        ("chat.example.org", "https://chat.example.org.evil.example:8443", 403),
        ("chat.example.org", "https://evil.chat.example.org:8443", 403),
        ("chat.example.org", "https://chat.example.org@evil.example", 403),
        ("chat.example.org", "https://evil.example/chat.example.org", 403),
        ("chat.example.org", "https://user@chat.example.org:8443", 403),
        ("chat.example.org", "https://chat.example.org?.evil.example", 403),
        ("chat.example.org", "https://chat.example.org#.evil.example", 403),
        ("chat.example.org", "https://chat.example.org:99999999", 403),
        ("chat.example.org", "ftp://chat.example.org:8443", 403),
        ("chat.example.org", "//chat.example.org", 403),
        ("chat.example.org", "http://localhost:8443", 403),
        ("chat.example.org", "null", 403),
        ("evil.example", "https://chat.example.org:8443", 403),
        ("evil.example:8443", "https://evil.example:8443", 403),  # a rebound name
    ],
)
async def test_behind_a_proxy_the_port_of_an_allowed_name_does_not_matter(
    site: Site, alice: Person, host: str, origin: str, status: int
) -> None:
    headers = {"Host": host.format(port=site.port), "Origin": origin}
    async with alice.http.post("/conversation", headers=headers) as response:
        assert response.status == status


async def test_another_port_of_an_allowed_name_is_another_origin(alice: Person) -> None:
    """`Sec-Fetch-Site` distinguishes our pages from those of other sites."""
    headers = {"Host": "chat.example.org", "Origin": "https://chat.example.org:9999"}
    for relation, status in (("same-origin", 200), ("same-site", 403), ("cross-site", 403)):
        async with alice.http.post(
            "/conversation", headers=headers | {"Sec-Fetch-Site": relation}
        ) as response:
            assert response.status == status


async def test_another_sites_form_cannot_ask(alice: Person) -> None:
    """Only JSON is read: HTML forms and plain cross-site fetches cannot send it."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        async with alice.http.post(
            "/api/chat", data=b'{"prompt": "x"}', headers={"Content-Type": kind}
        ) as response:
            assert response.status == 422


async def test_every_response_has_the_security_headers(alice: Person) -> None:
    for path in (*OPEN[:-1], "/conversation", "/nowhere", "/static/nothing.js"):
        async with alice.http.get(path) as response:
            policy = response.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert "unsafe" not in policy
            for name, value in HEADERS.items():
                assert response.headers[name] == value


async def test_files_outside_the_pages_folder_are_not_served(alice: Person) -> None:
    for path in ("/static/../auth.py", "/static/%2e%2e/auth.py", "/docs/..%2fauth.py", "/static/"):
        async with alice.http.get(path) as response:
            assert response.status == 404


async def test_any_path_gets_a_response_of_the_site(alice: Person) -> None:
    """Even a path that matches no route gets JSON with the security headers."""
    for path in ("/nowhere", "/conversation/%0A", "/admin/conversation/%C2%BF%0Aq", "/%0A/"):
        async with alice.http.get(URL(path, encoded=True)) as response:
            assert response.status in (404, 422)
            assert set(await response.json()) >= {"error"}
            assert "Content-Security-Policy" in response.headers


# ── limits ────────────────────────────────────────────────────────────────────────────────────
async def test_only_the_user_with_too_many_streams_is_refused(
    alice: Person, bob: Person, model: ModelSim
) -> None:
    """429 with Retry-After; a stream frees its slot however it ends."""
    await model.say("Not yet whole.", wait_at=1, times=1)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(alice.stream("GET", "/app/events"))
        conversation = (await alice.post("/conversation"))["id"]
        events = await stack.enter_async_context(alice.completion(conversation, "go"))
        await anext(events)
        for method, path, body in (
            ("GET", "/app/events", None),
            ("POST", f"/conversation/completion/{conversation}", {"message": "x"}),
            ("POST", "/api/chat", {"prompt": "x"}),
            ("POST", "/api/conversational", {"inputs": {"text": "x"}}),
        ):
            async with alice.http.request(method, path, json=body) as response:
                assert response.status == 429
                assert int(response.headers["Retry-After"]) > 0
                assert set(await response.json()) == {"error"}
        async with bob.stream("GET", "/app/events") as others:
            assert (await anext(others)).name == "ready"
        await alice.get("/conversation")
        await until(model.release)
        await next_event(events, "done")

    async def free() -> bool:
        return (await alice.ask("POST", "/api/chat", {"prompt": "now?"}))[0] == 200

    await until(free)
    records = await alice.get(f"/conversation/{conversation}/messages")
    assert [record["content"] for record in records] == ["go", "Not yet whole."]


# ── administrators ────────────────────────────────────────────────────────────────────────────
async def test_administrators_read_only_public_channels(
    site: Site, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This covers every platform, but never private channels or direct messages; each access is
    logged."""
    lines: list[str] = []
    # Another test may have configured the log of this process.
    record = Mock(info=lambda event, **values: lines.append(f"{event} {values}"))
    monkeypatch.setattr(admin, "log", record)
    uids = {}
    for channel, visibility in (("open", Visibility.PUBLIC), ("closed", Visibility.PRIVATE)):
        key = ConversationKey("slack", "T1", channel, "t1")
        await store_of(site).accept(said(1, f"in {channel}", where=key, visibility=visibility))
        uids[channel] = await uid_of(site, key)
    own = (await bob.post("/conversation"))["id"]
    listed = await alice.get("/admin/conversation?platform=slack")
    assert [one["id"] for one in listed] == [uids["open"]]
    assert set(listed[0]) == {"id", "platform", "workspace", "channel", "name", "created_at"}
    read = await alice.get(f"/admin/conversation/{uids['open']}")
    assert (read["platform"], read["workspace"], read["channel"]) == ("slack", "T1", "open")
    assert [message["content"] for message in read["messages"]] == ["in open"]
    assert [line.startswith("an administrator") for line in lines] == [True, True]
    assert "slack/T1/open/t1" in lines[1]
    for closed in (uids["closed"], own):
        assert (await alice.ask("GET", f"/admin/conversation/{closed}"))[0] == 404
    for path in ("/admin/conversation?platform=slack", f"/admin/conversation/{uids['open']}"):
        assert (await bob.ask("GET", path))[0] == 403
    assert (await alice.ask("GET", f"/conversation/{uids['open']}"))[0] == 404
    assert (await alice.ask("DELETE", f"/conversation/{uids['open']}"))[0] == 404


def store_of(site: Site) -> Any:
    return site.core.inbox._store


async def uid_of(site: Site, key: ConversationKey) -> str:
    found = await store_of(site)._read(
        lambda db: db.execute(
            "SELECT uid FROM conversations WHERE channel = ?", (key.channel,)
        ).fetchone()
    )
    return str(found["uid"])


# ── ending ────────────────────────────────────────────────────────────────────────────────────
async def test_open_streams_end_when_the_server_stops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A browser's tab must not delay a restart; it reconnects to the next process."""
    async with contextlib.AsyncExitStack() as stack:
        site = await stack.enter_async_context(serving(tmp_path))
        person = await site.person().__aenter__()
        async with person.stream("GET", "/app/events") as events:
            await anext(events)
            await stack.aclose()
            assert "timeout graceful shutdown exceeded" not in caplog.text
        await person.__aexit__()
