"""Which guilds may use the bot, and which conversations people are offered, with the real
client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.domain import texts
from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Choice
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.support.discord_kit import adapter_for, running, wait_received
from tests.support.fake_inbox import FakeInbox


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    async with LocalDiscord() as sim:
        yield sim


def key(thread: int) -> ConversationKey:
    return ConversationKey("discord", str(c.GUILD), str(c.CHANNEL), str(thread))


async def wait_registered(sim: LocalDiscord) -> None:
    async def there() -> bool:
        return bool((await sim.state())["commands"].get("0"))

    await sim.until(there)


async def response_to(sim: LocalDiscord, interaction: int) -> dict[str, Any]:
    """The response to an interaction, once it arrives."""

    async def answer() -> Any:
        message = (await sim.interaction(interaction))["message"]
        shown = await sim.message(message) if message is not None else None
        return shown if shown is not None and shown["content"] else None

    found = await sim.until(answer)
    assert isinstance(found, dict)
    return found


def labels(message: dict[str, Any]) -> list[str]:
    return [item["label"] for row in message["components"] for item in row["components"]]


def ids(message: dict[str, Any]) -> list[str]:
    return [item["custom_id"] for row in message["components"] for item in row["components"]]


# ── conversations ─────────────────────────────────────────────────────────────────────────────
async def test_reset_offers_only_conversations_that_the_person_can_still_read(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """Deleted threads, and private threads that the person left, are omitted, because titles are
    private."""
    public = await sim.start_thread(c.ALICE, await sim.say(content="x"), "public")
    inside = await sim.private_thread(c.BOB, "inside", c.ALICE)
    outside = await sim.private_thread(c.BOB, "outside", c.ALICE)
    chain = await sim.say(content="a chain of replies begins here")
    titles = {public: "public", inside: "inside", outside: "outside", chain: "chain", 4: "deleted"}
    inbox.choices = [Choice(title, "reset", key(id_)) for id_, title in titles.items()]
    async with running(sim, inbox):
        await wait_registered(sim)
        await sim.leave_thread(c.ALICE, outside)
        answer = await response_to(sim, await sim.slash(c.ALICE, c.CHANNEL, "reset"))
        assert labels(answer) == ["public", "inside", "chain"]


async def test_a_choice_is_checked_again_when_pressed(sim: LocalDiscord, inbox: FakeInbox) -> None:
    """The person may have lost access since the button was shown."""
    thread = await sim.private_thread(c.BOB, "secret", c.ALICE)
    inbox.choices = [Choice("secret", "reset", key(thread))]
    async with running(sim, inbox):
        await wait_registered(sim)
        interaction = await sim.slash(c.ALICE, c.CHANNEL, "reset")
        answer = await response_to(sim, interaction)
        await sim.leave_thread(c.ALICE, thread)
        message = (await sim.interaction(interaction))["message"]
        click = await sim.click(c.ALICE, message, ids(answer)[0])
        assert (await response_to(sim, click))["content"] == texts.NO_ACCESS
        assert inbox.commands == []


async def test_a_conversation_is_not_offered_if_access_is_unknown(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """Titles stay hidden while Discord fails."""
    thread = await sim.private_thread(c.BOB, "secret", c.ALICE)
    inbox.choices = [Choice("secret", "reset", key(thread))]
    async with running(sim, inbox):
        await wait_registered(sim)
        await sim.call("fault", match="/thread-members/", status=500, times=99)
        answer = await response_to(sim, await sim.slash(c.ALICE, c.CHANNEL, "reset"))
        assert (answer["content"], answer["components"]) == (texts.NO_RECENT, [])


# ── servers ───────────────────────────────────────────────────────────────────────────────────
async def test_unlisted_guilds_are_ignored(sim: LocalDiscord, inbox: FakeInbox) -> None:
    """Their messages have no effect, and their commands get an explanation."""
    other = await sim.add_guild("strangers")
    async with running(sim, inbox, guilds=frozenset({str(c.GUILD)})):
        await wait_registered(sim)
        ignored = await sim.mention("spend money", channel=other["channel"])
        message = await sim.mention("hello")
        await wait_received(inbox, message)
        answer = await response_to(sim, await sim.slash(c.ALICE, other["channel"], "help"))
        assert answer["content"] == texts.NOT_SERVED
        assert str(ignored) not in {m.message_id for m in inbox.received}
        assert inbox.commands == []


async def test_direct_messages_need_membership_of_a_listed_guild(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """Members are answered; a stranger's message is ignored."""
    async with running(sim, inbox, guilds=frozenset({str(c.GUILD)})):
        sent = await sim.dm(c.ALICE, "hello")
        await wait_received(inbox, sent["message"])
    async with running(sim, inbox, guilds=frozenset({"1"})):
        await sim.dm(c.ALICE, "hello from a stranger")
        await sim.wait_idle()
    assert [m.text for m in inbox.received] == ["hello"]


async def test_an_odd_refusal_of_a_membership_costs_one_message(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """Only Discord's own "no such member" is remembered."""
    refusal = {"status": 404, "body": {"message": "404: Not Found", "code": 0}}
    await sim.call("fault", match="GET /api/v10/guilds", **refusal)
    async with running(sim, inbox, guilds=frozenset({str(c.GUILD)})):
        lost = (await sim.dm(c.ALICE, "in private"))["message"]

        async def is_refused() -> bool:
            return bool(await sim.requests("/members/"))

        await sim.until(is_refused)
        await sim.wait_idle()
        await wait_received(inbox, (await sim.dm(c.ALICE, "and again"))["message"])
    assert all(message.message_id != str(lost) for message in inbox.received)


def test_every_guild_is_allowed_by_default() -> None:
    adapter = adapter_for(LocalDiscord())
    assert adapter._guilds.allows(123)
