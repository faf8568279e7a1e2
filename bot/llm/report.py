"""What a provider says about a failure, in whatever shape it says it; pure.

OpenAI nests an object under `error`, Hugging Face's TGI has a text there, Gemini wraps the whole in
a list, FastAPI servers (vLLM, SGLang, LiteLLM's own checks) say `detail` as a text or as a list,
Mistral, Cohere and Alibaba put `message` at the top, and proxies answer in plain text or HTML.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

# Where words are found. Others are left out on purpose: FastAPI's `input` and OpenRouter's
# `flagged_input` repeat what the person wrote, which says nothing about the failure.
_WORD_FIELDS = """
    error errors message msg detail details description error_description error_message error_msg
    status_msg title reason reasons raw cause body metadata innererror
"""
_CODE_FIELDS = "code type error_type error_code status reason __type kind"
_WORDS, _CODES = frozenset(_WORD_FIELDS.split()), frozenset(_CODE_FIELDS.split())
_DEEPEST = 6
_LONGEST_SAID = 4_000
"""Characters of a provider's words that are read and logged: the longest are stack traces."""

_PAGE = re.compile(r"\s*(<!doctype\s|<html|<head|<\?xml)", re.IGNORECASE)
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^<>]*+>", re.IGNORECASE | re.DOTALL)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")

LONGEST_WAIT = 86_400.0
"""Seconds: what asks for more than a day means that it does not know."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a provider said. `status` is None in mid-stream; `retry_after` is in seconds.

    `codes` are in lower case; `numbers` are fields that are numbers, such as llama.cpp's `n_ctx`;
    `page` tells that the body is a web page; `said` is all of it, for the log.
    """

    status: int | None
    codes: tuple[str, ...] = ()
    words: str = ""
    param: str = ""
    retry_after: float | None = None
    numbers: Mapping[str, int] | None = None
    page: bool = False
    said: str = ""

    @classmethod
    def of(cls, status: int | None, body: Any, headers: Mapping[str, str] | None = None) -> Report:
        """Read an error's body: what JSON holds, or a text."""
        body = _parsed(body)
        if isinstance(body, str):
            page = _PAGE.match(body) is not None
            words = body[:_LONGEST_SAID]
            words = " ".join((_TAGS.sub(" ", words) if page else words).split())
            return cls(
                status,
                words=words,
                retry_after=retry_after(headers or {}),
                page=page,
                said=said(body),
            )
        found = _Found()
        found.read(body)
        if status is None:
            status = found.status  # OpenRouter and llama.cpp put it there
        wait = retry_after(headers or {})
        return cls(
            status,
            tuple(dict.fromkeys(found.codes)),
            " · ".join(dict.fromkeys(found.words))[:_LONGEST_SAID],
            found.param,
            found.wait if wait is None else wait,
            found.numbers,
            said=said(body),
        )

    def says(self, codes: frozenset[str]) -> bool:
        """Whether one of these codes was given."""
        return not codes.isdisjoint(self.codes)


class _Found:
    """What was found in a body."""

    def __init__(self) -> None:
        self.codes: list[str] = []
        self.words: list[str] = []
        self.numbers: dict[str, int] = {}
        self.param = ""
        self.status: int | None = None
        self.wait: float | None = None

    def read(self, value: Any, depth: int = 0) -> None:
        if depth > _DEEPEST:
            return
        if isinstance(value, str):
            nested = _parsed(value)
            if isinstance(nested, str):
                self.words.append(value)
            else:
                self.read(nested, depth + 1)
        elif isinstance(value, list):
            for item in value:
                self.read(item, depth + 1)
        elif isinstance(value, dict):
            for name, item in value.items():
                self._field(str(name), item, depth)

    def _field(self, name: str, item: Any, depth: int) -> None:
        lower = name.lower()
        if lower in _CODES:
            self._code(lower, item)
        if lower == "param" and isinstance(item, str):
            self.param = self.param or item
        elif lower == "loc" and isinstance(item, list):  # FastAPI: ["body", "stream_options"]
            self.param = self.param or ".".join(str(part) for part in item if part != "body")
        elif lower in ("retrydelay", "retry_after") and self.wait is None:
            self.wait = _seconds(item)
        elif lower in _WORDS:
            self.read(item, depth + 1)
        elif isinstance(item, int) and not isinstance(item, bool):
            self.numbers[lower] = item

    def _code(self, name: str, item: Any) -> None:
        if isinstance(item, str) and item:
            self.codes.append(item.lower())
        if name not in ("code", "status") or self.status is not None:
            return
        number = int(item) if isinstance(item, int | str) and str(item).isdecimal() else 0
        if 400 <= number < 600:
            self.status = number


def _parsed(body: Any) -> Any:
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    if isinstance(body, str) and body.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return body
    return "" if body is None else body


def said(body: Any) -> str:
    """A body as it is logged."""
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=repr)
    return text[:_LONGEST_SAID]


# ── waits ─────────────────────────────────────────────────────────────────────────────────────
def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds to wait that a response's headers ask for: a number, or an HTTP date."""
    return next(_waits(headers), None)


def _waits(headers: Mapping[str, str]) -> Iterator[float]:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        wait = _seconds(value)
        if wait is not None:
            yield _bounded(wait * unit)
            continue
        try:
            yield _bounded((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (TypeError, ValueError):
            continue


def _seconds(value: Any) -> float | None:
    """A number, or Google's "34.5s"; None for what is neither."""
    if isinstance(value, str) and (found := _SECONDS.fullmatch(value.strip())):
        value = found.group(1)
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return _bounded(seconds) if math.isfinite(seconds) else None


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), LONGEST_WAIT)
