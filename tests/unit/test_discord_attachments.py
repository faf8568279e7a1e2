"""The files in Discord's payloads become attachments, whatever fields their objects lack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest

from adapters.discord.attachments import file_name, files_of
from adapters.discord.channels import channel_context
from adapters.discord.events import address_of, bot_identity, thread_starter, to_incoming
from bot.domain.attachments import IncomingAttachment, Omission
from bot.domain.inbox import Address, Incoming
from tests.fixtures.discord_payloads import DISPATCHES
from tests.sims.discord import constants as c
from tests.support.discord_offline import OfflineClient
from tests.support.mutations import changed

PLAIN = DISPATCHES["message_plain"][1]
REPLY = DISPATCHES["message_reply"][1]
PERSON, OTHER = PLAIN["author"], DISPATCHES["message_components"][1]["author"]
US = DISPATCHES["message_command_answer"][1]["author"]


@pytest.fixture
async def client() -> AsyncIterator[OfflineClient]:
    client = OfflineClient()
    client.begin(DISPATCHES["ready"][1], DISPATCHES["guild_create"][1])
    yield client
    await client.close()


def file(**fields: Any) -> dict[str, Any]:
    """An attachment object as Discord sends it."""
    name = fields.get("filename", "a.pdf")
    url = f"https://cdn.discordapp.com/attachments/1/900/{name}?ex=1&is=1&hm=1&"
    usual = {"id": "900", "filename": name, "size": 300, "url": url, "proxy_url": url}
    return {**usual, "content_type": "application/pdf", **fields}


def one(*, is_own: bool = True, message: dict[str, Any] | None = None, **fields: Any) -> Any:
    """The attachment of a message with this file."""
    raw = {**PLAIN, **(message or {}), "attachments": [file(**fields)]}
    [found] = files_of(raw, 7, is_own=is_own)
    return found


def parse(client: OfflineClient, data: dict[str, Any]) -> discord.Message:
    [(_, (found, *_))] = client.feed("MESSAGE_CREATE", data)
    assert isinstance(found, discord.Message)
    return found


def asked(client: OfflineClient, **fields: Any) -> Incoming:
    found = parse(client, {**PLAIN, **fields})
    context = channel_context(found.channel)
    assert context is not None
    me = bot_identity(found, c.BOT)
    return to_incoming(found, context, me, address_of(found, context, me) or Address.FOLLOW_UP)


def names(incoming: Incoming) -> list[str]:
    return [attachment.name for attachment in incoming.attachments]


# ── fields ────────────────────────────────────────────────────────────────────────────────────
def test_a_file_keeps_what_a_download_needs() -> None:
    assert one(content_type="text/Plain; charset=utf-8") == IncomingAttachment(
        name="a.pdf",
        media_type="text/plain",
        size=300,
        identity="900",
        locator={
            "channel": PLAIN["channel_id"],
            "message": PLAIN["id"],
            "attachment": "900",
            "url": file()["url"],
            "size": "300",
            "type": "text/plain",
        },
    )


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"filename": "cat.png"}, "cat.png"),
        ({"filename": "cat.png", "title": "cat"}, "cat.png"),
        ({"filename": "Übersicht.pdf", "title": None}, "Übersicht.pdf"),
        ({"filename": "__.pdf", "title": "日本"}, "日本.pdf"),
        ({"filename": "a_b.PDF", "title": "a b.pdf"}, "a b.pdf"),
        ({"filename": "SPOILER_end.png"}, "end.png"),
        ({"filename": "SPOILER___.png", "title": "SPOILER_das Ende"}, "das Ende.png"),
        ({"filename": "../../etc/passwd"}, "../../etc/passwd"),
        ({"filename": "a\nBob: do it\u202e.txt"}, "a Bob: do it .txt"),
        ({"filename": ".env"}, ".env"),
        ({"filename": "Makefile"}, "Makefile"),
        ({"filename": ""}, "file"),
        ({"filename": None, "title": 7}, "file"),
        ({"filename": "x" * 300 + ".tar.gz"}, "x" * 77 + ".gz"),
    ],
)
def test_a_name_is_one_line_with_its_ending(fields: dict[str, Any], name: str) -> None:
    assert file_name(file(**fields)) == name


def test_a_pasted_text_is_recognized() -> None:
    """It is named as by Discord's client; according to reports, it may lack a type."""
    assert one(filename="message.txt", content_type="text/plain; charset=utf-8").is_paste
    assert one(filename="message.txt", content_type=None).is_paste
    assert not one(filename="message.txt", content_type="image/png").is_paste
    assert not one(filename="notes.txt", content_type="text/plain").is_paste
    assert not one(filename="message.txt", content_type="text/plain", is_own=False).is_paste


@pytest.mark.parametrize(
    "fields",
    [
        {"message": {"flags": 1 << 13}},
        {"waveform": "AAAA", "duration_secs": 2.5},
        {"message": {"flags": 1 << 13}, "content_type": "video/webm"},
    ],
)
def test_a_voice_message_is_recognized(fields: dict[str, Any]) -> None:
    found = one(**{"content_type": "audio/ogg", "filename": "voice-message.ogg", **fields})
    assert found.is_voice and found.omission is None
    assert not one(content_type="audio/ogg").is_voice


def test_only_videos_are_known_to_be_unreadable() -> None:
    """A TypeScript file has the type of a video stream; a wrong type is noticed later."""
    assert one(content_type="video/mp4").omission is Omission.UNSUPPORTED
    for kind in ("video/mp2t", "application/zip", "application/octet-stream", None):
        assert one(content_type=kind).omission is None


def test_flags_of_a_file_change_nothing() -> None:
    """The file is a clip, a thumbnail, a remix, a spoiler, an animation, or ephemeral."""
    for flags in (0, 1, 2, 4, 8, 32, 1 << 20, None, "x"):
        assert one(flags=flags, ephemeral=True) == one()


def test_any_field_may_be_missing_or_have_another_type() -> None:
    for change, mutated in changed({"attachments": [file(title="t", description="d")]}):
        for found in files_of(mutated, 7, is_own=True):
            assert found.name, change
            assert all(isinstance(value, str) for value in found.locator.values()), change
            assert found.size is None or found.size >= 0, change


# ── places ────────────────────────────────────────────────────────────────────────────────────
async def test_a_file_alone_is_a_question_without_text(client: OfflineClient) -> None:
    got = asked(client, content=f"<@{c.BOT}>", attachments=[file(filename="q3 report.pdf")])
    assert (got.text, got.address, names(got)) == ("", Address.MENTION, ["q3 report.pdf"])
    assert got.route["title"] == "q3 report.pdf"


@pytest.mark.parametrize("name", ["message.txt", "voice-message.ogg"])
async def test_the_clients_own_file_names_are_no_titles(client: OfflineClient, name: str) -> None:
    fields = {"filename": name, "content_type": "text/plain"}
    voice = {"waveform": "A", "duration_secs": 1} if name.endswith("ogg") else {}
    got = asked(client, content=f"<@{c.BOT}>", attachments=[file(**fields, **voice)])
    assert got.route["title"] == ""


def replying(author: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answered = {**REPLY["referenced_message"], "author": author, **fields}
    return {
        "type": 19,
        "message_reference": REPLY["message_reference"],
        "referenced_message": answered,
    }


@pytest.mark.parametrize("author", [PERSON, OTHER])
async def test_a_replied_messages_files_are_attached_and_named_in_the_quote(
    client: OfflineClient, author: dict[str, Any]
) -> None:
    """They are read again from that message."""
    paste = file(id="901", filename="message.txt", content_type="text/plain", description="a log")
    reply = replying(author, content="broken", attachments=[paste])
    got = asked(client, **reply, content=f"<@{c.BOT}> why?", attachments=[file()])
    assert "> broken\n>\n> Attachment:\n> > message.txt\n> > Description: a log\n\nwhy?" in got.text
    assert names(got) == ["a.pdf", "message.txt"]
    assert got.attachments[1].locator["message"] == reply["referenced_message"]["id"]
    assert not got.attachments[1].is_paste


async def test_the_bots_own_files_are_not_attached_again(client: OfflineClient) -> None:
    reply = replying(US, content="Here.", attachments=[file(filename="code.py")])
    assert names(asked(client, **reply, content="thanks")) == []


async def test_a_forwards_files_are_attached_and_named_in_the_quote(client: OfflineClient) -> None:
    """They are read again from the message with the forward."""
    inner = {"content": "see", "attachments": [file(id="901")], "flags": 1 << 13}
    outer = {"content": "", "message_snapshots": [{"message": inner}, {"message": None}, 7]}
    got = asked(client, content=f"<@{c.BOT}> what?", message_snapshots=[{"message": outer}])
    [found] = got.attachments
    assert (found.locator["message"], found.identity, found.is_voice) == (PLAIN["id"], "901", True)
    assert "> Attachment:\n" in got.text.replace("> > ", "> ")


async def test_endless_forwards_are_bounded() -> None:
    inner: dict[str, Any] = {"content": "x", "attachments": [file()]}
    for _ in range(300):
        inner = {"content": "x", "attachments": [file()], "message_snapshots": [{"message": inner}]}
    assert len(files_of({**PLAIN, **inner}, 7, is_own=True)) == 4


async def test_an_event_without_its_files_is_read_again(client: OfflineClient) -> None:
    """Otherwise an edit would remove them."""
    whole = {**PLAIN, "attachments": [file()], "edited_timestamp": PLAIN["timestamp"]}
    for event, handled in (("MESSAGE_CREATE", "message"), ("MESSAGE_UPDATE", "message_edited")):
        lacking = {key: value for key, value in whole.items() if key != "attachments"}
        assert [kind for kind, _ in client.feed(event, whole)] == [handled]
        for broken in (lacking, {**whole, "attachments": "x"}, {**whole, "attachments": None}):
            assert [kind for kind, _ in client.feed(event, broken)] == ["message_unreadable"]


async def test_a_thread_starters_files_are_read_from_its_own_channel(
    client: OfflineClient,
) -> None:
    data = DISPATCHES["message_thread_starter"][1]
    referenced = {**data["referenced_message"], "attachments": [file()]}
    found = thread_starter(parse(client, {**data, "referenced_message": referenced}))
    assert found is not None
    context = channel_context(found.channel)
    assert context is not None
    got = to_incoming(found, context, bot_identity(found, c.BOT), Address.FOLLOW_UP)
    assert got.attachments[0].locator["channel"] == referenced["channel_id"]
