"""Slack's manifests, rate limits, buttons, translated errors and the lookup cache."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from slack_sdk.errors import SlackApiError

import adapters.slack
from adapters.slack import manifest, manifest_path, new_app_link
from adapters.slack.blocks import MessageBuilder, parse_button_value
from adapters.slack.errors import DEFAULT_RETRY_AFTER, GONE, MAX_RETRY_AFTER, translate_error
from adapters.slack.feedback import REFUSED_SECONDS, FeedbackButtons
from adapters.slack.handshake import is_socket_url
from adapters.slack.http import PATH
from adapters.slack.interactions import (
    SHORTCUT,
    SLASHES,
    parse_button,
    parse_shortcut,
    parse_slash_command,
)
from adapters.slack.listeners import Listeners
from adapters.slack.lookup_cache import MAX_VALUES, LookupCache
from adapters.slack.mrkdwn import Mrkdwn
from adapters.slack.oauth import REDIRECT_PATH
from adapters.slack.rate_limits import limit_for, post_scopes
from adapters.slack.scopes import EVENTS, SCOPES
from bot.common.clock import SystemClock
from bot.domain import texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Gone, Refused, Throttled, Unsettled
from bot.domain.inbox import Choice, CommandReply
from bot.domain.replies import Control
from tests.sims.slack.manifests import find_manifest_errors
from tests.support.clock import ManualClock

SOURCE = Path(adapters.slack.__file__).parent
KEY = ConversationKey("slack", "T1", "C1", "1700000000.000100")

# The scopes of each method that the code calls, from the methods' documentation pages.
METHOD_SCOPES = {
    "agents.sessions.setStatus": {"chat:write"},
    "apps.connections.open": set(),  # a scope of the app-level token
    "apps.uninstall": set(),
    "assistant.threads.setStatus": {"assistant:write"},
    "assistant.threads.setSuggestedPrompts": {"assistant:write"},
    "auth.revoke": set(),
    "auth.teams.list": set(),
    "auth.test": set(),
    "chat.appendStream": {"chat:write"},
    "chat.delete": {"chat:write"},
    "chat.postEphemeral": {"chat:write"},
    "chat.postMessage": {"chat:write"},
    "chat.startStream": {"chat:write"},
    "chat.stopStream": {"chat:write"},
    "chat.update": {"chat:write"},
    "conversations.history": {
        "channels:history",
        "groups:history",
        "im:history",
        "mpim:history",
    },
    "conversations.open": {"im:write"},
    "conversations.info": {"channels:read", "groups:read", "im:read", "mpim:read"},
    "conversations.members": {"channels:read", "groups:read", "im:read", "mpim:read"},
    "conversations.replies": {
        "channels:history",
        "groups:history",
        "im:history",
        "metadata.message:read",
        "mpim:history",
    },
    "conversations.list": {"channels:read", "groups:read"},
    "usergroups.list": {"usergroups:read"},
    "users.conversations": {"channels:read", "groups:read"},
    "users.info": {"users:read"},
}
# Scopes that none of these methods needs: for events, commands and files.
OTHER_SCOPES = {"app_mentions:read", "commands", "files:read", "files:write"}


METHOD = re.compile(
    r"(?:agents|apps|assistant|auth|chat|conversations|usergroups|users)\.[A-Za-z.]+"
)


def methods_in_code() -> set[str]:
    trees = [ast.parse(path.read_text()) for path in SOURCE.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    texts = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return {text for text in texts if METHOD.fullmatch(text)}


def listeners() -> Listeners:
    nothing: Any = None
    return Listeners(
        workspace=nothing,
        inbox=nothing,
        saver=nothing,
        builder=nothing,
        interactions=nothing,
        prefix="",
        clock=nothing,
        removed=nothing,
    )


@pytest.mark.parametrize("mode", ["socket", "http"])
def test_the_manifest_has_the_scopes_and_events_that_the_code_uses(mode: str) -> None:
    wanted = manifest(mode)
    assert methods_in_code() == set(METHOD_SCOPES)
    needed = set().union(*METHOD_SCOPES.values()) | OTHER_SCOPES
    assert set(wanted["oauth_config"]["scopes"]["bot"]) == needed == set(SCOPES)
    events = wanted["settings"]["event_subscriptions"]["bot_events"]
    assert sorted(EVENTS) == events == sorted(set(events))
    older = {"assistant_thread_started"}  # only apps with the older assistant_view get it
    assert {name.partition(".")[0] for name in events} == set(listeners().events) - older


@pytest.mark.parametrize("mode", ["socket", "http"])
def test_the_manifest_offers_the_commands_that_the_code_handles(mode: str) -> None:
    features = manifest(mode)["features"]
    assert [one["command"] for one in features["slash_commands"]] == [f"/{n}" for n in SLASHES]
    (offered,) = features["shortcuts"]
    assert (offered["callback_id"], offered["type"]) == (SHORTCUT, "message")
    assert offered["name"] == "Start this thread over"
    assert features["app_home"]["messages_tab_enabled"] is True
    assert features["app_home"]["messages_tab_read_only_enabled"] is False
    assert features["agent_view"]["suggested_prompts"] == list(texts.PROMPTS)


def test_the_manifests_differ_only_in_urls_and_socket_mode() -> None:
    socket, http = manifest("socket"), manifest("http")
    settings = http["settings"]
    urls = [
        settings["event_subscriptions"].pop("request_url"),
        settings["interactivity"].pop("request_url"),
        *(one.pop("url") for one in http["features"]["slash_commands"]),
    ]
    assert all(url.startswith("https://") and url.endswith(PATH) for url in urls)
    (redirect,) = http["oauth_config"].pop("redirect_urls")  # Socket Mode may have no address
    assert redirect == f"https://YOUR-HOST{REDIRECT_PATH}"
    assert socket["settings"].pop("socket_mode_enabled") is True
    assert settings.pop("socket_mode_enabled") is False
    assert socket == http


@pytest.mark.parametrize("mode", ["socket", "http"])
def test_the_manifest_satisfies_slacks_limits(mode: str) -> None:
    """Tries the longest command prefix and a real host."""
    assert find_manifest_errors(json.loads(manifest_path(mode).read_text())) == []
    assert (
        find_manifest_errors(
            manifest(mode, prefix="threadline-", base_url="https://bot.example.org/")
        )
        == []
    )


def test_the_link_that_creates_the_app_contains_the_manifest() -> None:
    """The README's link is up to date."""
    link = new_app_link("http", prefix="tl-", base_url="https://bot.example.org")
    address = urlsplit(link)
    assert (address.scheme, address.netloc, address.path) == ("https", "api.slack.com", "/apps")
    fields = parse_qs(address.query)
    assert fields["new_app"] == ["1"]
    made = json.loads(fields["manifest_json"][0])
    assert made == manifest("http", prefix="tl-", base_url="https://bot.example.org")
    assert made["features"]["slash_commands"][0]["command"] == "/tl-reset"
    assert made["settings"]["interactivity"]["request_url"] == f"https://bot.example.org{PATH}"
    readme = (SOURCE.parents[1] / "README.md").read_text()
    assert f"[slack-app]: {new_app_link('socket')}\n" in readme


def test_rate_limits_stay_below_slacks() -> None:
    """Tier 2 is 20 a minute, tier 3 is 50, tier 4 is 100; a channel takes one post a second."""
    tiers = {"chat.stopStream": 20, "chat.update": 50, "chat.delete": 50, "users.info": 100}
    tiers |= {"conversations.replies": 50, "assistant.threads.setStatus": 50}
    for scope, most in tiers.items():
        limit = limit_for(scope)
        assert most * 0.9 < limit.count < most
        assert limit.seconds == 60
    channel, workspace = (limit_for(scope) for scope in post_scopes("C1"))
    assert channel.seconds / channel.count > 1
    assert workspace.count < 300


# ── buttons and payloads ──────────────────────────────────────────────────────────────────────
def test_a_choice_carries_its_conversation_and_argument() -> None:
    choice = Choice("x" * 300, "model", KEY, "openai:a|b")
    body = MessageBuilder(Mrkdwn(), SystemClock()).command_reply(CommandReply("Which?", (choice,)))
    section = body["blocks"][1]
    assert len(section["text"]["text"]) <= 75
    assert section["accessory"]["action_id"] == "threadline_model"
    assert parse_button_value(section["accessory"]["value"]) == (KEY, "openai:a|b")


@pytest.mark.parametrize("value", ["", "null", "[]", "nonsense", '{"t":4}', '{"k":"a/b"}', '"x"'])
def test_a_button_value_without_a_conversation_has_no_key(value: str) -> None:
    assert parse_button_value(value)[0] is None


def test_the_notification_text_is_short_until_the_page_is_complete() -> None:
    builder, text = MessageBuilder(Mrkdwn(), SystemClock()), "word " * 200
    interim = builder.page(text, complete=False, controls=(), turn=1)["text"]
    complete = builder.page(text, complete=True, controls=(), turn=1)["text"]
    assert len(interim) <= 300
    assert interim.endswith("…")
    assert complete == text.strip()


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_page_without_text_is_still_valid(text: str) -> None:
    """Slack refuses an empty block."""
    builder = MessageBuilder(Mrkdwn(), SystemClock())
    body = builder.page(text, complete=False, controls=(Control.STOP,), turn=1)
    assert body["text"]
    assert body["blocks"][0]["text"]


async def test_a_refused_feedback_element_is_tried_again_later() -> None:
    """Slack may have refused it by mistake."""
    clock = ManualClock()
    buttons, refusals = FeedbackButtons(clock), [Refused(code="invalid_blocks")]

    async def send() -> bool:
        shown = bool(buttons.block(1))
        if shown and refusals:
            raise refusals.pop()
        return shown

    assert not await buttons.send((Control.FEEDBACK,), send)
    assert not await buttons.send((Control.FEEDBACK,), send)
    clock.jump(REFUSED_SECONDS)
    assert await buttons.send((Control.FEEDBACK,), send)


def test_other_apps_interactions_are_ignored() -> None:
    user = {"id": "U1", "name": "a"}
    slash = {"user_id": "U1", "channel_id": "C1"}
    assert parse_slash_command({"command": "/resetx", **slash}, "") is None
    assert parse_slash_command({"command": "/reset", **slash}, "tl-") is None
    assert parse_shortcut({"type": "message_action", "callback_id": "other", "user": user}) is None
    assert parse_button({"actions": [{"action_id": "other"}], "user": user}) is None
    assert parse_button({"actions": [{"action_id": "threadline_stop"}], "user": user}) is None


# ── failures ──────────────────────────────────────────────────────────────────────────────────
class _Response:
    def __init__(self, status: int, error: str = "", headers: dict[str, str] | None = None) -> None:
        self.status_code, self.headers = status, headers or {}
        self.data: Any = {"ok": False, "error": error} if error else ""


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (_Response(200, "channel_not_found"), Gone),
        (_Response(200, "not_in_channel"), Gone),
        (_Response(200, "is_archived"), Gone),
        (_Response(200, "message_not_found"), Gone),
        (_Response(200, "account_inactive"), Gone),
        (_Response(200, "msg_too_long"), Refused),
        (_Response(200, "invalid_blocks"), Refused),
        (_Response(200, "something_new"), Refused),
        (_Response(200, "fatal_error"), Unsettled),
        (_Response(500), Unsettled),
        (_Response(200), Unsettled),
        (_Response(429), Throttled),
        (_Response(200, "ratelimited"), Throttled),
    ],
)
def test_slacks_error_codes_are_translated(response: _Response, kind: type[Exception]) -> None:
    assert isinstance(translate_error(SlackApiError("", response), ("a",)), kind)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"messages": ["[ERROR] a [json-pointer:/blocks/0]", "b"]}, "invalid_blocks: [ERROR] a "),
        ({"messages": [7, None]}, "invalid_blocks"),
        ({"messages": "x"}, "invalid_blocks"),
        (["x"], "invalid_blocks"),
    ],
)
def test_the_log_has_slacks_reason_for_a_refusal(metadata: Any, said: str) -> None:
    response = _Response(200, "invalid_blocks")
    response.data["response_metadata"] = metadata
    error = translate_error(SlackApiError("", response))
    assert str(error).startswith(said)
    assert error.code == "invalid_blocks"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        ("0", 1.0),
        ("-7", 1.0),
        ("soon", DEFAULT_RETRY_AFTER),
        ("nan", DEFAULT_RETRY_AFTER),
        ("", DEFAULT_RETRY_AFTER),
        (None, DEFAULT_RETRY_AFTER),
        ("inf", MAX_RETRY_AFTER),
        ("9" * 400, MAX_RETRY_AFTER),
    ],
)
def test_retry_after_is_parsed_within_limits(value: str | None, seconds: float) -> None:
    headers = {} if value is None else {"Retry-After": value}
    error = translate_error(SlackApiError("", _Response(429, "ratelimited", headers)), ("a", "b"))
    assert isinstance(error, Throttled)
    assert (error.retry_after, error.scopes) == (seconds, ("a", "b"))


def test_a_lost_connection_is_unsettled() -> None:
    assert isinstance(translate_error(TimeoutError()), Unsettled)
    assert isinstance(translate_error(ConnectionResetError()), Unsettled)
    assert "ratelimited" not in GONE


# ── lookups ───────────────────────────────────────────────────────────────────────────────────
class _Clock(SystemClock):
    now = 0.0

    def monotonic(self) -> float:
        return self.now


class _Source:
    """Returns `name-ID` once `open` is set; fails for the id "bad"."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.open = asyncio.Event()

    async def fetch(self, id_: str) -> str:
        self.fetched.append(id_)
        await self.open.wait()
        if id_ == "bad":
            raise Gone("user_not_found")
        return f"name-{id_}"


async def test_a_value_that_arrives_late_serves_the_next_caller() -> None:
    """No caller waits longer than it asked to, and each value is fetched once."""
    source = _Source()
    cache = LookupCache(fetch=source.fetch, clock=_Clock())
    assert await cache.get(["a", "b", "a"], 0.01) == {}
    assert await cache.get(["a"], 0.01) == {}
    assert source.fetched == ["a", "b"]
    source.open.set()
    assert await cache.get(["a", "b"], 1.0) == {"a": "name-a", "b": "name-b"}
    assert source.fetched == ["a", "b"]


async def test_values_are_refreshed_after_an_hour_and_failures_retried_after_a_minute() -> None:
    source, clock = _Source(), _Clock()
    source.open.set()
    cache = LookupCache(fetch=source.fetch, clock=clock)
    for now, fetches in ((0, 2), (59, 2), (61, 3), (3_500, 4), (3_601, 6)):
        clock.now = now
        assert await cache.get(["a", "bad"], 1.0) == {"a": "name-a"}
        assert len(source.fetched) == fetches


async def test_the_lookup_cache_is_bounded() -> None:
    source = _Source()
    cache = LookupCache(fetch=source.fetch, clock=_Clock())
    for number in range(MAX_VALUES + 10):
        cache.store(str(number), "x")
    assert len(cache._values) == MAX_VALUES
    assert await cache.get(["0"], 0.0) == {}
    await cache.aclose()
    assert cache._in_flight == {}


@pytest.mark.parametrize(
    ("url", "usable"),
    [
        ("wss://wss-primary.slack.com/link/?ticket=1", True),
        ("ws://127.0.0.1:8080/socket", True),
        ("https://slack.com/", False),
        ("wss://", False),
        ("wss://[bad", False),
        ("wss://a.test:port/", False),
        ("soon", False),
    ],
)
def test_only_websocket_addresses_are_accepted_for_socket_mode(url: str, usable: bool) -> None:
    assert is_socket_url(url) is usable
