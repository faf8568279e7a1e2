"""Small parts of the Discord adapter: buttons, errors, budgets, comparisons, doctor's words."""

from __future__ import annotations

import inspect
import re
from types import SimpleNamespace
from typing import Any

import discord
import pytest

from adapters.discord import gateway, state, wire
from adapters.discord.buttons import (
    CHOICE,
    MAX_CUSTOM_ID,
    choice_id,
    choice_of,
    choice_view,
)
from adapters.discord.commands import clipped, compared
from adapters.discord.doctor import _guild, permissions
from adapters.discord.render import DiscordRenderer, size
from bot.domain import Choice, ConversationKey, Verdict
from bot.errors import Gone, PlatformError, Refused, Throttled, Unsettled

SNOWFLAKE = "18446744073709551615"  # the largest there can be


# ── buttons ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "key",
    [
        ConversationKey("discord", SNOWFLAKE, SNOWFLAKE, SNOWFLAKE),
        ConversationKey("discord", "@me", "42", ""),
        ConversationKey("discord", "1", "2", ""),
    ],
)
def test_a_buttons_id_says_the_whole_choice(key: ConversationKey) -> None:
    choice = Choice("", "model", key, "openai:gpt-5-mini")
    found = CHOICE.fullmatch(choice_id(choice))
    assert found is not None and choice_of(found, "discord") == choice
    assert len(choice_id(choice)) <= MAX_CUSTOM_ID


async def test_a_choice_whose_id_would_be_too_long_is_left_out() -> None:
    key = ConversationKey("discord", SNOWFLAKE, SNOWFLAKE, SNOWFLAKE)
    assert choice_view([Choice("x", "model", key, "m" * 80)]) is None
    view = choice_view([Choice("a" * 200, "reset", key)] * 30)
    assert view is not None
    rows = view.to_components()
    assert sum(len(row["components"]) for row in rows) == 25
    assert {len(button["label"]) for row in rows for button in row["components"]} == {80}


async def test_views_are_finished_so_that_the_library_keeps_none() -> None:
    view = choice_view([Choice("x", "reset", ConversationKey("discord", "1", "2", "3"))])
    assert view is not None and view.is_finished()


# ── errors ────────────────────────────────────────────────────────────────────────────────────
def http(status: int, code: int = 0, headers: dict[str, str] | None = None) -> Any:
    response: Any = SimpleNamespace(status=status, reason="", headers=headers or {})
    return discord.HTTPException(response, {"code": code, "message": "said"})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (http(404, 10008), Gone),
        (http(404, 0), Gone),
        (http(403, 50013), Gone),
        (http(400, 50083), Gone),
        (http(400, 50035), Refused),
        (http(401, 0), Refused),
        (http(500), Unsettled),
        (http(503), Unsettled),
        (http(429), Throttled),
        (discord.RateLimited(44.0), Throttled),
        (ConnectionResetError(), Unsettled),
        (TimeoutError(), Unsettled),
        (RuntimeError("Session is closed"), Unsettled),
    ],
)
async def test_the_librarys_errors_become_ours(
    error: Exception, expected: type[PlatformError]
) -> None:
    async def fails() -> None:
        raise error

    with pytest.raises(PlatformError) as caught:
        await wire.translated(fails())
    assert type(caught.value) is expected
    assert caught.value.__cause__ is error


def test_how_long_to_wait_is_what_discord_says() -> None:
    waits = [
        error.retry_after
        for headers in ({"Retry-After": "9"}, {"Retry-After": "soon"}, {})
        if isinstance(error := wire.of_http(http(429, headers=headers)), Throttled)
    ]
    assert waits == [9.0, wire.UNKNOWN_WAIT, wire.UNKNOWN_WAIT]


# ── budgets ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("method", "path", "headers", "scopes"),
    [
        ("PATCH", "/api/v10/channels/5/messages/6", {}, ("channel:5",)),
        ("POST", "/api/v10/channels/5/messages", {}, ("channel:5",)),
        ("DELETE", "/api/v10/channels/5/messages/6", {}, ("delete:5",)),
        ("POST", "/api/v10/channels/5/typing", {}, ("typing:5",)),
        ("POST", "/api/v10/channels/5/typing", {"X-RateLimit-Global": "true"}, ("global",)),
        ("PATCH", "/api/v10/webhooks/1/t/messages/@original", {}, ()),
        ("GET", "/api/v10/users/@me", {}, ()),
    ],
)
def test_a_429_closes_the_budget_it_concerns(
    method: str, path: str, headers: dict[str, str], scopes: tuple[str, ...]
) -> None:
    assert wire.throttled_scopes(method, path, headers) == scopes


def test_every_budget_has_its_limit() -> None:
    for scope in (*wire.messages_in("1"), *wire.deletions_in("1"), *wire.typing_in("1")):
        assert wire.limits(scope) is not None
    assert wire.limits("threads:1") is None


# ── commands and doctor ───────────────────────────────────────────────────────────────────────
def test_commands_are_compared_without_what_discord_adds() -> None:
    mine = {"name": "a", "type": 1, "description": "x", "options": [], "contexts": [0, 1]}
    theirs = {**mine, "contexts": [1, 0], "id": "9", "version": "3", "nsfw": False}
    assert compared([theirs]) == compared([mine])
    assert compared([{**mine, "description": "y"}]) != compared([mine])


def test_an_answer_is_cut_at_a_lines_end_within_the_limit() -> None:
    renderer = DiscordRenderer()
    text = clipped(renderer, "\n".join(f"{n} 😀😀😀" for n in range(600)))
    assert size(text) <= renderer.limit
    assert re.search(r"\n\d+ 😀😀😀…\Z", text)
    assert clipped(renderer, "short") == "short"
    assert size(clipped(renderer, "😀" * 3_000)) <= renderer.limit


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


# ── what is used of discord.py beside its documented parts ────────────────────────────────────
def test_the_members_of_discord_py_that_are_relied_on_are_there() -> None:
    """An upgrade that takes one away fails here first: see `adapters.discord.state`."""
    for owner, names in state.PRIVATE.items():
        assert [name for name in names if not hasattr(owner, name)] == []
    socket = gateway.Socket(SimpleNamespace(closed=True), loop=None)  # type: ignore[arg-type]
    assert [name for name in gateway.PRIVATE if not hasattr(socket, name)] == []
    for name in ("parsers", "dispatch", "user"):
        assert hasattr(discord.Client(intents=discord.Intents.none())._connection, name)


def test_the_parsers_are_looked_up_where_they_are_guarded() -> None:
    """`DiscordWebSocket` takes `state.parsers`; a new way would go past the guard."""
    source = inspect.getsource(discord.gateway.DiscordWebSocket)
    assert "_discord_parsers = client._connection.parsers" in source
    assert "self._discord_parsers[event]" in source
