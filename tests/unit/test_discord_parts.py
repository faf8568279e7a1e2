"""Parts of the Discord adapter: buttons, errors, rate limits, commands, doctor, private members."""

from __future__ import annotations

import asyncio
import inspect
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import discord
import pytest
from discord.http import HTTPClient, Route

from adapters.discord import doctor, errors, gateway_socket, http, rest, session_starts, state
from adapters.discord.buttons import (
    CHOICE,
    MAX_CUSTOM_ID,
    choice_id,
    choice_view,
    parse_choice,
)
from adapters.discord.commands import comparable
from adapters.discord.doctor import _guild, permissions
from adapters.discord.interactions import clip
from adapters.discord.render import DiscordRenderer, size
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Gone, PlatformError, Refused, Throttled, Unsettled
from bot.domain.health import Verdict
from bot.domain.inbox import Choice
from tests.support.clock import ManualClock

SNOWFLAKE = "4611686018427387903"  # the largest that is accepted, of the year 2049


# ── buttons ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "key",
    [
        ConversationKey("discord", SNOWFLAKE, SNOWFLAKE, SNOWFLAKE),
        ConversationKey("discord", "@me", "42", ""),
        ConversationKey("discord", "1", "2", ""),
    ],
)
def test_a_buttons_id_contains_the_whole_choice(key: ConversationKey) -> None:
    choice = Choice("", "model", key, "openai:gpt-5-mini")
    found = CHOICE.fullmatch(choice_id(choice))
    assert found is not None and parse_choice(found, "discord") == choice
    assert len(choice_id(choice)) <= MAX_CUSTOM_ID


async def test_a_choice_with_too_long_an_id_is_omitted() -> None:
    key = ConversationKey("discord", SNOWFLAKE, SNOWFLAKE, SNOWFLAKE)
    assert choice_view([Choice("x", "model", key, "m" * 80)]) is None
    view = choice_view([Choice("a" * 200, "reset", key)] * 30)
    assert view is not None
    rows = view.to_components()
    assert sum(len(row["components"]) for row in rows) == 25
    assert {len(button["label"]) for row in rows for button in row["components"]} == {80}


async def test_views_are_finished_so_that_discord_py_keeps_none() -> None:
    view = choice_view([Choice("x", "reset", ConversationKey("discord", "1", "2", "3"))])
    assert view is not None and view.is_finished()


# ── errors ────────────────────────────────────────────────────────────────────────────────────
def answer(status: int, headers: dict[str, str] | None = None) -> Any:
    headers = {"Content-Type": "application/json"} if headers is None else headers
    return SimpleNamespace(status=status, reason="", headers=headers)


def refusal(status: int, code: int = 0, headers: dict[str, str] | None = None) -> Any:
    return discord.HTTPException(answer(status, headers), {"code": code, "message": "said"})


PAGE = {"Content-Type": "text/html"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refusal(404, 10008), Gone),
        (refusal(404, 0), Gone),
        (refusal(403, 50013), Gone),
        (refusal(400, 50083), Gone),
        (refusal(400, 50035), Refused),
        (refusal(401, 0), Unsettled),
        (refusal(404, headers=PAGE), Unsettled),
        (refusal(403, headers=PAGE), Unsettled),
        (refusal(400, headers=PAGE), Unsettled),
        (refusal(413, 40005), Refused),
        (refusal(413, headers=PAGE), Refused),
        (refusal(403, headers={}), Unsettled),
        (refusal(403, 40333), Unsettled),
        (refusal(503, 130000), Unsettled),
        (refusal(400, 50278), Gone),
        (refusal(400, 30033), Gone),
        (refusal(500), Unsettled),
        (refusal(503), Unsettled),
        (refusal(429), Throttled),
        (ConnectionResetError(), Unsettled),
        (TimeoutError(), Unsettled),
        (RuntimeError("Session is closed"), Unsettled),
        (KeyError("author"), Unsettled),
        (TypeError("a str has no items"), Unsettled),
        (http.UnreadableResponse("not JSON"), Unsettled),
    ],
)
async def test_discord_pys_errors_are_translated(
    error: Exception, expected: type[PlatformError]
) -> None:
    async def fails() -> None:
        raise error

    with pytest.raises(PlatformError) as caught:
        await errors.attempt(fails())
    assert type(caught.value) is expected
    assert caught.value.__cause__ is error


ODD = (None, "soon", [], {}, True, -1, float("nan"), float("inf"), "1e999")


def test_the_wait_is_the_one_discord_names() -> None:
    """The body comes before the headers; a default replaces invalid numbers."""
    said = {"Retry-After": "9", "X-RateLimit-Reset-After": "8.5"}
    assert http.retry_after_in(said, {"retry_after": 8.567}) == 8.567
    assert [http.retry_after_in(said, {"retry_after": odd}) for odd in ODD] == [9.0] * len(ODD)
    assert http.retry_after_in({"X-RateLimit-Reset-After": "3.5"}, {}) == 3.5
    assert http.retry_after_in({"Retry-After": "soon"}, {}) == http.DEFAULT_RETRY_AFTER
    assert http.retry_after_in({}, "error code: 1015") == http.DEFAULT_BAN
    assert http.retry_after_in({}, {"retry_after": 1e9}) == http.MAX_RETRY_AFTER


BAN, BUCKET = "error code: 1015", {"X-RateLimit-Bucket": "b", "X-RateLimit-Scope": "user"}


@pytest.mark.parametrize(
    ("headers", "data", "everything"),
    [
        ({}, BAN, None),
        ({"Via": "1.1 corporate"}, BAN, None),
        ({}, {"retry_after": 5}, None),
        ({}, {"retry_after": 5, "global": False}, False),
        ({"Via": "1.1 google"}, {"retry_after": 5}, False),
        ({"Via": "1.1 google"}, {"global": True}, True),
        ({"X-RateLimit-Scope": "global"}, None, True),
        ({"Via": "1.1 google", "X-RateLimit-Global": "true"}, {}, True),
        ({"Via": "1.1 google", "X-RateLimit-Scope": "shared"}, {"retry_after": 219}, False),
        (BUCKET, {"global": "no"}, False),
        *((BUCKET, odd, False) for odd in (None, [], 7, "", "<html>")),
    ],
)
def test_only_a_global_limit_blocks_everything(
    headers: dict[str, str], data: Any, everything: bool | None
) -> None:
    """None: Discord's edge refuses the route, or has banned the address."""
    assert http.is_global(answer(429, headers), data) is everything


async def test_the_address_is_banned_once_discords_edge_refuses_two_routes() -> None:
    """Reports name both: a ban, and an edge that refuses one route for an hour."""
    clock, rate_limiter = ManualClock(), cast(Any, RecordingLimiter())
    client = http.Http(
        of=HTTPClient(asyncio.get_running_loop()), rate_limiter=rate_limiter, clock=clock
    )

    def scope_of(method: str, path: str, channel: int) -> str:
        route = Route(method, path, channel_id=channel, message_id=9)
        refused = answer(429, PAGE | {"Retry-After": "60"})
        with pytest.raises(http.TooManyRequests) as caught:
            client._data_or_raise(route, refused, BAN)
        return caught.value.scope

    edit = ("PATCH", "/channels/{channel_id}/messages/{message_id}")
    assert scope_of(*edit, 1) == "channel:1"
    assert scope_of(*edit, 2) == "channel:2"
    assert scope_of("POST", "/channels/{channel_id}/typing", 1) == rest.GLOBAL
    await clock.advance(61)
    assert scope_of(*edit, 1) == "channel:1"


@pytest.mark.parametrize("odd", [*ODD, "text", ["list"], {"a": {"_errors": None}}])
def test_a_malformed_error_response_is_still_translated(odd: Any) -> None:
    """discord.py's own constructor raises on some of these."""
    for data in ({"code": odd}, {"message": odd}, {"errors": odd}, odd):
        error = http.to_exception(discord.NotFound, answer(404), data)
        assert isinstance(error, discord.NotFound) and isinstance(error.code, int)
        said = bool(error.code or error.text)  # otherwise a proxy may have sent it
        assert isinstance(errors.translate_error(error), Gone if said else Unsettled)


# ── budgets ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("route", "scopes"),
    [
        (
            Route(
                "PATCH", "/channels/{channel_id}/messages/{message_id}", channel_id=5, message_id=6
            ),
            rest.message_scopes("5"),
        ),
        (Route("POST", "/channels/{channel_id}/messages", channel_id=5), rest.message_scopes("5")),
        (
            Route(
                "DELETE", "/channels/{channel_id}/messages/{message_id}", channel_id=5, message_id=6
            ),
            rest.deletion_scopes("5"),
        ),
        (Route("POST", "/channels/{channel_id}/typing", channel_id=5), rest.typing_scopes("5")),
        (
            Route("GET", "/channels/{channel_id}/messages", channel_id=5),
            rest.request_scopes("history", 5),
        ),
        (
            Route("PUT", "/applications/{application_id}/commands", application_id=3),
            rest.request_scopes("commands"),
        ),
        (Route("GET", "/users/@me"), ("GET /users/@me", rest.GLOBAL)),
    ],
)
def test_a_route_has_the_scope_of_its_request(route: Route, scopes: tuple[str, ...]) -> None:
    assert (http.route_scope(route), rest.GLOBAL) == scopes


def test_every_scope_has_its_limit() -> None:
    for scope in (*rest.message_scopes("1"), *rest.deletion_scopes("1"), *rest.typing_scopes("1")):
        assert rest.limits(scope) is not None
    assert rest.limits("thread:1") is None


class RecordingLimiter:
    """A rate limiter that records which scopes are blocked."""

    def __init__(self) -> None:
        self.closed: list[tuple[float, tuple[str, ...]]] = []

    def throttled(self, retry_after: float, *scopes: str) -> None:
        self.closed.append((retry_after, scopes))


async def test_invalid_requests_slow_down_long_before_a_ban() -> None:
    """Requests over shared limits do not count, and neither do requests older than ten minutes."""
    rate_limiter: Any = RecordingLimiter()
    clock = ManualClock()
    client = http.Http(
        of=HTTPClient(asyncio.get_running_loop()), rate_limiter=rate_limiter, clock=clock
    )
    for _ in range(2 * http.MAX_INVALID):
        client._count_invalid(429, {"X-RateLimit-Scope": "shared"})
        client._count_invalid(404, {})
    for _ in range(http.MAX_INVALID):
        client._count_invalid(403, {})
    assert rate_limiter.closed == []
    client._count_invalid(401, {})
    assert rate_limiter.closed == [(http.SLOW_SECONDS, (rest.GLOBAL,))]
    assert client.token_refused.is_set()
    await clock.advance(http.INVALID_SECONDS)
    client._count_invalid(403, {})
    assert len(rate_limiter.closed) == 1


# ── commands and doctor ───────────────────────────────────────────────────────────────────────
def test_commands_are_compared_without_discords_additions() -> None:
    mine = {"name": "a", "type": 1, "description": "x", "options": [], "contexts": [0, 1]}
    theirs = {**mine, "contexts": [1, 0], "id": "9", "version": "3", "nsfw": False}
    assert comparable([theirs]) == comparable([mine])
    assert comparable([{**mine, "description": "y"}]) != comparable([mine])


def test_a_long_reply_is_cut_at_the_end_of_a_line() -> None:
    renderer = DiscordRenderer()
    text = clip(renderer, "\n".join(f"{n} 😀😀😀" for n in range(600)))
    assert size(text) <= renderer.limit
    assert re.search(r"\n\d+ 😀😀😀…\Z", text)
    assert clip(renderer, "short") == "short"
    assert size(clip(renderer, "😀" * 3_000)) <= renderer.limit


def test_a_missing_permission_is_named_with_its_purpose() -> None:
    has = permissions()
    has.create_public_threads = False
    finding = _guild({"name": "g", "permissions": str(has.value)}, "https://invite")
    assert finding.verdict is Verdict.FAILED
    assert finding.detail == (
        "missing: create public threads (to open a thread for each conversation)"
    )
    assert "https://invite" in finding.advice
    administrator = discord.Permissions(administrator=True)
    found = _guild({"name": "g", "permissions": str(administrator.value)}, "")
    assert found.verdict is Verdict.OK


# ── undocumented parts of discord.py ──────────────────────────────────────────────────────────
def test_the_private_members_of_discord_py_exist() -> None:
    """An upgrade that removes one fails here first: see `adapters.discord.state`."""
    for owner, names in state.PRIVATE.items():
        assert [name for name in names if not hasattr(owner, name)] == []
    socket = gateway_socket.GatewaySocket(SimpleNamespace(closed=True), loop=None)  # type: ignore[arg-type]
    assert [name for name in gateway_socket.PRIVATE if not hasattr(socket, name)] == []
    for name in ("parsers", "dispatch", "user", "_command_tree", "_view_store", "_intents"):
        assert hasattr(discord.Client(intents=discord.Intents.none())._connection, name)


def test_discord_py_looks_up_the_guarded_parsers() -> None:
    """`DiscordWebSocket` uses `state.parsers`; any other lookup would bypass the guard."""
    source = inspect.getsource(discord.gateway.DiscordWebSocket)
    assert "_discord_parsers = client._connection.parsers" in source
    assert "self._discord_parsers[event]" in source


def test_the_id_in_a_response_is_valid_or_none() -> None:
    for good in (5, "5"):
        assert rest.id_in({"id": good}) == "5"
    for odd in (None, "", "²", "9" * 40, -1, True, [], {}):
        assert rest.id_in({"id": odd}) is None
    assert [rest.id_in(odd) for odd in (None, [], "5")] == [None] * 3


# ── session starts ────────────────────────────────────────────────────────────────────────────
def test_the_gateways_info_is_read_whatever_it_contains() -> None:
    limit = {"total": 2_000, "remaining": 7, "reset_after": 60_000, "max_concurrency": 16}
    info = session_starts.parse_gateway_info({"shards": 9, "session_start_limit": limit}, 5.0)
    assert info == session_starts.GatewayInfo(9, 2_000, 7, 60.0, 16, 5.0)
    assert info.is_used_up and info.kept == 200
    for odd in (None, [], {}, {"shards": "9", "session_start_limit": {"total": -1}}):
        found = session_starts.parse_gateway_info(odd, 0.0)
        assert (found.shards, found.remaining, found.max_concurrency) == (1, 1_000, 1)
        assert not found.is_used_up


def test_doctor_reports_shards_and_sessions() -> None:
    info = session_starts.GatewayInfo(shards=4, total=1_000, remaining=900)
    assert [f.verdict for f in doctor.sessions_findings(info, None)] == [Verdict.OK, Verdict.OK]
    few = doctor.sessions_findings(info, 1)[1]
    assert few.verdict is Verdict.WARNING and "DISCORD_SHARDS=auto" in few.advice
    [used_up] = doctor.sessions_findings(replace(info, remaining=100, reset_after=7_000.0), None)
    assert used_up.verdict is Verdict.FAILED and "2 h" in used_up.advice
