"""Links to messages: read with the asker's access rights, and never otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.discord.adapter import DiscordAdapter
from bot.domain.attachments import IncomingAttachment, Omission
from bot.domain.errors import AttachmentError
from bot.domain.inbox import Incoming
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.support.discord_kit import running, wait_received
from tests.support.fake_inbox import FakeInbox

API = "/api/v10"


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    async with LocalDiscord() as sim:
        await sim.set_limits(on=False)
        yield sim


@pytest.fixture
async def adapter(sim: LocalDiscord, inbox: FakeInbox) -> AsyncIterator[DiscordAdapter]:
    async with running(sim, inbox) as adapter:
        yield adapter


def url(channel: int, message: int, guild: int | str = c.GUILD, host: str = "discord.com") -> str:
    return f"https://{host}/channels/{guild}/{channel}/{message}"


async def ask(
    sim: LocalDiscord, inbox: FakeInbox, *links: str, user: int = c.ALICE
) -> tuple[Incoming, list[IncomingAttachment]]:
    got = await wait_received(inbox, await sim.mention(f"see {' and '.join(links)}", user=user))
    return got, list(got.attachments)


async def read(adapter: DiscordAdapter, incoming: Incoming) -> str:
    [attachment] = incoming.attachments
    return (await adapter.download(incoming.key, attachment.locator, limit=100_000)).data.decode()


async def fail_to_read(adapter: DiscordAdapter, incoming: Incoming) -> tuple[Omission, bool]:
    with pytest.raises(AttachmentError) as caught:
        await read(adapter, incoming)
    return caught.value.omission, caught.value.retry_after is not None


NO_ACCESS = (Omission.NO_ACCESS, False)


@pytest.mark.parametrize("host", ["discord.com", "ptb.discord.com", "discordapp.com"])
async def test_a_linked_message_is_quoted_with_its_author(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter, host: str
) -> None:
    file = {"filename": "a.png", "content_type": "image/png", "size": 5}
    said = await sim.say(c.BOB, c.CHANNEL_2, f"<@{c.CAROL}> broke it", attachments=[file])
    got, [link] = await ask(sim, inbox, url(c.CHANNEL_2, said, host=host))
    assert (link.name, link.is_link, got.text) == (
        "linked message",
        False,
        f"see {url(c.CHANNEL_2, said, host=host)}",
    )
    quote = "Linked message by Bob:\n> @Carol broke it\n>\n> Attachment:\n> > a.png"
    assert await read(adapter, got) == quote


async def test_only_a_few_links_of_a_question_to_this_guild_count(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """In a direct message, links to any guild count."""
    away, private = url(1, 2, guild=3), url(1, 2, guild="@me")
    links = [url(c.CHANNEL, 10 + n) for n in range(5)]
    _, found = await ask(sim, inbox, away, private, links[0], *links)
    assert [link.locator["message"] for link in found] == ["10", "11", "12"]
    sent = await sim.dm(c.ALICE, f"see {away} {private}")
    got = await wait_received(inbox, sent["message"])
    assert [link.locator["guild"] for link in got.attachments] == ["3"]
    assert await fail_to_read(adapter, got) == NO_ACCESS
    thread = await sim.start_thread(c.BOB, await sim.say(c.BOB, content="x"), "talk")
    aside = await sim.say(c.ALICE, thread, f"<@{c.BOB}> see {links[0]}")
    assert (await wait_received(inbox, aside)).attachments == ()


async def test_a_backlog_has_no_links(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    root = await sim.say(c.BOB, content=f"see {url(c.CHANNEL, 10)}")
    thread = await sim.start_thread(c.BOB, root, "talk")
    question = await wait_received(inbox, await sim.mention("why?", channel=thread))
    assert [m.attachments for m in await adapter.backlog(question)] == [()]


# ── the asker's rights ────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("denied", ["view_channel", "read_message_history"])
async def test_a_channel_that_the_asker_cannot_read_is_not_read(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter, denied: str
) -> None:
    """The bot and another person can read it. Access is checked at the download."""
    said = await sim.say(c.CAROL, c.CHANNEL_2, "secret")
    got, _ = await ask(sim, inbox, url(c.CHANNEL_2, said))
    other, _ = await ask(sim, inbox, url(c.CHANNEL_2, said), user=c.BOB)
    await sim.set_permissions(c.CHANNEL_2, deny=(denied,), target=c.ALICE)
    await sim.wait_idle(0.05)
    assert await fail_to_read(adapter, got) == NO_ACCESS
    assert not await sim.requests(f"GET {API}/channels/{c.CHANNEL_2}/messages/{said}")
    assert "secret" in await read(adapter, other)


async def test_a_role_decides_too(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Bob has the role, and Alice does not."""
    said = await sim.say(c.CAROL, c.CHANNEL_2, "secret")
    await sim.set_permissions(c.CHANNEL_2, deny=("view_channel",), target=c.GUILD)
    both = ("view_channel", "read_message_history")
    await sim.set_permissions(c.CHANNEL_2, allow=both, target=c.TEAM_ROLE)
    got, _ = await ask(sim, inbox, url(c.CHANNEL_2, said))
    other, _ = await ask(sim, inbox, url(c.CHANNEL_2, said), user=c.BOB)
    assert await fail_to_read(adapter, got) == NO_ACCESS
    await sim.set_permissions(c.CHANNEL_2, allow=both, target=c.BOT)
    await sim.wait_idle(0.05)
    assert "secret" in await read(adapter, other)


async def test_a_private_threads_messages_are_for_its_members(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """This holds for archived threads too, which are not cached."""
    thread = await sim.private_thread(c.BOB, "secret talk", c.BOB)
    said = await sim.say(c.BOB, thread, "secret")
    got, _ = await ask(sim, inbox, url(thread, said))
    member, _ = await ask(sim, inbox, url(thread, said), user=c.BOB)
    for _ in range(2):
        assert await fail_to_read(adapter, got) == NO_ACCESS
        assert "secret" in await read(adapter, member)
        await sim.archive(thread)
        await sim.wait_idle(0.05)


async def test_a_public_threads_messages_are_for_all_who_see_its_channel(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    root = await sim.say(c.BOB, c.CHANNEL_2, "x")
    thread = await sim.start_thread(c.BOB, root, "talk")
    said = await sim.say(c.BOB, thread, "known")
    got, _ = await ask(sim, inbox, url(thread, said))
    assert "known" in await read(adapter, got)
    await sim.archive(thread)
    await sim.wait_idle(0.05)
    assert "known" in await read(adapter, got)
    await sim.set_permissions(c.CHANNEL_2, deny=("view_channel",), target=c.ALICE)
    await sim.wait_idle(0.05)
    assert await fail_to_read(adapter, got) == NO_ACCESS


async def test_a_private_question_reads_only_guilds_of_its_author(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    other = await sim.add_guild("Other")
    person = await sim.add_person("newcomer")
    said = await sim.say(c.ALICE, other["channel"], "of the other guild")
    link = url(other["channel"], said, guild=other["guild"])
    for user, allowed in ((c.ALICE, True), (person, False)):
        got = await wait_received(inbox, (await sim.dm(user, link))["message"])
        if allowed:
            assert "of the other guild" in await read(adapter, got)
        else:
            assert await fail_to_read(adapter, got) == NO_ACCESS


REFUSED = {"status": 403, "body": {"message": "Missing Access", "code": 50001}}


@pytest.mark.parametrize(
    "change",
    [
        {"remove": ["roles"]},
        {"put": {"roles": None}},
        {"put": {"roles": ["7"]}},
        {"put": {"roles": ["x"]}},
        {"put": {"user.id": str(c.CAROL)}},
        {"remove": ["user"]},
        {"status": 200, "body": []},
        REFUSED,
    ],
)
async def test_an_uncertain_membership_reads_nothing(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter, change: dict[str, object]
) -> None:
    """A malformed response may be followed by a better one; an unknown role, or a refusal, is
    final."""
    got, _ = await ask(sim, inbox, url(c.CHANNEL, await sim.say(content="known")))
    await sim.call("fault", match=f"GET {API}/guilds", **change)
    settled = change in (
        {"put": {"roles": ["7"]}},
        {"put": {"user.id": str(c.CAROL)}},
        REFUSED,
    )
    expected = NO_ACCESS if settled else (Omission.UNREACHABLE, True)
    assert await fail_to_read(adapter, got) == expected
    assert "known" in await read(adapter, got)


# ── troubles ──────────────────────────────────────────────────────────────────────────────────
async def test_a_missing_or_empty_message_is_said_to_be_so(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    said = await sim.say(content="known")
    got, _ = await ask(sim, inbox, url(c.CHANNEL, said))
    elsewhere, _ = await ask(sim, inbox, url(c.CHANNEL_2, said))
    unknown, _ = await ask(sim, inbox, url(12345, said))
    assert await fail_to_read(adapter, elsewhere) == (Omission.GONE, False)
    assert await fail_to_read(adapter, unknown) == (Omission.GONE, False)
    await sim.delete(said)
    assert await fail_to_read(adapter, got) == (Omission.GONE, False)


@pytest.mark.parametrize("path", [r"/guilds/\d+/members/\d+", r"/channels/\d+/messages/\d+"])
async def test_a_failing_request_is_tried_later(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter, path: str
) -> None:
    got, _ = await ask(sim, inbox, url(c.CHANNEL, await sim.say(content="known")))
    await sim.call("fault", pattern=f"GET {API}{path}", status=500)
    assert await fail_to_read(adapter, got) == (Omission.UNREACHABLE, True)
    await sim.throttle(f"GET {path}", 300)
    assert await fail_to_read(adapter, got) == (Omission.UNREACHABLE, True)
