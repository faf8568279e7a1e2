"""Voice messages, end to end: they are questions, quoted above their answers."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.e2e.test_conversation import whole
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.sims.model.speech import Speech
from tests.support.attachment_driver import slack, user_texts, voice
from tests.support.harness import BotProcess
from tests.support.platform_driver import PlatformDriver

OGG = b"OggS\x00\x02" + bytes(20) + b"\x01\x13OpusHead" + bytes(200)
M4A = b"\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00M4A mp42" + bytes(200)
LABEL = "(Voice message, transcribed)\n"


def audio(driver: PlatformDriver) -> bytes:
    return OGG if driver.name == "discord" else M4A


async def test_a_voice_message_is_a_question_and_no_command(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """The recording goes to the model for speech byte for byte; "reset" resets nothing."""
    bot.set(TRANSCRIPTION_MODEL="openai:whisper-sim")
    await model.speak(Speech(text="Reset."))
    await model.script(Answer(match="Reset", text="Reset what?"), Answer(match="", text="Hello."))
    async with bot:
        thread = await driver.direct("hi there")
        await whole(driver, thread, "Hello.")
        await voice(driver, thread, audio(driver))
        *_, reply = await whole(driver, thread, "Reset what?", count=2)
        assert "“Reset.”" in reply.text.partition("Reset what?")[0]
        assert user_texts(await model.last()) == ["hi there", f"{LABEL}Reset."]
        (recording,) = await model.recordings()
        assert (recording.model, recording.bytes) == ("whisper-sim", audio(driver))
        with closing(sqlite3.connect(bot.folder / "threadline.db")) as db:
            assert db.execute("SELECT count(*) FROM commands").fetchone() == (0,)


async def test_without_a_model_for_speech_one_sentence_says_so(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    async with bot:
        thread = await driver.direct("hi there")
        await whole(driver, thread, "hi there")
        await voice(driver, thread, audio(driver))
        (_, reply) = await whole(driver, thread, "(I cannot listen to recordings).", count=2)
        assert reply.text.count("\n") == 0
        assert len(await model.streams()) == 1


@pytest.mark.parametrize("driver", ["slack"], indirect=True)
async def test_slacks_own_transcript_needs_no_model_for_speech(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """Slack finishes the transcript after it has announced the message."""
    await model.script(Answer(match="call me", text="I cannot call."), Answer(text="Hello."))
    async with bot:
        thread = await driver.direct("hi there")
        await whole(driver, thread, "Hello.")
        said = await voice(driver, thread, M4A)
        sim = slack(driver).sim
        (message,) = [m for m in await sim.thread(thread.channel, thread.id) if m["ts"] == said]
        await sim.transcribe(message["files"][0]["id"], "could you call me")
        *_, reply = await whole(driver, thread, "I cannot call.", count=2)
        assert "“could you call me”" in reply.text
        assert user_texts(await model.last())[-1] == f"{LABEL}could you call me"
