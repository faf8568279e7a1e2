"""Very long code is a file at the end: on both platforms, through kills, and text where it must."""

from __future__ import annotations

import pytest

from tests.harness import BotProcess
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.stage import Place, Seen, Stage

LINES = {"discord": 400, "slack": 2_200}
# Where a file goes up: what the request says that brings it to the platform, and what shares it.
UPLOADS = {
    "discord": [("/messages", "code.py", "received"), ("/messages", "code.py", "applied")],
    "slack": [
        ("/upload/v1", "", "applied"),
        ("files.completeUploadExternal", "", "received"),
        ("files.completeUploadExternal", "", "applied"),
    ],
}


def code_of(stage: Stage) -> str:
    return "".join(f"line_{n} = {n}  # a line\n" for n in range(LINES[stage.name]))


def answer_of(stage: Stage) -> str:
    return f"Here it is:\n\n```python\n{code_of(stage)}```\n\nThat is the end of it."


async def ended(stage: Stage, place: Place, text: str, seconds: float = 60) -> list[Seen]:
    """The bot's messages, once the newest contains `text` and nothing is in work."""

    async def check() -> list[Seen] | None:
        seen = await stage.seen(place)
        return seen if seen and text in seen[-1].text and not seen[-1].working else None

    found: list[Seen] = await stage.sim.until(check, seconds)
    return found


async def check_whole(stage: Stage, place: Place) -> list[Seen]:
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
    """It streams as text at first; a later restart does nothing to it."""
    await model.script(
        Answer(match="write", text=answer_of(stage), rate=4_000.0),
        Answer(match="shorter", text="Sure."),
    )
    bot.set(CONTEXT_TOKENS="100000")
    async with bot:
        place = await stage.mention("write it")

        async def counting() -> bool:
            return any(
                "This is getting long" in message.text for message in await stage.seen(place)
            )

        await stage.sim.until(counting, 30)
        before = await check_whole(stage, place)
        await stage.say(place, "shorter, please")
        await ended(stage, place, "Sure.")
        said = [message["content"] for message in (await model.last("shorter")).body["messages"]]
        assert answer_of(stage) in said
        assert await stage.throttled() == 0
    async with bot:
        after = await stage.seen(place)
        assert [message.versions for message in after[:3]] == [one.versions for one in before]


@pytest.mark.parametrize("moment", range(3))
@pytest.mark.parametrize("writing", [False, True], ids=["ended", "writing"])
async def test_a_kill_during_the_upload_leaves_one_file(
    stage: Stage, model: ModelSim, bot: BotProcess, moment: int, writing: bool
) -> None:
    """Before the platform has it and after, when the answer is stored already and when not."""
    if moment >= len(UPLOADS[stage.name]):
        pytest.skip("there are two moments on Discord, three in Slack")
    match, body, at = UPLOADS[stage.name][moment]
    tail = " word" * (400 if writing else 0)
    text = answer_of(stage).replace("That is", f"{tail}\n\nThat is")
    await model.say(text, rate=4_000.0)
    if stage.name == "slack":
        await stage.sim.call("uploads", seconds=1.0)
    await bot.start()
    await bot.ready()
    await stage.sim.call("kill", pid=bot.pid, stage=at, match=match, body=body)
    place = await stage.mention("write it")
    await bot.ended()
    async with bot:
        await ended(stage, place, "That is the end of it.")
        assert await stage.files(place) == [("code.py", code_of(stage).encode())]
        order = [message.text.strip()[:10] for message in await stage.seen(place)]
        assert order[:2] == ["Here it is", "`code.py`,"]
        assert len(order) == 3
        assert await stage.signs_of_work() == []


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
