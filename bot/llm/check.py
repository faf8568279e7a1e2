"""The model checks of `doctor`: make the same requests as a turn and report the results."""

from __future__ import annotations

import io
import struct
import time
import wave
import zlib
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

import structlog

from bot.domain.attachments import Omission
from bot.domain.conversations import ImagePart, Message, Role
from bot.domain.errors import (
    AttachmentError,
    ContextTooLong,
    KeyRefused,
    ModelError,
    ModelLoading,
    NoCredit,
    Overloaded,
    RateLimited,
    TimedOut,
    UnknownModel,
    Unreachable,
    WrongAddress,
)
from bot.domain.health import Finding, Verdict
from bot.domain.model import ChatRequest
from bot.ports.attachments import Transcriber
from bot.ports.model import ChatModel

log = structlog.stdlib.get_logger(__name__)

QUESTION = Message(role=Role.USER, content="Answer with the word: ready")
_ANSWER_CHARACTERS = 200  # enough to recognize the model: it was asked for one word
_IMAGE_SIDE = 64  # pixels
_SAMPLE_RATE = 16_000  # Hz
_SIGHT = {True: "; takes images", False: "; cannot see images", None: ""}
_QUESTION_ONLY = ChatRequest(messages=(QUESTION,))

_NO_ANSWER = "The server does not answer: check the network, and {address} if it is set."
# `doctor` logs errors only.
_OWN_WORDS = "LOG_LEVEL=WARNING shows the provider's own words"
_UNTRUSTED = (
    "The server's certificate{at} is not trusted: add its authority to the system's, or name a "
    "file with all authorities in SSL_CERT_FILE."
)
_RESPONSES_ONLY = "Only the Responses API has this model: use the provider openai-responses."
_EMPTY = "Try another model: this one answers a plain question with nothing."
_ADVICE: tuple[tuple[type[ModelError], str], ...] = (  # subclasses before their bases
    (NoCredit, "The account of {key} has no credit left: check it with the provider."),
    (KeyRefused, "Check {key}: it must be valid, have credit and be allowed to use the model."),
    (UnknownModel, "Check the model's name in LLM, and {address} if it is set."),
    (WrongAddress, "No model server answers there: check {address}, which usually ends in /v1."),
    (ContextTooLong, "The system prompt plus MAX_OUTPUT_TOKENS exceed the model's context window."),
    (RateLimited, "The account's rate limit is used up: wait, or raise it with the provider."),
    (Unreachable, "Nothing answers{at}: is the server running? Check the network, and {address}."),
    (ModelLoading, "The server is still loading the model: try again in a minute."),
    (Overloaded, _NO_ANSWER),
    (TimedOut, _NO_ANSWER),
    (ModelError, f"{_OWN_WORDS}."),
)


async def check_model(
    model: ChatModel,
    probe: ChatRequest | None,
    *,
    key: str,
    address: str,
    workarounds: Callable[[], Iterable[str]],
) -> Finding:
    """Ask `model` for one word, then with an image.

    Reads the whole answer, because some failures appear only at its end. `probe` is the request
    that a turn would send; None sends the bare question. `key` and `address` are setting names for
    the advice. `workarounds` describes the workarounds learned from the request.
    """
    began = time.monotonic()
    first_token: float | None = None
    has_words, answer = False, ""
    try:
        async with aclosing(cast(Any, model.stream(probe or _QUESTION_ONLY))) as deltas:
            async for delta in deltas:
                if first_token is None and not delta.loading:
                    first_token = time.monotonic() - began
                has_words = has_words or bool(delta.text.strip() or delta.reasoning)
                answer = (answer + delta.text)[:_ANSWER_CHARACTERS]
    except ModelError as error:
        return _failed(model.name, error, key, address)
    if not has_words:
        return Finding(model.name, Verdict.FAILED, "the answer is empty", _EMPTY)
    needed = ", ".join(workarounds())
    suffix = f"; needs requests {needed}" if needed else ""
    sight = _SIGHT[await _try_image(model)]
    detail = f"answers after {first_token or 0.0:.1f} s{suffix}{sight}"
    return Finding(model.name, Verdict.OK, detail, answer=answer.strip())


async def _try_image(model: ChatModel) -> bool | None:
    """Whether the model accepts a small image, judging by the first piece of its answer."""
    image = ImagePart("image/png", _png(), _IMAGE_SIDE, _IMAGE_SIDE)
    question = ChatRequest(messages=(replace(QUESTION, parts=(image,)),))
    try:
        async with aclosing(cast(Any, model.stream(question))) as deltas:
            async for delta in deltas:
                if delta.text or delta.reasoning:
                    break
    except ModelError as error:
        log.info("no answer to an image", model=model.name, provider_message=error.provider_message)
    return model.sees


def _png() -> bytes:
    """A gray square large enough for models that reject images of a few pixels."""
    rows = (b"\0" + b"\x80" * _IMAGE_SIDE) * _IMAGE_SIDE
    header = struct.pack(">IIBBBBB", _IMAGE_SIDE, _IMAGE_SIDE, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _failed(model: str, error: ModelError, key: str, address: str) -> Finding:
    kind = type(error).__name__
    log.warning(
        "the model check failed", model=model, error=kind, provider_message=error.provider_message
    )
    template = next(text for error_type, text in _ADVICE if isinstance(error, error_type))
    at = ""
    if isinstance(error, Unreachable):
        at = f" at {error.address}" if error.address else ""
        template = _UNTRUSTED if error.certificate else template
    if isinstance(error, UnknownModel) and "v1/responses" in error.provider_message:
        template = _RESPONSES_ONLY
    advice = template.format(key=key, address=address, at=at)
    return Finding(model, Verdict.FAILED, f"{kind} ({error})", advice)


# ── speech ────────────────────────────────────────────────────────────────────────────────────
async def check_speech(transcriber: Transcriber, *, name: str, key: str) -> Finding:
    """Send a second of silence to a speech model; `key` names the setting that holds its key."""
    try:
        await transcriber.transcribe("silence.wav", "audio/wav", _silence())
    except AttachmentError as error:
        if error.omission is not Omission.NO_SPEECH:
            advice = f"Check TRANSCRIPTION_MODEL and {key}; {_OWN_WORDS}."
            return Finding(name, Verdict.FAILED, f"no transcript ({error})", advice)
    return Finding(name, Verdict.OK, "takes recordings")


def _silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(_SAMPLE_RATE)
        recording.writeframes(bytes(2 * _SAMPLE_RATE))
    return file.getvalue()
