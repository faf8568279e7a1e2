"""/usage and /forget me through each platform's own client, against real processes."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.domain import privacy_texts
from tests.e2e.test_control import until, wait_command_reply, whole
from tests.sims.discord import constants as d
from tests.sims.model.client import ModelSim
from tests.sims.slack import ids
from tests.support.harness import BotProcess
from tests.support.platform_driver import DiscordDriver, PlatformDriver, SlackDriver
from tests.support.store_kit import look

MARK = "zanzibarite"


async def test_a_person_sees_what_they_used_and_is_forgotten_by_a_button(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """The person's text disappears from the raw bytes of the database files."""
    await model.say("One.")
    async with bot:
        thread = await driver.mention(f"the word is {MARK}")
        await whole(driver, thread, "One.")
        await bot.wait_for_log("turn ended")
        await slash(driver, thread, "usage", {})
        await wait_command_reply(driver, thread, "1 request")
        await slash(driver, thread, "forget", {"who": "me"})
        offer = await find(driver, thread.id, privacy_texts.CONFIRM[:40])
        database = bot.folder / "threadline.db"
        assert look(database, "SELECT 1 FROM messages WHERE content LIKE ?", f"%{MARK}%")
        await press(driver, offer)
        await wait_command_reply(driver, thread, "Your receipt:")
        assert look(database, "SELECT action FROM audit ORDER BY id DESC LIMIT 1") == [
            ("person.forgotten",)
        ]
    assert not [file.name for file in files_with(bot.folder, MARK)]


def files_with(folder: Path, mark: str) -> list[Path]:
    """The database files whose bytes contain the mark."""
    files = [file for file in folder.glob("threadline.db*") if file.is_file()]  # and no socket
    return [file for file in files if mark.encode() in file.read_bytes()]


async def slash(driver: PlatformDriver, thread: Any, name: str, options: dict[str, str]) -> None:
    if isinstance(driver, SlackDriver):
        await driver.sim.slash(ids.ALICE, ids.GENERAL, f"/{name}", " ".join(options.values()))
        return
    assert isinstance(driver, DiscordDriver)
    sim = driver.sim

    async def has_commands() -> Any:
        return (await sim.state())["commands"]

    await sim.until(has_commands)
    await sim.slash(d.ALICE, thread.id, name, options)


async def find(driver: PlatformDriver, place: Any, text: str) -> Any:
    """The private message with this text, once it has arrived."""

    async def check() -> Any:
        if isinstance(driver, SlackDriver):
            messages = await driver.sim.ephemeral(ids.ALICE)
            return next((each for each in messages if text in each["shown"]), None)
        messages = (await driver.sim.channel(place))["ephemeral"]
        return next((each for each in messages if text in each["content"]), None)

    return await until(check, driver)


async def press(driver: PlatformDriver, offer: Any) -> None:
    """Press the button below the offer."""
    buttons = [
        element
        for row in offer.get("blocks") or offer["components"]
        for element in row.get("elements") or row.get("components") or ()
    ]
    button = next(each for each in buttons if each["type"] in ("button", 2))
    if isinstance(driver, SlackDriver):
        action, value = button["action_id"], button["value"]
        await driver.sim.click(ids.ALICE, ids.GENERAL, offer["ts"], action, value)
    else:
        assert isinstance(driver, DiscordDriver)
        await driver.sim.click(d.ALICE, offer["id"], button["custom_id"])


async def test_a_person_gets_their_export_as_a_file_that_no_one_else_sees(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """A slash command answers with it, and a mention sends it as a direct message, at most once an
    hour."""
    await model.say("One.")
    async with bot:
        thread = await driver.mention(f"the word is {MARK}")
        await whole(driver, thread, "One.")
        await bot.wait_for_log("turn ended")
        await slash(driver, thread, "export", {"who": "me"})
        sentence = {"discord": privacy_texts.EXPORT_READY, "slack": privacy_texts.EXPORT_IN_DM}
        reply = await find(driver, thread.id, sentence[driver.name])
        assert f"the word is {MARK}" in exported(await private_file(driver, reply))
        await driver.mention_in(thread, "/export me")
        await wait_command_reply(driver, thread, "once an hour: ask again in 60 minutes")
        asked = await driver.mention("/export me", user="bob")
        assert exported(await direct_file(driver)) == []
        database = bot.folder / "threadline.db"
        people = [(str(driver.people[name]),) * 2 for name in ("alice", "bob")]
        assert look(database, "SELECT actor, subject FROM audit ORDER BY id") == people
        if driver.name == "discord":  # a command begins no thread there
            asked = replace(asked, id=asked.channel)
        assert [await driver.files(place) for place in (thread, asked)] == [[], []]


def exported(data: bytes) -> list[str]:
    """The messages in an export."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        lines = [json.loads(line) for line in archive.read("export.jsonl").splitlines()]
    return [line["text"] for line in lines if line["type"] == "message"]


async def private_file(driver: PlatformDriver, reply: Any) -> bytes:
    """The file of the private reply; on Slack, the one in the person's direct messages."""
    if isinstance(driver, DiscordDriver):
        return await driver.sim.file(reply)
    return await file_in_direct_messages(driver, ids.ALICE)


async def direct_file(driver: PlatformDriver) -> bytes:
    """The file in Bob's direct messages."""
    if isinstance(driver, SlackDriver):
        return await file_in_direct_messages(driver, ids.BOB)
    assert isinstance(driver, DiscordDriver)
    sim = driver.sim

    async def is_told() -> bool:
        posts = await sim.messages(d.CHANNEL, author=d.BOT)
        return any(post["content"] == privacy_texts.EXPORT_IN_DM for post in posts)

    await sim.until(is_told, 60)
    channel = (await sim.dm(d.BOB, "thanks"))["channel"]
    return await sim.file((await sim.messages(channel, author=d.BOT))[0])


async def file_in_direct_messages(driver: PlatformDriver, user: str) -> bytes:
    assert isinstance(driver, SlackDriver)
    sim = driver.sim
    channel = await sim.open_direct(user)

    async def there() -> Any:
        found = [file for each in await sim.channel(channel) for file in each.get("files") or ()]
        return found[0] if found else None

    return await sim.file(await sim.until(there, 60))
