"""Discord's payloads, as its gateway sends them, become `Incoming` values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest

from adapters.discord.adapter import intents
from adapters.discord.events import (
    Kind,
    Me,
    address_of,
    incoming,
    is_spoken,
    me_in,
    place_of,
    said,
)
from adapters.discord.state import State
from adapters.discord.text import Names, for_model, title
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


class Parsed(discord.Client):
    """discord.py's own parser, without a connection."""

    def __init__(self) -> None:
        super().__init__(intents=intents(), member_cache_flags=discord.MemberCacheFlags.none())
        self.last: discord.Message | None = None

    def _get_state(self, **options: Any) -> State:
        return State(
            dispatch=self.dispatch,
            handlers=self._handlers,
            hooks=self._hooks,
            http=self.http,
            **options,
        )

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Keep the last message."""
        if event == "message":
            self.last = args[0]

    def feed(self, name: str, data: dict[str, Any]) -> None:
        """One event of the gateway."""
        self._connection.parsers[name](data)

    def message(self, **fields: Any) -> discord.Message:
        """The message that a payload with these fields becomes."""
        self.feed("MESSAGE_CREATE", message(**fields))
        assert self.last is not None
        return self.last


@pytest.fixture
async def client() -> AsyncIterator[Parsed]:
    client = Parsed()
    client.feed("READY", READY)
    client.feed("GUILD_CREATE", guild_create())
    yield client
    await client.close()
    client._connection._ready_task.cancel()  # type: ignore[union-attr]


def taken(client: Parsed, **fields: Any) -> Incoming | None:
    """What becomes of a message; None when it is none of our business."""
    got = client.message(**fields)
    place = place_of(got.channel)
    if place is None or not is_spoken(got):
        return None
    me = me_in(got, BOT)
    address = address_of(got, place, me)
    return incoming(got, place, me, address) if address is not None else None


def mention(user: int = BOT) -> dict[str, Any]:
    return {"id": str(user), "username": "someone", "discriminator": "0", "avatar": None}


def asked(client: Parsed, content: str = "hi", **fields: Any) -> Incoming:
    found = taken(client, content=f"<@{BOT}> {content}", mentions=[mention()], **fields)
    assert found is not None
    return found


# ── places ────────────────────────────────────────────────────────────────────────────────────
async def test_a_private_thread_is_private(client: Parsed) -> None:
    got = asked(client, channel_id=str(PRIVATE_THREAD))
    assert (got.visibility, got.key.channel) == (Visibility.PRIVATE, str(CHANNEL))
    assert asked(client, channel_id=str(THREAD)).visibility is Visibility.PUBLIC


async def test_a_media_post_has_a_title_too(client: Parsed) -> None:
    got = client.message(channel_id=str(MEDIA), id=str(MEDIA), content="look")
    place = place_of(got.channel)
    assert place is not None and (place.kind, place.channel) == (Kind.THREAD, str(FORUM))
    assert said(got, place, Me(BOT)) == "# Our pictures\n\nlook"


async def test_an_unknown_channel_is_no_place_yet(client: Parsed) -> None:
    got = client.message(channel_id="999", content="hi")
    assert isinstance(got.channel, discord.PartialMessageable)
    assert place_of(got.channel) is None


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
async def test_what_no_person_said_is_nothing(client: Parsed, fields: dict[str, Any]) -> None:
    assert taken(client, content="<@1>", mentions=[mention()], **fields) is None


async def test_a_role_mention_counts_only_for_our_managed_role(client: Parsed) -> None:
    ours = taken(client, content=f"<@&{BOT_ROLE}> hi", mention_roles=[str(BOT_ROLE)])
    other = taken(client, content="<@&55> hi", mention_roles=["55"])
    assert ours is not None and ours.address is Address.MENTION
    assert other is None


async def test_everyone_is_never_the_bot(client: Parsed) -> None:
    assert taken(client, content="@everyone", mention_everyone=True) is None


async def test_a_reply_without_a_ping_counts_when_the_message_is_ours(client: Parsed) -> None:
    for author, expected in ((BOT, Address.MENTION), (BOB, None)):
        answered = message(id="10", author=mention(author), content="earlier")
        got = taken(
            client,
            type=19,
            message_reference={"message_id": "10", "channel_id": str(CHANNEL)},
            referenced_message=answered,
        )
        assert (got.address if got else None) is expected


async def test_naming_oneself_in_a_thread_is_no_aside(client: Parsed) -> None:
    author = mention(BOB)
    fields = {"channel_id": str(THREAD), "author": author, "mentions": [author]}
    got = taken(client, content=f"<@{BOB}> thinks", **fields)
    assert got is not None and got.address is Address.FOLLOW_UP


# ── what was said ─────────────────────────────────────────────────────────────────────────────
async def test_a_forwarded_message_is_quoted(client: Parsed) -> None:
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
    assert got.unusable == ("file",)


async def test_of_a_forwarded_card_the_text_is_quoted(client: Parsed) -> None:
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


async def test_the_preview_of_a_link_repeats_no_address(client: Parsed) -> None:
    embeds = [{"type": "link", "url": "https://e.org", "title": "Preview"}]
    got = asked(client, "https://e.org", embeds=embeds)
    assert got.text == "https://e.org\n\nEmbed:\n> Preview"


async def test_a_poll_is_told(client: Parsed) -> None:
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


async def test_attached_things_are_named(client: Parsed) -> None:
    def file(name: str, kind: str | None, **more: Any) -> dict[str, Any]:
        about = {"id": "1", "filename": name, "size": 3, "url": "", "proxy_url": ""}
        return {**about, "content_type": kind, **more}

    got = asked(
        client,
        attachments=[
            file("a.png", "image/png"),
            file("a.mp4", "video/mp4"),
            file("a.mp3", "audio/mpeg"),
            file("v.ogg", "audio/ogg", duration_secs=2.5, waveform="AAAA"),
            file("a.bin", None),
        ],
        sticker_items=[{"id": "9", "name": "wave", "format_type": 1}],
    )
    kinds = ("image", "video", "audio file", "voice message", "file", "sticker")
    assert got.unusable == kinds


async def test_the_name_is_the_one_people_see(client: Parsed) -> None:
    member = {"nick": "Captain", "roles": [], "joined_at": None, "deaf": False, "mute": False}
    got = asked(client, member={**member, "flags": 0})
    assert got.author.name == "Captain"


async def test_a_messages_place_in_time_is_its_snowflakes(client: Parsed) -> None:
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
def test_text_for_the_model_has_names(content: str, text: str) -> None:
    assert for_model(content, NAMES) == text


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
def test_a_thread_is_named_in_one_plain_line(text: str, name: str) -> None:
    assert title(text) == name
    assert len(name) <= 100
