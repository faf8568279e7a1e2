"""Browsers that are signed in by a cookie: how a session begins, what it allows, and how it
ends."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.routing import Match

from adapters.web import tabs
from tests.sims.model.client import ModelSim
from tests.support.store_kit import look
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, Site, next_event, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"HTTP_TOKENS": HTTP_TOKENS, "HTTP_ALLOWED_HOSTS": "chat.example.org"}
CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        await running.pace(rate=2_000, first_delay=0.001)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(model: ModelSim, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with serving(tmp_path_factory.mktemp("sessions"), model, **SETTINGS) as running:
        yield running


async def sign_in(
    person: Person, token: str = TOKENS["alice"], **headers: str
) -> tuple[int, Morsel[str] | None]:
    """The status and the response's cookie, which further requests do not send."""
    given = {"Authorization": f"Bearer {token}", "Origin": person.url, **headers}
    async with person.http.post("/app/session", headers=given) as response:
        person.http.cookie_jar.clear()
        found = SimpleCookie(response.headers.get("Set-Cookie", ""))
        return response.status, next(iter(found.values()), None)


async def cookie(person: Person, token: str = TOKENS["alice"]) -> dict[str, str]:
    """The header of a browser that has just signed in."""
    status, morsel = await sign_in(person, token)
    assert status == 200
    assert morsel is not None
    return {"Cookie": f"{morsel.key}={morsel.value}"}


async def status_of(person: Person, method: str, path: str, **headers: str) -> int:
    async with person.http.request(method, path, headers=headers) as response:
        return response.status


# ── the cookie ────────────────────────────────────────────────────────────────────────────────
async def test_a_token_becomes_a_cookie_that_no_script_reads(site: Site, tmp_path: Path) -> None:
    """HttpOnly and SameSite=Strict everywhere; Secure with the prefix __Host- behind TLS."""
    async with site.person() as person:
        _, plain = await sign_in(person)
        assert plain is not None
        assert plain.key == f"threadline-{site.port}"
        assert (plain["httponly"], plain["samesite"], plain["path"]) == (True, "strict", "/")
        assert (plain["secure"], plain["domain"]) == ("", "")
        secured = {"Host": "chat.example.org", "Origin": "https://chat.example.org"}
        _, strict = await sign_in(person, **secured)
        assert strict is not None
        assert strict.key == "__Host-threadline"
        assert (strict["httponly"], strict["secure"], strict["domain"]) == (True, True, "")
        # Behind TLS, a cookie without the prefix may be someone else's, so it is not accepted.
        sent = {"Host": "chat.example.org", "Cookie": f"__Host-threadline={strict.value}"}
        assert await status_of(person, "GET", "/app/session", **sent) == 200
        sent = {"Host": "chat.example.org", "Cookie": f"threadline={strict.value}"}
        tls = {**sent, "X-Forwarded-Proto": "https"}
        assert await status_of(person, "GET", "/app/session", **tls) == 401


async def test_wrong_tokens_and_cookies_open_nothing_and_are_slowed_down(
    tmp_path: Path, model: ModelSim
) -> None:
    async with serving(tmp_path, model, **SETTINGS) as site, site.person() as person:
        assert (await sign_in(person, "wrong-token-of-16")) == (401, None)
        right = await cookie(person)
        name, _, secret = right["Cookie"].partition("=")
        for value in ("", "x", secret[:-1], secret[::-1], secret.swapcase(), "é" * 43):
            assert await status_of(person, "GET", "/app/session", Cookie=f"{name}={value}") == 401
        both = {**right, "Authorization": "Bearer wrong-token-of-16"}
        assert await status_of(person, "GET", "/app/session", **both) == 401
        assert await status_of(person, "GET", "/app/session", **right) == 200
        assert look(tmp_path / "threadline.db", "SELECT count(*) FROM sessions") == [(1,)]


# ── what it allows ────────────────────────────────────────────────────────────────────────────
async def test_a_cookie_does_what_a_token_does(site: Site) -> None:
    """Pages, the API, and event streams that need no header."""
    async with site.person() as person:
        mine = await cookie(person)
        ours = {**mine, "Origin": person.url}
        other = {**await cookie(person, TOKENS["bob"]), "Origin": person.url}
        body = {"text": "@threadline hello", "client_id": "0a0b0c0d-0000-4000-8000-000000000001"}
        async with person.stream("GET", "/app/events", **mine) as source:
            await next_event(source, "ready")
            status, sent = await person.ask("POST", "/app/messages", body, headers=ours)
            assert status == 200
            await next_event(source, "reply", thread=sent["thread"], state="done")
        path = f"/app/threads/{sent['thread']}"
        assert await status_of(person, "GET", path, **mine) == 200
        assert await status_of(person, "GET", path, **other) == 404


async def test_a_tab_of_another_person_does_nothing_in_the_name_of_this_one(site: Site) -> None:
    async with site.person() as person:
        mine = {**await cookie(person), "Origin": person.url}
        assert (
            await status_of(person, "GET", "/app/session", **mine, **{"Threadline-User": "alice"})
            == 200
        )
        assert (
            await status_of(person, "GET", "/app/session", **mine, **{"Threadline-User": "bob"})
            == 401
        )
        body = {"text": "@threadline no", "client_id": "0a0b0c0d-0000-4000-8000-000000000002"}
        headers = {**mine, "Threadline-User": "b%C3%B6b"}
        status, refusal = await person.ask("POST", "/app/messages", body, headers=headers)
        assert (status, "Another person" in refusal["error"]) == (401, True)


async def changing_routes(site: Site) -> AsyncIterator[tuple[str, str]]:
    """Every route that may change something, with values for its parameters."""
    app: Any = await site.adapter.site.built()  # type: ignore[attr-defined]
    while not hasattr(app, "routes"):
        app = app._app
    for included in app.routes:
        for route in getattr(getattr(included, "original_router", None), "routes", [included]):
            for method in sorted(CHANGING & set(getattr(route, "methods", None) or ())):
                path = re.sub(r"\{[^}]*\}", "0a0b0c0d-0000-4000-8000-000000000009", route.path)
                scope = {"type": "http", "method": method, "path": path}
                assert route.matches(scope)[0] is Match.FULL
                yield method, path


async def test_no_other_page_changes_anything_with_a_cookie(site: Site) -> None:
    """On every route, requests from another site, from another port of this host, and without a
    sign of their origin are refused; the page's own request is not."""
    routes = [each async for each in changing_routes(site)]
    assert len(routes) > 12
    assert {"/app/messages", "/app/commands", "/app/session"} <= {path for _, path in routes}
    async with site.person() as person:
        mine = await cookie(person)
        foreign: list[dict[str, str]] = [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": f"http://127.0.0.1:{site.port + 1}"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": person.url},
            {"Sec-Fetch-Site": "none"},
            {},
        ]
        for method, path in routes:
            for headers in foreign:
                assert await status_of(person, method, path, **mine, **headers) == 403, path
        # On a configured name, the port may be the proxy's for a token, but not for a cookie.
        named = {"Host": "chat.example.org", "Origin": "http://chat.example.org:3000"}
        sent = {"Cookie": mine["Cookie"].replace(f"threadline-{site.port}", "threadline"), **named}
        assert await status_of(person, "POST", "/app/commands", **sent) == 403
        proxied = {"Cookie": mine["Cookie"], "Origin": "https://chat.example.org"}
        assert await status_of(person, "POST", "/app/commands", **proxied) == 401  # no __Host-
        for headers in ({"Origin": person.url}, {"Sec-Fetch-Site": "same-origin"}):
            assert await status_of(person, "POST", "/app/commands", **mine, **headers) == 422
        assert await status_of(person, "GET", "/app/session", **mine) == 200  # and still signed in


# ── how it ends ───────────────────────────────────────────────────────────────────────────────
async def test_a_session_survives_a_restart_and_ends_by_signing_out(
    tmp_path: Path, model: ModelSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its open event streams end with the next keep-alive."""
    monkeypatch.setattr(tabs, "KEEP_ALIVE_SECONDS", 0.05)
    async with serving(tmp_path, model, **SETTINGS) as site, site.person() as person:
        mine = await cookie(person)
        kept = await cookie(person)
    port = {"HTTP_PORT": str(site.port)}  # the cookie's name has it
    async with serving(tmp_path, model, **SETTINGS, **port) as site, site.person() as person:
        ours = {**mine, "Origin": person.url}
        async with person.stream("GET", "/app/events", **mine) as source:
            await next_event(source, "ready")
            assert await status_of(person, "DELETE", "/app/session", **ours) == 200
            assert [event async for event in source] == []
        assert await status_of(person, "GET", "/app/session", **mine) == 401
        assert await status_of(person, "GET", "/app/session", **kept) == 200
        stored = (tmp_path / "threadline.db").read_bytes()
        for each in (mine, kept):
            assert each["Cookie"].partition("=")[2].encode() not in stored


async def test_a_session_ends_with_its_token(tmp_path: Path, model: ModelSim) -> None:
    async with serving(tmp_path, model, **SETTINGS) as site, site.person() as person:
        alices, bobs = await cookie(person), await cookie(person, TOKENS["bob"])
    port = {"HTTP_PORT": str(site.port)}
    tokens = {"HTTP_TOKENS": "alice:another-token-of-16"}
    changed = {**SETTINGS, **tokens, **port}
    async with serving(tmp_path, model, **changed) as site, site.person() as person:
        for mine in (alices, bobs):
            assert await status_of(person, "GET", "/app/session", **mine) == 401


async def test_without_tokens_no_one_signs_in(tmp_path: Path, model: ModelSim) -> None:
    async with serving(tmp_path, model) as site, site.person() as person:
        assert await sign_in(person) == (405, None)
        assert await status_of(person, "GET", "/app/session") == 200
