"""Reads a transcript, and drops what a model of the Whisper family invents for silence.

These models were trained on subtitles, so silence and music turn into the last words of videos.
There are two remedies: segments that the model itself considers silent are dropped, if the server
reports this (`verbose_json`); and a transcript with nothing but well-known phantoms is discarded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError

# openai/whisper's own rule for silence (`transcribe.py`: no_speech_threshold, logprob_threshold).
SILENCE_PROBABILITY = 0.6
LOW_CONFIDENCE = -1.0

# As reported in public issues about Whisper, without case and punctuation.
_PHANTOMS = frozenset(
    {
        "thanks for watching",
        "thank you for watching",
        "thank you so much for watching",
        "thank you for watching and see you next time",
        "please subscribe",
        "please subscribe to my channel",
        "dont forget to like and subscribe",
        "untertitelung des zdf 2020",
        "untertitel im auftrag des zdf für funk 2017",
        "sous titrage st 501",
        "gracias por ver el video",
        "obrigado por assistir",
        "terima kasih telah menonton",
        "abone olmayı unutmayın",
        "субтитры сделал dimatorzok",
        "субтитры создавал dimatorzok",
        "спасибо за просмотр",
        "ご視聴ありがとうございました",
        "次の動画でお会いしましょう",
        "시청해주셔서 감사합니다",
        "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
    }
)
_CREDIT = re.compile(r"amara\.org", re.IGNORECASE)  # subtitle credits, in every language
_LONGEST_CREDIT = 120
"""Characters; a longer text may well be about that site."""

# People do say these, so they count as phantoms only where the model heard nothing.
_WEAK_PHANTOMS = frozenset(
    {
        "you",
        "bye",
        "thank you",
        "thanks",
        "thank you very much",
        "ありがとうございました",
        "おやすみなさい",
        "продолжение следует",
        "감사합니다",
    }
)
_WEAK_PROBABILITY = 0.3

_SENTENCES = re.compile(r"[.!?…。！？♪\n]+")
_PUNCTUATION = re.compile(r"[^\w\s]")


def spoken_text(body: bytes) -> str:
    """The text of a transcription response, in `json` or `verbose_json`.

    Raises AttachmentError: NO_SPEECH, or UNREACHABLE if the body is something else.
    """
    answer = _parse(body)
    segments = [each for each in answer.get("segments") or () if isinstance(each, dict)]
    text: str = answer["text"]
    if any(map(_is_silent, segments)):
        text = "".join(str(each.get("text", "")) for each in segments if not _is_silent(each))
    text = text.strip()
    if not text or _is_phantom(text, segments):
        raise AttachmentError(Omission.NO_SPEECH)
    return text


def _parse(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
        raise AttachmentError(Omission.UNREACHABLE, "no transcript in the response")
    if not isinstance(answer.get("segments"), list):
        answer["segments"] = []
    return answer


def _is_silent(segment: dict[str, Any]) -> bool:
    return (
        _number(segment, "no_speech_prob", 0.0) > SILENCE_PROBABILITY
        and _number(segment, "avg_logprob", 0.0) < LOW_CONFIDENCE
    )


def _is_phantom(text: str, segments: Sequence[dict[str, Any]]) -> bool:
    if len(text) <= _LONGEST_CREDIT and _CREDIT.search(text):
        return True
    quiet = min((_number(each, "no_speech_prob", 0.0) for each in segments), default=0.0)
    known = _PHANTOMS | _WEAK_PHANTOMS if quiet > _WEAK_PROBABILITY else _PHANTOMS
    return all(sentence in known for sentence in _sentences(text))


def _sentences(text: str) -> Iterator[str]:
    for sentence in _SENTENCES.split(text.casefold()):
        words = _PUNCTUATION.sub("" if "'" in sentence else " ", sentence).split()
        if words:
            yield " ".join(words)


def _number(segment: dict[str, Any], name: str, default: float) -> float:
    value = segment.get(name)
    try:
        return float(value) if isinstance(value, int | float) else default
    except OverflowError:
        return default
