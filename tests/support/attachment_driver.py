"""What people and other bots do with files on each platform, and ways to break downloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.sims.discord import constants as d
from tests.sims.model.answers import plain_text
from tests.sims.model.player import Record
from tests.sims.slack import ids as s
from tests.support.platform_driver import (
    DiscordDriver,
    Files,
    PlatformDriver,
    SlackDriver,
    ThreadRef,
    uploads,
)

FOLDERS = {"discord": "GET /attachments/", "slack": "GET /files-pri/"}
"""The beginning of a download's request."""

NEVER = 600.0  # seconds


async def alert(driver: PlatformDriver, title: str, text: str, files: Files = ()) -> ThreadRef:
    """Another bot posts an embed or attachment with a title, and files; a thread begins."""
    if isinstance(driver, DiscordDriver):
        embeds = [{"title": title, "description": text}]
        more: dict[str, Any] = {"embeds": embeds, "attachments": uploads(files)}
        post = await driver.sim.say(d.OTHER_BOT, d.CHANNEL, "", **more)
        await driver.sim.start_thread(d.BOB, post, "alert")
        return ThreadRef(d.CHANNEL, post, post)
    sim = slack(driver).sim
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
    attachments = [{"title": title, "color": "#ff0000", "blocks": [section]}]
    ts = await sim.say(s.OTHER_BOT_USER, s.GENERAL, "", files=files, attachments=attachments)
    return ThreadRef(s.GENERAL, ts, ts)


async def forward(driver: PlatformDriver, thread: ThreadRef, source: Any) -> Any:
    """Alice forwards a message of the main channel into a thread."""
    if isinstance(driver, DiscordDriver):
        return await driver.forward(thread, source)
    sim = slack(driver).sim
    (message,) = [each for each in await sim.channel(s.GENERAL) if each["ts"] == source]
    share = {
        "is_msg_unfurl": True,
        "is_share": True,
        "ts": source,
        "channel_id": s.GENERAL,
        "author_name": "Bob",
        "text": message["text"],
        "fallback": message["text"],
        "files": message["files"],
    }
    return await sim.say(s.ALICE, thread.channel, "", thread_ts=thread.id, attachments=[share])


async def post(driver: PlatformDriver, text: str, files: Files) -> Any:
    """Bob posts in the main channel without addressing the bot; returns the message's id."""
    if isinstance(driver, DiscordDriver):
        return await driver.sim.say(d.BOB, d.CHANNEL, text, attachments=uploads(files))
    return await slack(driver).sim.say(s.BOB, s.GENERAL, text, files=files)


async def voice(driver: PlatformDriver, thread: ThreadRef, audio: bytes) -> Any:
    """Alice records a voice message in a direct message or thread."""
    if isinstance(driver, DiscordDriver):
        return await driver.voice(thread, audio)
    recorded = ("audio_message.m4a", "audio/mp4", audio, {"subtype": "slack_audio"})
    return await slack(driver).sim.say(
        s.ALICE, thread.channel, "", thread_ts=thread.id, files=[recorded]
    )


def slack(driver: PlatformDriver) -> SlackDriver:
    """The driver, asserted to be Slack's."""
    assert isinstance(driver, SlackDriver)
    return driver


# ── downloads ─────────────────────────────────────────────────────────────────────────────────
async def downloads(driver: PlatformDriver, name: str = "") -> list[Mapping[str, Any]]:
    """The requests for files whose name contains `name`, oldest first."""
    found = await driver.sim.requests(FOLDERS[driver.name].removeprefix("GET "))
    return [request for request in found if name in request["path"]]


async def break_downloads(driver: PlatformDriver, name: str, trouble: str) -> None:
    """Make every download of a file go wrong: throttled, never, gone, slow, endless or none."""
    pattern = rf"{FOLDERS[driver.name]}.*{name}.*"
    fault: dict[str, dict[str, Any]] = {
        "throttled": {"status": 429, "headers": {"Retry-After": "300"}},
        "never": {"delay": NEVER},
        "gone": {"status": 404},
    }
    if trouble in fault:
        await driver.sim.call("fault", pattern=pattern, times=1_000, **fault[trouble])
    elif isinstance(driver, DiscordDriver):
        await driver.sim.spoil_downloads(trouble, times=1_000, match=name)
    else:
        await slack(driver).sim.downloads(trouble, seconds=0.05, match=name)


# ── requests to the model ─────────────────────────────────────────────────────────────────────
def user_texts(record: Record) -> Sequence[str]:
    """What people said in a request, with the texts of their files."""
    messages = record.body["messages"]
    return [plain_text(each["content"]) for each in messages if each["role"] == "user"]
