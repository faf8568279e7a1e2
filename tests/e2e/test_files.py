"""Very long code is a file at the end: on both platforms, through kills, and text where it must."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer, tokenize
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.scenes import DiscordStage, Seen, SlackStage, Stage, ThreadRef, ever_said

LINES = {"discord": 200, "slack": 1_000}  # three pages or more on both
# Where a file goes up: what the request says that brings it to the platform, and what shares it.
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
async def stage(request: pytest.FixtureRequest, platform: str) -> AsyncIterator[Stage]:
    """The platform that the test names."""
    if platform == "discord":
        async with DiscordSim() as discord:
            yield DiscordStage(discord)
    else:
        async with SlackSim() as slack:
            yield SlackStage(slack)


@pytest.fixture(params=["discord", "slack"])
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bot(bot: BotProcess) -> BotProcess:
    """Files from two messages on: short scenes."""
    bot.set(FILE_FROM_MESSAGES="2")
    return bot


def code_of(stage: Stage) -> str:
    return "".join(f"line_{n} = {n}  # a line\n" for n in range(LINES[stage.name]))


def answer_of(stage: Stage) -> str:
    return f"Here it is:\n\n```python\n{code_of(stage)}```\n\nThat is the end of it."


async def ended(stage: Stage, place: ThreadRef, text: str, seconds: float = 60) -> list[Seen]:
    """The bot's messages, once the newest contains `text` and nothing is in work."""

    async def check() -> list[Seen] | None:
        seen = await stage.seen(place)
        return seen if seen and text in seen[-1].text and not seen[-1].working else None

    found: list[Seen] = await stage.sim.until(check, seconds)
    return found


async def check_whole(stage: Stage, place: ThreadRef) -> list[Seen]:
    seen = await ended(stage, place, "That is the end of it.")
    assert await stage.files(place) == [("code.py", code_of(stage).encode())]
    assert [message.text.strip()[:10] for message in seen] == [
        "Here it is",
        "`code.py`,",
        "That is th",
    ]
    assert all(message.notified == () for message in seen)
    return seen


async def test_long_code_ends_as_a_file_and_the_history_has_all_of_it(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """It streams as text, then as its first lines and a count; a later restart changes nothing."""
    text = answer_of(stage)
    await model.script(
        Answer(match="write", text=text, rate=2_000.0, wait_at=len(tokenize(text)) - 10),
        Answer(match="shorter", text="Sure."),
    )
    bot.set(CONTEXT_TOKENS="100000")
    async with bot:
        place = await stage.mention("write it")

        async def counting() -> bool:
            return await ever_said(stage, place, "This is getting long")

        await stage.sim.until(counting, 30)
        await model.release()
        before = await check_whole(stage, place)
        await stage.say(place, "shorter, please")
        await ended(stage, place, "Sure.")
        said = [message["content"] for message in (await model.last("shorter")).body["messages"]]
        assert answer_of(stage) in said
        assert await stage.throttled() == 0
    async with bot:
        after = await stage.seen(place)
        assert [message.versions for message in after[:3]] == [one.versions for one in before]


@pytest.mark.parametrize(("platform", "moment"), MOMENTS)
async def test_a_kill_during_the_upload_leaves_one_file(
    stage: Stage, model: ModelSim, bot: BotProcess, platform: str, moment: int
) -> None:
    """Before the platform has it and after: the answer is stored, and shown in its messages."""
    await model.say(answer_of(stage), rate=20_000.0)
    place = await killed_while_it_writes(stage, bot, moment)
    async with bot:
        await check_whole(stage, place)
        assert await stage.signs_of_work() == []
        assert len(await model.streams()) == 1


@pytest.mark.parametrize(("platform", "moment"), [("discord", 1), ("slack", 2)])
async def test_a_kill_during_the_upload_while_the_model_writes_leaves_one_file(
    stage: Stage, model: ModelSim, bot: BotProcess, platform: str, moment: int
) -> None:
    """The model is asked again, and says the same: the file that is there is the file."""
    text = answer_of(stage)
    await model.script(Answer(text=text, rate=20_000.0, wait_at=len(tokenize(text)) - 2))
    place = await killed_while_it_writes(stage, bot, moment)
    async with bot:
        await model.release()
        await check_whole(stage, place)
        assert len(await model.streams()) == 2


async def killed_while_it_writes(stage: Stage, bot: BotProcess, moment: int) -> ThreadRef:
    """Ask, and wait for the bot's death at that moment of the upload."""
    match, body, at = UPLOADS[stage.name][moment]
    if isinstance(stage, SlackStage):
        await stage.sim.uploads(seconds=1.0)
    await bot.start()
    await bot.ready()
    await stage.sim.call("kill", pid=bot.pid, stage=at, match=match, body=body)
    place = await stage.mention("write it")
    await bot.wait_exit()
    return place


async def test_where_files_are_forbidden_it_is_text(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """All of it, in order; the log says why."""
    await model.say(answer_of(stage), rate=20_000.0)
    await stage.forbid_files()
    async with bot:
        place = await stage.mention("write it")
        seen = await ended(stage, place, "That is the end of it.", 90)
        text = "".join(message.text for message in seen)
        numbers = [word for word in text.split() if word.startswith("line_")]
        assert numbers == [f"line_{n}" for n in range(LINES[stage.name])]
        assert "in the file below" not in text
        assert await stage.files(place) == []
        assert bot.events("a file was refused")
