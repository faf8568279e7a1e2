"""The file in a command's reply is for the person alone, with each platform's real client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.domain import privacy_texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import NoFile
from bot.domain.inbox import Address, CommandReply, Incoming, PrivateFile
from tests.sims.discord import constants as d
from tests.sims.discord.client import DiscordSim
from tests.sims.slack import ids as s
from tests.sims.slack.client import SlackSim
from tests.support import discord_kit, slack_kit
from tests.support.fake_inbox import FakeInbox

NAME, DATA = "threadline-export.zip", bytes(range(256)) * 40
EPHEMERAL = 1 << 6
THROTTLED = {"status": 429, "headers": {"Retry-After": "0.2"}, "body": {"retry_after": 0.2}}
FAULTS: dict[str, dict[str, Any]] = {
    "503": {"status": 503, "times": 100},
    "no answer": {"delay": 60.0},
    "dropped after": {"drop": True, "after": True},
}


class Export:
    """A file that counts how often it was made and lost."""

    def __init__(self, sentence: str = "") -> None:
        self.sentence, self.limits, self.lost = sentence, list[int](), 0

    async def build(self, most: int) -> bytes:
        self.limits.append(most)
        if self.sentence:
            raise NoFile(self.sentence)
        return DATA

    def _lose(self) -> None:
        self.lost += 1

    @property
    def reply(self) -> CommandReply:
        return CommandReply(
            privacy_texts.EXPORT_READY, file=PrivateFile(NAME, self.build, self._lose)
        )


def incoming(platform: str, workspace: str, channel: Any, message: Any, user: Any) -> Incoming:
    """The command as a message in a channel."""
    return Incoming(
        key=ConversationKey(platform, workspace, str(channel), str(message)),
        channel=str(channel),
        message_id=str(message),
        position=1,
        author=Author(str(user), "alice"),
        text="/export me",
        address=Address.MENTION,
        sent_at=0.0,
    )


# ── Discord ───────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
async def discord_sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        yield sim


async def run_export(sim: DiscordSim, text: str) -> dict[str, Any]:
    """Run /export; returns its reply, once it has this text."""

    async def has_commands() -> Any:
        return (await sim.state())["commands"]

    await sim.until(has_commands)
    before = {each["id"] for each in (await sim.channel(d.CHANNEL))["ephemeral"]}
    await sim.slash(d.ALICE, d.CHANNEL, "export", {"who": "me"})

    async def find_reply() -> Any:
        replies = (await sim.channel(d.CHANNEL))["ephemeral"]
        found = (each for each in replies if each["id"] not in before and text in each["content"])
        return next(found, None)

    found: dict[str, Any] = await sim.until(find_reply, 60)
    return found


async def test_discord_shows_the_file_with_the_private_reply(
    discord_sim: DiscordSim, inbox: FakeInbox
) -> None:
    export = Export()
    inbox.answer = export.reply
    async with discord_kit.running(discord_sim, inbox):
        reply = await run_export(discord_sim, privacy_texts.EXPORT_READY)
        assert reply["attachments"][0]["filename"] == NAME
        assert await discord_sim.file(reply) == DATA
        assert await discord_sim.messages(d.CHANNEL, author=d.BOT) == []
    assert export.limits == [10 * 2**20 - 100_000] and export.lost == 0


async def test_discord_says_why_there_is_no_file(discord_sim: DiscordSim, inbox: FakeInbox) -> None:
    inbox.answer = Export("It is too large.").reply
    async with discord_kit.running(discord_sim, inbox):
        reply = await run_export(discord_sim, "It is too large.")
    assert reply["attachments"] == []


async def test_discord_answers_with_one_sentence_if_the_upload_fails(
    discord_sim: DiscordSim, inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If Discord accepted the file without confirming it, the file is deleted, so the sentence is
    true."""
    monkeypatch.setattr("bot.inbox.private_files.DELIVERY_SECONDS", 2.0)
    async with discord_kit.running(discord_sim, inbox):
        for name, fields in FAULTS.items():
            export = Export()
            inbox.answer = export.reply
            await discord_sim.call(
                "fault", pattern=r"PATCH .*/webhooks/.*", **(fields | {"having": NAME})
            )
            reply = await run_export(discord_sim, privacy_texts.EXPORT_NOT_SENT)
            assert (reply["attachments"], export.lost) == ([], 1), name
            await discord_sim.call("clear")
        inbox.answer = Export().reply
        await run_export(discord_sim, privacy_texts.EXPORT_READY)


async def test_discord_sends_the_file_of_a_mention_directly(
    discord_sim: DiscordSim, inbox: FakeInbox
) -> None:
    """The channel gets only a sentence, even if the person accepts no direct messages."""
    async with discord_kit.running(discord_sim, inbox) as adapter:
        said = await discord_sim.say(d.ALICE, d.CHANNEL, "/export me", mention=True)
        command = incoming("discord", str(d.GUILD), d.CHANNEL, said, d.ALICE)
        export = Export()
        await adapter.say(command, export.reply)
        (told,) = await discord_sim.messages(d.CHANNEL, author=d.BOT)
        assert (told["content"], told["attachments"]) == (privacy_texts.EXPORT_IN_DM, [])
        direct = (await discord_sim.dm(d.ALICE, "thanks"))["channel"]
        (sent,) = await discord_sim.messages(direct, author=d.BOT)
        assert sent["content"] == privacy_texts.EXPORT_READY
        assert await discord_sim.file(sent) == DATA and export.lost == 0

        await discord_sim.call(
            "fault",
            match=f"POST /api/v10/channels/{direct}/messages",
            status=403,
            body={"code": 50007, "message": "Cannot send messages to this user"},
        )
        refused = Export()
        await adapter.say(command, refused.reply)
        shown = await discord_sim.messages(d.CHANNEL, author=d.BOT)
        assert shown[-1]["content"] == privacy_texts.EXPORT_NOT_SENT and refused.lost == 1


# ── Slack ─────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
async def slack_sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


async def files_in(sim: SlackSim, channel: str) -> list[bytes]:
    messages = await sim.channel(channel)
    return [await sim.file(file) for each in messages for file in each.get("files") or ()]


async def run_slash_export(sim: SlackSim) -> str:
    """The text of /export's reply: in the acknowledgement, or at the response_url if it takes
    long."""
    result = await sim.slash(s.ALICE, s.GENERAL, "/export", "me")

    async def find_sentence() -> str:
        later = await sim.responses(result["hook"])
        sentences = (privacy_texts.EXPORT_IN_DM, privacy_texts.EXPORT_NOT_SENT)
        return next((each for each in sentences if each in str([result, later])), "")

    return str(await sim.until(find_sentence, 60))


async def test_slack_sends_the_file_directly_and_not_to_the_channel(
    slack_sim: SlackSim, inbox: FakeInbox
) -> None:
    """Both a slash command and a mention do this, since Slack has no files that only one person
    sees."""
    direct = await slack_sim.open_direct(s.ALICE)
    async with slack_kit.running(slack_sim, inbox) as adapter:
        export = Export()
        inbox.answer = export.reply
        assert await run_slash_export(slack_sim) == privacy_texts.EXPORT_IN_DM
        assert await files_in(slack_sim, direct) == [DATA]
        said = await slack_sim.say(s.ALICE, s.GENERAL, "/export me", mention=True)
        command = incoming("slack", s.TEAM, s.GENERAL, said, s.ALICE)
        await adapter.say(command, Export().reply)
        assert await files_in(slack_sim, direct) == [DATA, DATA]
        assert await files_in(slack_sim, s.GENERAL) == []
        told = [each["shown"] for each in await slack_sim.ephemeral(s.ALICE)]
        assert privacy_texts.EXPORT_IN_DM in told[-1]
    assert export.limits == [10_000_000] and export.lost == 0


@pytest.mark.parametrize(
    "request_path",
    [
        "/api/conversations.open",
        "/api/files.getUploadURLExternal",
        "/upload/v1/",
        "/api/files.completeUploadExternal",
    ],
)
async def test_slack_answers_with_one_sentence_if_the_upload_fails(
    slack_sim: SlackSim, inbox: FakeInbox, request_path: str
) -> None:
    direct = await slack_sim.open_direct(s.ALICE)
    async with slack_kit.running(slack_sim, inbox, request_seconds=1.0):
        for name, fields in (FAULTS | {"429": THROTTLED}).items():
            export = Export()
            inbox.answer = export.reply
            await slack_sim.call("fault", match=request_path, **fields)
            assert await run_slash_export(slack_sim) == privacy_texts.EXPORT_NOT_SENT, name
            assert export.lost == 1, name
            await slack_sim.call("clear")
        sent = len(await files_in(slack_sim, direct))  # an unconfirmed one may have arrived
        inbox.answer = Export().reply

        async def accepts_again() -> bool:
            return await run_slash_export(slack_sim) == privacy_texts.EXPORT_IN_DM

        await slack_sim.until(accepts_again, 30)
        assert len(await files_in(slack_sim, direct)) > sent


async def test_a_command_among_two_people_sends_the_file_to_its_author_alone(
    slack_sim: SlackSim, inbox: FakeInbox
) -> None:
    """The bot is in none of their direct messages, so an upload there would fail."""
    direct = await slack_sim.open_direct(s.ALICE)
    async with slack_kit.running(slack_sim, inbox):
        inbox.answer = Export().reply
        body = {"command": "/export", "text": "me", "user_id": s.ALICE, "channel_id": "D0ALICEBOB"}
        body |= {"team_id": s.TEAM, "user_name": "alice", "response_url": slack_sim.api_url}
        (attempt,) = await slack_sim.inject("slash_commands", [body])
        assert attempt["acked"]

        async def has_file() -> bool:
            return await files_in(slack_sim, direct) == [DATA]

        await slack_sim.until(has_file)
