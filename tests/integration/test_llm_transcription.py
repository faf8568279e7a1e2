"""Transcription with the real clients against the simulated model server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from bot.config.loader import load
from bot.config.models import resolve
from bot.config.providers import ProviderConfig
from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError, SettingsError
from bot.domain.health import Verdict
from bot.llm.huggingface_speech import HuggingFaceTranscriber
from bot.llm.speech import MAX_BYTES, RemoteTranscriber
from bot.llm.transcribers import build_transcriber
from bot.llm.transcription import OpenAITranscriber
from tests.sims.model import ModelSim, Speech
from tests.support.model_kit import huggingface_provider, openai_provider

pytestmark = pytest.mark.asyncio(loop_scope="module")

OGG = b"OggS" + b"\x00" * 60
Make = Callable[..., RemoteTranscriber]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def sim(server: ModelSim) -> ModelSim:
    await server.reset()
    return server


def openai_transcriber(
    provider: ProviderConfig, model: str, *, seconds: float = 20.0
) -> OpenAITranscriber:
    return OpenAITranscriber(
        name=f"openai:{model}", model=model, provider=provider, seconds=seconds
    )


@pytest_asyncio.fixture(loop_scope="module", params=["openai", "huggingface"])
async def make(request: pytest.FixtureRequest, sim: ModelSim) -> AsyncIterator[Make]:
    """Builds transcribers of one provider for the simulated server."""
    built: list[RemoteTranscriber] = []

    def build(*, model: str = "whisper-1", url: str = "", seconds: float = 20.0) -> Any:
        url = url or sim.base_url
        if request.param == "openai":
            provider = openai_provider(url)
            built.append(openai_transcriber(provider, model, seconds=seconds))
        else:
            built.append(
                HuggingFaceTranscriber(
                    name=f"huggingface:{model}",
                    model=model,
                    provider=huggingface_provider(url, "k"),
                    seconds=seconds,
                )
            )
        return built[-1]

    yield build
    for each in built:
        await each.aclose()


async def fail(transcriber: RemoteTranscriber, data: bytes = OGG) -> AttachmentError:
    with pytest.raises(AttachmentError) as caught:
        await transcriber.transcribe("voice-message.ogg", "audio/ogg", data)
    return caught.value


# ── transcripts ───────────────────────────────────────────────────────────────────────────────
async def test_a_recording_arrives_byte_for_byte(sim: ModelSim, make: Make) -> None:
    """We choose its name: servers need the extension, not the name that people gave the file."""
    data = OGG + os.urandom(300_000)
    text = await make().transcribe("../ Max' secret.ogg", "audio/ogg; codecs=opus", data)
    assert text == "Hello from a recording."
    recording = (await sim.recordings())[-1]
    assert recording.bytes == data
    assert (recording.model, recording.media_type) == ("whisper-1", "audio/ogg")
    assert recording.name in ("speech.ogg", "")
    assert recording.authorization == "Bearer k"


async def test_only_whisper_is_asked_for_segments(sim: ModelSim) -> None:
    """A server that rejects the format is asked only for the text from then on."""
    provider = openai_provider(sim.base_url, None)
    whisper = openai_transcriber(provider, "whisper-1")
    other = openai_transcriber(provider, "gpt-4o-transcribe")
    since = len(await sim.recordings())
    await whisper.transcribe("a", "audio/ogg", OGG)
    await other.transcribe("a", "audio/ogg", OGG)
    await sim.speak(Speech(only_json=True))
    for _ in range(2):
        await whisper.transcribe("a", "audio/ogg", OGG)
    recordings = await sim.recordings(since)
    assert [recording.response_format for recording in recordings] == [
        "verbose_json",
        "json",
        "verbose_json",
        "json",
        "json",
    ]
    assert {recording.authorization for recording in recordings} == {None}
    await whisper.aclose()
    await other.aclose()


async def test_silence_and_phantoms_are_no_speech(sim: ModelSim, make: Make) -> None:
    for text in ("", "  ", "Thanks for watching!", "Subtitles by the Amara.org community"):
        await sim.speak(Speech(text=text, times=1))
        error = await fail(make())
        assert error.omission is Omission.NO_SPEECH and error.retry_after is None


async def test_segments_without_speech_are_dropped(sim: ModelSim) -> None:
    model = openai_transcriber(openai_provider(sim.base_url), "whisper-1")
    quiet = Speech(text="La la la.", no_speech_prob=0.9, avg_logprob=-1.5, times=1)
    await sim.speak(quiet, Speech(text="Thank you.", no_speech_prob=0.5, times=1))
    assert (await fail(model)).omission is Omission.NO_SPEECH
    assert (await fail(model)).omission is Omission.NO_SPEECH
    await sim.speak(Speech(text="Thank you.", times=1))
    assert await model.transcribe("a", "audio/ogg", OGG) == "Thank you."
    await model.aclose()


# ── failures ──────────────────────────────────────────────────────────────────────────────────
BAD_FORMAT = {"error": {"message": "Invalid file format. Supported formats: ['flac', 'm4a']"}}
TOO_SHORT = {"error": {"message": "Audio file is too short. Minimum audio length is 0.1 seconds."}}
TOO_LONG = {"error": {"message": "audio duration 1500 seconds is longer than 1400 seconds"}}
DAMAGED = {"error": {"message": "The audio file could not be decoded."}}

FAILURES: list[tuple[Speech, Omission, float | None]] = [
    (Speech(fault="rate_limited", retry_after=7.0), Omission.UNREACHABLE, 7.0),
    (Speech(fault="rate_limited"), Omission.UNREACHABLE, 5.0),
    (Speech(fault="server_error"), Omission.UNREACHABLE, 5.0),
    (Speech(fault="bad_gateway"), Omission.UNREACHABLE, 5.0),
    (Speech(fault="loading"), Omission.UNREACHABLE, 5.0),
    (Speech(fault="bad_key"), Omission.NO_ACCESS, None),
    (Speech(fault="forbidden"), Omission.NO_ACCESS, None),
    (Speech(fault="quota"), Omission.NO_ACCESS, None),
    (Speech(fault="unknown_model"), Omission.NO_TRANSCRIPTION, None),
    (Speech(fault="wrong_path"), Omission.NO_TRANSCRIPTION, None),
    (Speech(fault="content_filter"), Omission.MODEL_REFUSED, None),
    (Speech(status=400, body=BAD_FORMAT), Omission.UNSUPPORTED, None),
    (Speech(status=400, body=TOO_SHORT), Omission.NO_SPEECH, None),
    (Speech(status=400, body=TOO_LONG), Omission.TOO_LARGE, None),
    (Speech(status=400, body=DAMAGED), Omission.DAMAGED, None),
    (Speech(status=413, body="<html>too large</html>"), Omission.TOO_LARGE, None),
    (Speech(status=418, body={}), Omission.UNREACHABLE, None),
    (Speech(status=200, body={}), Omission.UNREACHABLE, None),
    (Speech(status=200, body=[]), Omission.UNREACHABLE, None),
    (Speech(status=200, body={"text": None}), Omission.UNREACHABLE, None),
    (Speech(status=200, body={"text": ["Hello"]}), Omission.UNREACHABLE, None),
    (Speech(status=200, body="<html>Hello</html>"), Omission.UNREACHABLE, None),
]


@pytest.mark.parametrize(("script", "omission", "wait"), FAILURES)
async def test_a_failure_has_a_reason_and_a_wait_if_another_attempt_may_help(
    sim: ModelSim, make: Make, script: Speech, omission: Omission, wait: float | None
) -> None:
    await sim.speak(script)
    error = await fail(make(url=f"{sim.url}/v1"))
    assert (error.omission, error.retry_after) == (omission, wait)
    assert "Traceback" not in str(error)


@pytest.mark.parametrize(
    "segments", [None, "x", [], [1, None], [{"no_speech_prob": "high"}], [{"text": 5}]]
)
async def test_malformed_segments_do_not_cost_the_text(
    sim: ModelSim, make: Make, segments: Any
) -> None:
    await sim.speak(Speech(status=200, body={"text": " Hello. ", "segments": segments}))
    assert await make().transcribe("a", "audio/ogg", OGG) == "Hello."


async def test_a_slow_server_is_not_waited_for(sim: ModelSim, make: Make) -> None:
    await sim.speak(Speech(hold=600.0))
    error = await fail(make(seconds=0.3))
    assert (error.omission, error.retry_after) == (Omission.TIMED_OUT, None)


async def test_a_server_that_is_down_may_come_back(make: Make) -> None:
    error = await fail(make(url="http://127.0.0.1:9/v1"))
    assert (error.omission, error.retry_after) == (Omission.UNREACHABLE, 5.0)


async def test_files_that_no_server_takes_are_not_sent(sim: ModelSim, make: Make) -> None:
    since = len(await sim.recordings())
    assert (await fail(make(), b"")).omission is Omission.EMPTY
    assert (await fail(make(), OGG + bytes(MAX_BYTES))).omission is Omission.TOO_LARGE
    with pytest.raises(AttachmentError) as caught:
        await make().transcribe("notes.aac", "audio/aac", b"\xff\xf1")
    assert caught.value.omission is Omission.UNSUPPORTED
    assert len(await sim.recordings()) == since


# ── settings and doctor ───────────────────────────────────────────────────────────────────────
def built_from(environ: dict[str, str]) -> RemoteTranscriber | None:
    settings = load(environ, None)
    return build_transcriber(settings.transcription_model, resolve(settings).providers)


async def test_the_setting_names_the_model(sim: ModelSim) -> None:
    environ = {"OPENAI_BASE_URL": sim.base_url, "HF_BASE_URL": sim.base_url}
    assert built_from(environ) is None
    for name in ("openai:whisper-1", "huggingface:org/whisper"):
        built = built_from({**environ, "TRANSCRIPTION_MODEL": name})
        assert built is not None and built.name == name
        finding = await built.check()
        assert (finding.subject, finding.verdict) == (name, Verdict.OK)
        await built.aclose()


@pytest.mark.parametrize("name", ["whisper-1", "deepgram:nova", "openai:"])
async def test_an_unknown_provider_is_a_settings_error(name: str) -> None:
    environ = {"TRANSCRIPTION_MODEL": name, "OPENAI_API_KEY": "k"}
    with pytest.raises(SettingsError) as caught:
        built_from(environ)
    assert caught.value.setting == "TRANSCRIPTION_MODEL"
    with pytest.raises(SettingsError):
        built_from({"TRANSCRIPTION_MODEL": "openai:whisper-1"})


async def test_doctor_names_the_settings_to_check(sim: ModelSim, make: Make) -> None:
    await sim.speak(Speech(fault="bad_key"))
    finding = await make().check()
    assert finding.verdict is Verdict.FAILED and "TRANSCRIPTION_MODEL" in finding.advice
    await sim.reset()
    await sim.speak(Speech(text=""))
    assert (await make().check()).verdict is Verdict.OK
