"""Transcripts: what counts as speech, and the name under which a recording is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError
from bot.llm.speech_files import file_name
from bot.llm.spoken_text import spoken_text


def body(text: str, *segments: tuple[str, float, float]) -> bytes:
    """A response; the segments are text, probability of silence and confidence."""
    answer: dict[str, Any] = {"text": text}
    if segments:
        answer["segments"] = [
            {"text": text, "no_speech_prob": silence, "avg_logprob": confidence}
            for text, silence, confidence in segments
        ]
    return json.dumps(answer).encode()


def omission(data: bytes) -> Omission:
    with pytest.raises(AttachmentError) as caught:
        spoken_text(data)
    return caught.value.omission


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "Thanks for watching!",
        "Thank you for watching. Thank you for watching.",
        "♪ Thanks for watching ♪",
        "Don't forget to like and subscribe!",
        "Untertitel der Amara.org-Community",
        "Ondertitels ingediend door de Amara.org gemeenschap",
        "ご視聴ありがとうございました。",
        "시청해주셔서 감사합니다!",
        "Terima kasih telah menonton!",
    ],
)
def test_phantoms_are_no_speech(text: str) -> None:
    assert omission(body(text)) is Omission.NO_SPEECH


@pytest.mark.parametrize(
    "text",
    [
        "Thank you.",
        "you",
        "Thanks for watching the deployment, it failed.",
        "Tell them: thanks for watching!",
        "reset",
        "Have a look at amara.org for the subtitles of our talk: the German ones are missing, and "
        "I would like to have all of them before Friday.",
    ],
)
def test_what_people_say_stays(text: str) -> None:
    assert spoken_text(body(text)) == text


def test_a_short_courtesy_in_silence_is_a_phantom() -> None:
    assert omission(body("Thank you.", (" Thank you.", 0.5, -0.4))) is Omission.NO_SPEECH
    assert spoken_text(body("Thank you.", (" Thank you.", 0.1, -0.4))) == "Thank you."
    heard = body("Yes. Thank you.", (" Yes.", 0.1, -0.2), (" Thank you.", 0.5, -0.4))
    assert spoken_text(heard) == "Yes. Thank you."


def test_absurd_numbers_are_ignored() -> None:
    assert spoken_text(body("Hello.", ("Hello.", 10**400, -(10**400)))) == "Hello."


def test_only_silent_segments_are_dropped() -> None:
    """Whisper's own rule needs both: silence and low confidence."""
    segments = ((" One.", 0.1, -0.2), (" Noise.", 0.9, -1.4), (" Two.", 0.9, -0.3))
    assert spoken_text(body("One. Noise. Two.", *segments)) == "One. Two."
    assert omission(body("Noise.", (" Noise.", 0.9, -1.4))) is Omission.NO_SPEECH


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"text", b'{"text": 5}', b"\xff", b"[" * 9_999]
)
def test_another_body_is_no_transcript(data: bytes) -> None:
    assert omission(data) is Omission.UNREACHABLE


@pytest.mark.parametrize(
    ("name", "media_type", "data", "sent"),
    [
        ("a.bin", "application/octet-stream", b"OggS....", ("speech.ogg", "audio/ogg")),
        ("a.ogg", "audio/ogg", b"\x1a\x45\xdf\xa3....", ("speech.webm", "audio/webm")),
        ("a", "audio/x-wav", b"RIFF....WAVE", ("speech.wav", "audio/wav")),
        ("a", "", b"....ftypM4A ", ("speech.m4a", "audio/mp4")),
        ("a", "", b"....ftypisom", ("speech.mp4", "video/mp4")),
        ("a", "audio/webm; codecs=opus", b"?", ("speech.webm", "audio/webm")),
        ("clip.MP3", "application/octet-stream", b"?", ("speech.mp3", "audio/mpeg")),
    ],
)
def test_the_content_decides_on_the_ending(
    name: str, media_type: str, data: bytes, sent: tuple[str, str]
) -> None:
    assert file_name(name, media_type, data) == sent


def test_an_unknown_format_is_not_sent() -> None:
    with pytest.raises(AttachmentError) as caught:
        file_name("a.aac", "audio/aac", b"?")
    assert caught.value.omission is Omission.UNSUPPORTED
