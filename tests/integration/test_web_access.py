"""Who gets in, from where, and how much of it: tokens, hosts, origins, limits, administrators."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from yarl import URL

from bot.domain.conversations import ConversationKey, Visibility
from tests.sims.model.client import ModelSim
from tests.support.store_kit import said
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, Site, received, serving, until

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
async def test_an_unknown_token_opens_nothing(site: Site, authorization: str | None) -> None:
    """401 with the way to do it, on the API, the page's endpoints and its events alike."""
    headers = {} if authorization is None else {"Authorization": authorization}
    paths = (
        ("GET", "/conversation"),
        ("POST", "/conversation"),
        ("GET", "/app/session"),
        ("GET", "/app/events"),
        ("GET", "/admin/conversation?platform=slack"),
    )
    guessed = authorization is not None and authorization.startswith("Bearer ")
    async with site.person() as stranger:  # guesses are answered slowly, so each on one path
        for method, path in paths[:1] if guessed else paths:
            async with stranger.http.request(method, path, headers=headers) as response:
                assert response.status == 401
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert set(await response.json()) == {"error"}


async def test_what_has_no_secret_needs_no_token(site: Site) -> None:
    async with site.person() as stranger:
        for path in OPEN:
            async with stranger.http.get(path) as response:
                assert response.status == 200, path


async def test_each_user_has_conversations_of_their_own(
    alice: Person, bob: Person, model: ModelSim
) -> None:
    """Another's is 404 on every route, and in no list; neither do events cross over."""
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


async def test_the_same_made_up_id_is_another_conversation_for_another_user(
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
async def test_a_name_that_is_not_ours_is_refused(
    site: Site, alice: Person, host: str, status: int
) -> None:
    """DNS rebinding: another site's name that leads to this machine is not answered."""
    for path in ("/app/session", "/", "/openapi.json"):
        async with alice.http.get(path, headers={"Host": host.format(port=site.port)}) as response:
            assert response.status == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:{port}", 200),
        ("https://127.0.0.1:{port}", 200),  # behind a proxy that speaks TLS
        ("http://127.0.0.1", 403),
        ("http://localhost:{port}", 403),  # another origin, as browsers see it
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
        ("evil.example:8443", "https://evil.example:8443", 403),  # a name that was rebound to us
    ],
)
async def test_behind_a_proxy_the_port_of_an_allowed_name_does_not_matter(
    site: Site, alice: Person, host: str, origin: str, status: int
) -> None:
    headers = {"Host": host.format(port=site.port), "Origin": origin}
    async with alice.http.post("/conversation", headers=headers) as response:
        assert response.status == status


async def test_another_port_of_an_allowed_name_is_no_page_of_ours(alice: Person) -> None:
    """A browser tells its pages apart from ours by `Sec-Fetch-Site`."""
    headers = {"Host": "chat.example.org", "Origin": "https://chat.example.org:9999"}
    for relation, status in (("same-origin", 200), ("same-site", 403), ("cross-site", 403)):
        async with alice.http.post(
            "/conversation", headers=headers | {"Sec-Fetch-Site": relation}
        ) as response:
            assert response.status == status


async def test_a_form_of_another_site_could_not_ask(alice: Person) -> None:
    """Only JSON is read: what a form or a plain fetch can send across sites is none."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        async with alice.http.post(
            "/api/chat", data=b'{"prompt": "x"}', headers={"Content-Type": kind}
        ) as response:
            assert response.status == 422


async def test_every_answer_carries_the_security_headers(alice: Person) -> None:
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


async def test_whatever_the_path_is_the_answer_is_the_sites(alice: Person) -> None:
    """In JSON and with the security headers, also for a path that no route could have."""
    for path in ("/nowhere", "/conversation/%0A", "/admin/conversation/%C2%BF%0Aq", "/%0A/"):
        async with alice.http.get(URL(path, encoded=True)) as response:
            assert response.status in (404, 422)
            assert set(await response.json()) >= {"error"}
            assert "Content-Security-Policy" in response.headers


# ── limits ────────────────────────────────────────────────────────────────────────────────────
async def test_too_many_streams_of_one_user_are_refused_and_no_others(
    alice: Person, bob: Person, model: ModelSim
) -> None:
    """429 with the seconds to wait; a stream that ends, in whatever way, gives its place back."""
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
        await received(events, "done")

    async def free() -> bool:
        return (await alice.ask("POST", "/api/chat", {"prompt": "now?"}))[0] == 200

    await until(free)
    records = await alice.get(f"/conversation/{conversation}/messages")
    assert [record["content"] for record in records] == ["go", "Not yet whole."]


# ── administrators ────────────────────────────────────────────────────────────────────────────
async def test_administrators_read_public_channels_and_nothing_else(
    site: Site, alice: Person, bob: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of any platform; private places and direct messages stay closed; each reading is logged."""
    uids = {}
    for channel, visibility in (("open", Visibility.PUBLIC), ("closed", Visibility.PRIVATE)):
        key = ConversationKey("slack", "T1", channel, "t1")
        await store_of(site).accept(said(1, f"in {channel}", where=key, visibility=visibility))
        uids[channel] = await uid_of(site, key)
    own = (await bob.post("/conversation"))["id"]
    capsys.readouterr()
    listed = await alice.get("/admin/conversation?platform=slack")
    assert [one["id"] for one in listed] == [uids["open"]]
    assert set(listed[0]) == {"id", "platform", "workspace", "channel", "name", "created_at"}
    read = await alice.get(f"/admin/conversation/{uids['open']}")
    assert (read["platform"], read["workspace"], read["channel"]) == ("slack", "T1", "open")
    assert [message["content"] for message in read["messages"]] == ["in open"]
    log = capsys.readouterr().out
    assert log.count("an administrator") == 2
    assert "slack/T1/open/t1" in log
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
async def test_open_streams_end_at_once_when_the_server_stops(tmp_path: Path) -> None:
    """A browser's tab must not hold up a restart; it connects to the next process."""
    async with contextlib.AsyncExitStack() as stack:
        site = await stack.enter_async_context(serving(tmp_path))
        person = await site.person().__aenter__()
        async with person.stream("GET", "/app/events") as events:
            await anext(events)
            began = asyncio.get_running_loop().time()
            await stack.aclose()
            assert asyncio.get_running_loop().time() - began < 2
        await person.__aexit__()
