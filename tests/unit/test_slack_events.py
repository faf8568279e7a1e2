"""Slack's event payloads are converted for the core; the fixtures are recorded and anonymised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.slack import events, text
from adapters.slack.events import Identity
from bot.domain.conversations import ConversationKey, Visibility
from bot.domain.inbox import Address, Incoming
from tests.support.slack_kit import read_event

FIXTURES = Path(__file__).parents[1] / "fixtures" / "slack"
MESSAGES: dict[str, Any] = json.loads((FIXTURES / "messages.json").read_text())
NO_MESSAGES: dict[str, Any] = json.loads((FIXTURES / "no_messages.json").read_text())

ME = Identity("T0HOME0001", "U0BOT00001", "B0BOT00001")
NAMES = {"U0ALICE001": "Alice Ash", "U0BOB00001": "Bob"}
ROOT = "1763630000.123459"


def read(name: str, kind: str = "") -> Incoming | None:
    return read_event(MESSAGES[name], ME, NAMES, kind)


def must_read(name: str, kind: str = "") -> Incoming:
    incoming = read(name, kind)
    assert incoming is not None
    return incoming


def test_a_mention_is_converted_for_the_model() -> None:
    """The text has names instead of ids, Markdown links and decoded entities, but not the
    mention."""
    incoming = must_read("message_mention")
    assert incoming.text == (
        "what does `a < b && c` mean? See [the docs](https://example.com/a?b=1&c=2) and "
        "example.org, ask @Bob in #random"
    )
    assert incoming.author.name == "Alice Ash"
    assert incoming.key == ConversationKey("slack", "T0HOME0001", "C0GENERAL1", ROOT)
    assert incoming.address is Address.MENTION
    assert not incoming.in_old_thread
    assert incoming.position == 1_763_630_000_123_459
    assert incoming.sent_at == pytest.approx(1_763_630_000.123459)
    assert incoming.visibility is Visibility.PUBLIC
    assert incoming.source == f"slack/T0HOME0001/C0GENERAL1/{ROOT}"


def test_app_mention_and_message_yield_the_same_value() -> None:
    """They may arrive in either order; only app_mention lacks the channel's kind."""
    assert must_read("app_mention", "channel") == must_read("message_mention")
    assert must_read("app_mention").visibility is Visibility.PRIVATE
    assert must_read("app_mention_after_edit").source == must_read("message_mention").source


@pytest.mark.parametrize(
    ("name", "address", "thread"),
    [
        ("thread_reply", Address.FOLLOW_UP, ROOT),
        ("thread_reply_to_others", Address.ASIDE, ROOT),
        ("thread_reply_to_everybody", Address.ASIDE, ROOT),
        ("thread_broadcast", Address.FOLLOW_UP, ROOT),
        ("direct_message", Address.DIRECT, ROOT),
        ("agent_pane", Address.DIRECT, "1763629999.000100"),
        ("group_direct_message", Address.MENTION, ROOT),
        ("private_channel", Address.MENTION, ROOT),
        ("me_message", Address.MENTION, ROOT),
        ("slack_connect", Address.MENTION, ROOT),
    ],
)
def test_how_a_message_addresses_the_bot(name: str, address: Address, thread: str) -> None:
    incoming = must_read(name)
    assert (incoming.address, incoming.key.thread) == (address, thread)
    assert incoming.route["thread_ts"] == thread
    public = name in ("thread_broadcast", "me_message", "slack_connect") or "reply" in name
    assert (incoming.visibility is Visibility.PUBLIC) == public


def test_channel_messages_without_a_mention_are_ignored() -> None:
    assert read("channel_talk") is None


@pytest.mark.parametrize("name", sorted(NO_MESSAGES))
def test_events_that_no_person_wrote_are_ignored(name: str) -> None:
    assert read_event(NO_MESSAGES[name], ME, NAMES) is None


def test_a_mention_inside_a_thread_is_in_an_old_thread() -> None:
    body = MESSAGES["thread_reply"]
    event = body["event"] | {"text": "<@U0BOT00001> help"}
    incoming = read_event(body | {"event": event}, ME, NAMES)
    assert incoming is not None
    assert incoming.in_old_thread


def test_the_key_has_the_workspace_of_the_installation() -> None:
    """In Slack Connect, `team_id` and `event.team` are the author's; a stream needs the latter."""
    incoming = must_read("slack_connect")
    assert incoming.key.workspace == "T0HOME0001"
    assert incoming.route["team"] == "T0GUEST001"


def test_files_are_attachments() -> None:
    found = must_read("file_share").attachments
    assert [(one.name, one.identity, one.is_voice) for one in found] == [
        ("a.png", "F1", False),
        ("audio_message.m4a", "F2", True),
        ("data.csv", "F3", False),
    ]


def test_blocks_are_read_only_without_text() -> None:
    assert must_read("no_text").text == "a < b, says @Bob at [home](https://example.com/):wave:"
    assert "…" not in must_read("message_mention").text


def test_the_author_and_mentioned_people_need_names() -> None:
    event = MESSAGES["message_mention"]["event"]
    assert events.ids_in(event, ME) == ("U0ALICE001", "U0BOB00001")


@pytest.mark.parametrize(
    ("stored", "plain"),
    [
        ("<@U0BOT00001>", ""),
        ("<@U0BOT00001>: hello", "hello"),
        ("<@U0BOT00001|threadline>, hello", "hello"),
        ("hey <@U0BOT00001> there", "hey there"),
        ("thanks <@U0BOT00001>", "thanks"),
        ("<@U0NOBODY01> hi", "@unknown-user hi"),
        ("<@U0NOBODY01|nick> hi", "@nick hi"),
        ("<!here> <!subteam^S1|@team> <!subteam^S2>", "@here @team @group"),
        ("<!date^1392734382^{date}|Feb 18>", "Feb 18"),
        ("<mailto:a@example.com|a@example.com>", "a@example.com"),
        ("<tel:+491234|+491234>", "+491234"),
        ("<https://example.com>", "https://example.com"),
        ("<https://example.com|https://example.com>", "https://example.com"),
        ("<#C1>", "#unknown-channel"),
        ("<#C1|> <#C1|general>", "#unknown-channel #general"),
        ("<!date^1392734382^{date}>", "2014-02-18 14:39 UTC"),
        ("<!date^soon^{date}>", "soon"),
        ("<!channel|channel> <!everyone>", "@channel @everyone"),
        ("<HTTP://example.com|x>", "[x](HTTP://example.com)"),
        ("&amp;lt; &lt;@U1&gt;", "&lt; <@U1>"),
        ("a < b > c", "a < b > c"),
    ],
)
def test_stored_text_becomes_plain_text(stored: str, plain: str) -> None:
    assert text.for_model(stored, {}, ME.user) == plain


@given(st.text())
def test_typed_text_survives_slacks_escaping(typed: str) -> None:
    """Slack escapes three characters; each is decoded exactly once."""
    stored = typed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert text.for_model(stored, {}, ME.user) == typed.strip()


@given(st.text(alphabet="<>@#!|&;amplt U0\n", max_size=60))
def test_no_text_raises(stored: str) -> None:
    assert isinstance(text.for_model(stored, NAMES, ME.user), str)
    assert isinstance(text.mentions_others(stored, ME.user), bool)


@given(st.integers(0, 4_000_000_000), st.integers(0, 999_999))
def test_a_position_is_exact_in_microseconds(seconds: int, micros: int) -> None:
    assert events.position(f"{seconds}.{micros:06d}") == seconds * 1_000_000 + micros
