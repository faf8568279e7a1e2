"""Very long code becomes a file on both platforms, even after kills; it stays text where files are
forbidden."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer, tokenize
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import (
    DiscordDriver,
    PlatformDriver,
    Seen,
    SlackDriver,
    ThreadRef,
    at_rest,
    ever_said,
)

LINES = {"discord": 200, "slack": 1_000}  # at least three pages on both platforms
# Patterns that find an upload: the request that sends the content, and the one that shares the
# file.
UPLOADS = {
    "discord": [("/messages", "code.py", "received"), ("/messages", "code.py", "applied")],
    "slack": [
        ("/upload/v1", "", "applied"),
        ("files.completeUploadExternal", "", "received"),
        ("files.completeUploadExternal", "", "applied"),
    ],
}
MOMENTS = [(name, n) for name, moments in UPLOADS.items() for n in range(len(moments))]


@pytest.fixture
async def driver(request: pytest.FixtureRequest, platform: str) -> AsyncIterator[PlatformDriver]:
    """The driver of the parametrized platform."""
    if platform == "discord":
        async with DiscordSim() as discord:
            yield DiscordDriver(discord)
    else:
        async with SlackSim() as slack:
            yield SlackDriver(slack)


@pytest.fixture(params=["discord", "slack"])
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bot(bot: BotProcess) -> BotProcess:
    """Files for code of two messages and more, to keep the scenarios short."""
    bot.set(FILE_FROM_MESSAGES="2")
    return bot


def code_of(driver: PlatformDriver) -> str:
    return "".join(f"line_{n} = {n}  # a line\n" for n in range(LINES[driver.name]))


def answer_of(driver: PlatformDriver) -> str:
    return f"Here it is:\n\n```python\n{code_of(driver)}```\n\nThat is the end of it."


async def wait_ended(
    driver: PlatformDriver, thread: ThreadRef, text: str, seconds: float = 60
) -> list[Seen]:
    """The bot's messages, once the newest contains `text` and none is being written."""

    async def check() -> list[Seen] | None:
        seen = await driver.seen(thread)
        return seen if seen and text in seen[-1].text and not seen[-1].working else None

    found: list[Seen] = await driver.sim.until(check, seconds)
    return found


async def check_whole(driver: PlatformDriver, thread: ThreadRef) -> list[Seen]:
    seen = await wait_ended(driver, thread, "That is the end of it.")
    assert await driver.files(thread) == [("code.py", code_of(driver).encode())]
    assert [message.text.strip()[:10] for message in seen] == [
        "Here it is",
        "`code.py`,",
        "That is th",
    ]
    assert all(message.notified == () for message in seen)
    return seen


async def test_long_code_ends_as_a_file_and_the_history_has_all_of_it(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """The code streams as text, then is replaced by its first lines and a count; a restart changes
    nothing."""
    text = answer_of(driver)
    await model.script(
        Answer(match="write", text=text, rate=2_000.0, wait_at=len(tokenize(text)) - 10),
        Answer(match="shorter", text="Sure."),
    )
    bot.set(CONTEXT_TOKENS="100000")
    async with bot:
        thread = await driver.mention("write it")

        async def counting() -> bool:
            return await ever_said(driver, thread, "This is getting long")

        await driver.sim.until(counting)
        await model.release()
        before = await check_whole(driver, thread)
        await driver.say(thread, "shorter, please")
        await wait_ended(driver, thread, "Sure.")
        said = [message["content"] for message in (await model.last("shorter")).body["messages"]]
        assert answer_of(driver) in said
        assert await driver.count_throttled() == 0
    async with bot:
        after = await driver.seen(thread)
        assert [message.versions for message in after[:3]] == [one.versions for one in before]


@pytest.mark.parametrize(("platform", "moment"), MOMENTS)
async def test_a_kill_during_the_upload_leaves_one_file(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess, platform: str, moment: int
) -> None:
    """Killed before and after the upload is applied: the answer is stored, and shown once."""
    await model.say(answer_of(driver), rate=20_000.0)
    thread = await kill_while_it_writes(driver, bot, moment)
    async with bot:
        await check_whole(driver, thread)
        await at_rest(driver)
        assert len(await model.streams()) == 1


@pytest.mark.parametrize(("platform", "moment"), [("discord", 1), ("slack", 2)])
async def test_a_kill_during_the_upload_while_the_model_writes_leaves_one_file(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess, platform: str, moment: int
) -> None:
    """The model is asked again and repeats its answer; the existing file is reused."""
    text = answer_of(driver)
    await model.script(Answer(text=text, rate=20_000.0, wait_at=len(tokenize(text)) - 2))
    thread = await kill_while_it_writes(driver, bot, moment)
    async with bot:
        await model.release()
        await check_whole(driver, thread)
        assert len(await model.streams()) == 2


async def kill_while_it_writes(driver: PlatformDriver, bot: BotProcess, moment: int) -> ThreadRef:
    """Ask a question, and wait until the bot dies at this moment of the upload."""
    match, body, at = UPLOADS[driver.name][moment]
    if isinstance(driver, SlackDriver):
        await driver.sim.uploads(seconds=1.0)
    await bot.start()
    await bot.ready()
    await driver.sim.call("kill", pid=bot.pid, stage=at, match=match, body=body)
    thread = await driver.mention("write it")
    await bot.wait_exit()
    return thread


async def test_code_stays_text_where_files_are_forbidden(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """The whole code appears in order, and the log gives the reason."""
    await model.say(answer_of(driver), rate=20_000.0)
    await driver.forbid_files()
    async with bot:
        thread = await driver.mention("write it")
        seen = await wait_ended(driver, thread, "That is the end of it.", 90)
        text = "".join(message.text for message in seen)
        numbers = [word for word in text.split() if word.startswith("line_")]
        assert numbers == [f"line_{n}" for n in range(LINES[driver.name])]
        assert "in the file below" not in text
        assert await driver.files(thread) == []
        assert bot.events("a file was refused")
