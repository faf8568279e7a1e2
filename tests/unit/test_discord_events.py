"""Discord's payloads, as its gateway sends them, become `Incoming` values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest

from adapters.discord.channels import ChannelKind, channel_context
from adapters.discord.events import (
    BotIdentity,
    address_of,
    bot_identity,
    is_from_person,
    message_text,
    to_incoming,
)
from adapters.discord.text import Names, thread_title, to_model_text
from bot.domain.conversations import Visibility
from bot.domain.inbox import Address, Incoming
from tests.fixtures.discord_payloads import (
    BOB,
    BOT,
    BOT_ROLE,
    CHANNEL,
    FORUM,
    GUILD,
    MEDIA,
    PRIVATE_THREAD,
    READY,
    THREAD,
    guild_create,
    message,
)
from tests.support.discord_offline import OfflineClient


@pytest.fixture
async def client() -> AsyncIterator[OfflineClient]:
    client = OfflineClient()
    client.begin(READY, guild_create())
    yield client
    await client.close()


def parse(client: OfflineClient, **fields: Any) -> discord.Message:
    """The message from a payload with these fields."""
    [(_, (found, *_))] = client.feed("MESSAGE_CREATE", message(**fields))
    assert isinstance(found, discord.Message)
    return found


def translate(client: OfflineClient, **fields: Any) -> Incoming | None:
    """The translated message; None if it does not concern the bot."""
    got = parse(client, **fields)
    context = channel_context(got.channel)
    if context is None or not is_from_person(got):
        return None
    me = bot_identity(got, BOT)
    address = address_of(got, context, me)
    return to_incoming(got, context, me, address) if address is not None else None


def mention(user: int = BOT) -> dict[str, Any]:
    return {"id": str(user), "username": "someone", "discriminator": "0", "avatar": None}


def asked(client: OfflineClient, content: str = "hi", **fields: Any) -> Incoming:
    found = translate(client, content=f"<@{BOT}> {content}", mentions=[mention()], **fields)
    assert found is not None
    return found


# ── places ────────────────────────────────────────────────────────────────────────────────────
async def test_a_private_thread_is_private(client: OfflineClient) -> None:
    got = asked(client, channel_id=str(PRIVATE_THREAD))
    assert (got.visibility, got.key.channel) == (Visibility.PRIVATE, str(CHANNEL))
    assert asked(client, channel_id=str(THREAD)).visibility is Visibility.PUBLIC


async def test_a_media_post_has_a_title(client: OfflineClient) -> None:
    got = parse(client, channel_id=str(MEDIA), id=str(MEDIA), content="look")
    context = channel_context(got.channel)
    assert context is not None and (context.kind, context.channel) == (
        ChannelKind.THREAD,
        str(FORUM),
    )
    assert message_text(got, context, BotIdentity(BOT)) == "# Our pictures\n\nlook"


async def test_an_unknown_channel_has_no_context_yet(client: OfflineClient) -> None:
    got = parse(client, channel_id="999", content="hi")
    assert isinstance(got.channel, discord.PartialMessageable)
    assert channel_context(got.channel) is None


# ── who is addressed ──────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "fields",
    [
        {"type": 7},
        {"type": 18},
        {"type": 21},
        {"type": 6},
        {"type": 20},
        {"webhook_id": "5"},
        {"author": {**mention(77), "bot": True}},
    ],
)
async def test_messages_not_from_people_are_ignored(
    client: OfflineClient, fields: dict[str, Any]
) -> None:
    assert translate(client, content="<@1>", mentions=[mention()], **fields) is None


async def test_of_roles_only_the_managed_one_mentions_the_bot(client: OfflineClient) -> None:
    ours = translate(client, content=f"<@&{BOT_ROLE}> hi", mention_roles=[str(BOT_ROLE)])
    other = translate(client, content="<@&55> hi", mention_roles=["55"])
    assert ours is not None and ours.address is Address.MENTION
    assert other is None


async def test_everyone_does_not_mention_the_bot(client: OfflineClient) -> None:
    assert translate(client, content="@everyone", mention_everyone=True) is None


async def test_a_reply_to_the_bot_counts_without_a_ping(
    client: OfflineClient,
) -> None:
    for author, expected in ((BOT, Address.MENTION), (BOB, None)):
        answered = message(id="10", author=mention(author), content="earlier")
        got = translate(
            client,
            type=19,
            message_reference={"message_id": "10", "channel_id": str(CHANNEL)},
            referenced_message=answered,
        )
        assert (got.address if got else None) is expected


async def test_mentioning_oneself_in_a_thread_is_not_an_aside(client: OfflineClient) -> None:
    author = mention(BOB)
    fields = {"channel_id": str(THREAD), "author": author, "mentions": [author]}
    got = translate(client, content=f"<@{BOB}> thinks", **fields)
    assert got is not None and got.address is Address.FOLLOW_UP


# ── what was said ─────────────────────────────────────────────────────────────────────────────
async def test_a_forwarded_message_is_quoted(client: OfflineClient) -> None:
    snapshot = {
        "type": 0,
        "content": f"see <@{BOB}>",
        "embeds": [],
        "attachments": [{"id": "1", "filename": "a.png", "size": 3, "url": "", "proxy_url": ""}],
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
    }
    got = asked(
        client,
        "what is this?",
        message_reference={"type": 1, "message_id": "3", "channel_id": "4"},
        message_snapshots=[{"message": snapshot}],
    )
    assert got.text == (
        "what is this?\n\nForwarded message:\n> see @unknown-user\n>\n> Attachment:\n> > a.png"
    )
    assert [file.name for file in got.attachments] == ["a.png"]


async def test_the_text_of_a_forwarded_embed_is_quoted(client: OfflineClient) -> None:
    snapshot = {
        "type": 0,
        "content": "",
        "embeds": [{"type": "rich", "title": "Build 7", "description": "failed"}],
        "attachments": [],
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
    }
    got = asked(client, "why?", message_snapshots=[{"message": snapshot}])
    assert got.text == "why?\n\nForwarded message:\n> Embed:\n> > Build 7\n> >\n> > failed"


async def test_the_preview_of_a_link_does_not_repeat_its_url(client: OfflineClient) -> None:
    embeds = [{"type": "link", "url": "https://e.org", "title": "Preview"}]
    got = asked(client, "https://e.org", embeds=embeds)
    assert got.text == "https://e.org\n\nEmbed:\n> Preview"


async def test_a_poll_becomes_text(client: OfflineClient) -> None:
    poll = {
        "question": {"text": "Lunch?"},
        "answers": [
            {"answer_id": 1, "poll_media": {"text": "Yes"}},
            {"answer_id": 2, "poll_media": {"text": "No"}},
        ],
        "expiry": "2026-12-01T00:00:00+00:00",
        "allow_multiselect": False,
        "layout_type": 1,
    }
    assert asked(client, "count", poll=poll).text == "count\n\nPoll:\n> Lunch?\n> - Yes\n> - No"


async def test_the_author_has_their_display_name(client: OfflineClient) -> None:
    member = {"nick": "Captain", "roles": [], "joined_at": None, "deaf": False, "mute": False}
    got = asked(client, member={**member, "flags": 0})
    assert got.author.name == "Captain"


async def test_a_message_has_the_position_and_time_of_its_snowflake(client: OfflineClient) -> None:
    got = asked(client, id="1500000000000000000")
    assert got.position == 1_500_000_000_000_000_000
    assert got.sent_at == pytest.approx(1_777_698_268.652)
    assert got.source == f"discord/{GUILD}/{CHANNEL}/1500000000000000000"


# ── text ──────────────────────────────────────────────────────────────────────────────────────
NAMES = Names(
    users={1: "Ann", 2: "Ben"},
    roles={3: "team"},
    channels={4: "general"},
    own=frozenset({7, 8}),
)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<@7> hello", "hello"),
        ("<@!7>, hello", "hello"),
        ("<@&8>: hello", "hello"),
        ("<@7>\n<@7> hello", "hello"),
        ("hello <@7>", "hello"),
        ("hello, <@7>!", "hello!"),
        ("is <@7> here", "is here"),
        ("<@7>", ""),
        ("<@1> and <@!2> of <@&3> in <#4>", "@Ann and @Ben of @team in #general"),
        ("<@9> <@&9> <#9>", "@unknown-user @unknown-role #unknown-channel"),
        ("<:wave:123> <a:party:5>", ":wave: :party:"),
        ("at <t:0:R> or <t:1700000000>", "at 1970-01-01 00:00 UTC or 2023-11-14 22:13 UTC"),
        ("<t:99999999999999999999>", "<t:99999999999999999999>"),
        ("use </reset:12>", "use /reset"),
        ("`<@1>` and ```\n<@7>\n```", "`<@1>` and ```\n<@7>\n```"),
        ("- <@7> a\n- b", "- a\n- b"),
    ],
)
def test_ids_become_names_for_the_model(content: str, text: str) -> None:
    assert to_model_text(content, NAMES) == text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("What is **this**?", "What is this?"),
        ("\n> quoted\n# Heading", "quoted"),
        ("```py\nprint()\n```", "print()"),
        ("see [the docs](https://e.org) now", "see the docs now"),
        ("keep snake_case but _not this_", "keep snake_case but not this"),
        ("1. first", "first"),
        ("***", ""),
        ("", ""),
        ("word " * 30, ("word " * 19).strip() + "…"),
        ("x" * 200, "x" * 99 + "…"),
    ],
)
def test_a_threads_name_is_one_plain_line(text: str, name: str) -> None:
    assert thread_title(text) == name
    assert len(name) <= 100
