"""Parses a provider's error response, whatever its shape.

OpenAI nests an object under `error`, while Hugging Face's TGI puts a text there. Gemini wraps
everything in a list. FastAPI servers (vLLM, SGLang, LiteLLM's own checks) use `detail` with a text
or a list. Mistral, Cohere and Alibaba have a top-level `message`, and proxies respond in plain text
or HTML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bot.llm.waits import parse_seconds, reset_after, retry_after

if TYPE_CHECKING:
    import httpx2  # takes long to import

# Fields that are read as text. FastAPI's `input` and OpenRouter's `flagged_input` are left out on
# purpose: they repeat the user's message.
_TEXT_FIELD_NAMES = """
    error errors message msg detail details description error_description error_message error_msg
    status_msg title reason reasons raw cause body metadata innererror base_resp error_chain
"""
_CODE_FIELD_NAMES = "code type error_type error_code status reason __type kind"
_WAIT_FIELD_NAMES = "retrydelay retry_after retryafter retry_after_seconds retry-after"
_TEXT_FIELDS = frozenset(_TEXT_FIELD_NAMES.split())
_CODE_FIELDS = frozenset(_CODE_FIELD_NAMES.split())
_WAIT_FIELDS = frozenset(_WAIT_FIELD_NAMES.split())
_MAX_DEPTH = 6
_MAX_LENGTH = 4_000
"""Characters of an error to parse and log; longer errors are stack traces."""

_PAGE = re.compile(r"\s*(<!doctype\s|<html|<head|<\?xml)", re.IGNORECASE)
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^<>]*+>", re.IGNORECASE | re.DOTALL)
_STATUS = re.compile(r"[45]\d\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """A parsed error. `status` is None for an error inside a stream.

    `codes` are in lower case. `retry_after` is the requested wait in seconds, `reset_after` the
    seconds until the used-up rate limits are reset. `numbers` are numeric fields, such as
    llama.cpp's `n_ctx`. `raw` is the whole error for the log. `redirect` is the address to which a
    redirect led, if it turned the request into a GET, which no model answers.
    """

    status: int | None
    codes: tuple[str, ...] = ()
    text: str = ""
    param: str = ""
    retry_after: float | None = None
    reset_after: float | None = None
    numbers: Mapping[str, int] | None = None
    is_web_page: bool = False
    raw: str = ""
    redirect: str = ""

    @classmethod
    def from_response(cls, response: httpx2.Response, body: Any) -> ErrorReport:
        """Parse the response to a request for an answer; `body` is what was read of its body."""
        report = cls.parse(response.status_code, body, response.headers)
        if response.request.method == "POST":
            return report
        return replace(report, redirect=str(response.url.copy_with(query=None, userinfo=b"")))

    @classmethod
    def parse(
        cls, status: int | None, body: Any, headers: Mapping[str, str] | None = None
    ) -> ErrorReport:
        """Parse an error's body: bytes, text or decoded JSON."""
        body = _decode(body)
        fields = _FieldCollector()
        fields.headers = {name.lower(): value for name, value in (headers or {}).items()}
        if isinstance(body, str):
            page = _PAGE.match(body) is not None
            text = body[:_MAX_LENGTH]
            fields.texts.append(" ".join((_TAGS.sub(" ", text) if page else text).split()))
        else:
            page = False
            fields.collect(body)
        wait = retry_after(fields.headers)
        return cls(
            fields.status if status is None else status,  # OpenRouter and llama.cpp put it there
            tuple(dict.fromkeys(fields.codes)),
            " · ".join(dict.fromkeys(fields.texts))[:_MAX_LENGTH],
            fields.param,
            retry_after=fields.wait if wait is None else wait,
            reset_after=reset_after(fields.headers),
            numbers=fields.numbers,
            is_web_page=page,
            raw=loggable(body),
        )


class _FieldCollector:
    """Collects the known fields of a JSON body at any nesting level."""

    def __init__(self) -> None:
        self.codes: list[str] = []
        self.texts: list[str] = []
        self.numbers: dict[str, int] = {}
        self.param = ""
        self.status: int | None = None
        self.wait: float | None = None
        self.headers: dict[str, str] = {}

    def collect(self, value: Any, depth: int = 0) -> None:
        if depth > _MAX_DEPTH:
            return
        if isinstance(value, str):
            nested, known = _decode(value), len(self.texts)
            if not isinstance(nested, str):
                self.collect(nested, depth + 1)
            if len(self.texts) == known:  # JSON without a known field is read as text
                self.texts.append(value)
        elif isinstance(value, list):
            for item in value:
                self.collect(item, depth + 1)
        elif isinstance(value, dict):
            for name, item in value.items():
                self._field(str(name).lower(), item, depth)

    def _field(self, name: str, item: Any, depth: int) -> None:
        if name in _CODE_FIELDS:
            self._code(name, item)
        if name == "param" and isinstance(item, str):
            self.param = self.param or item
        elif name == "loc" and isinstance(item, list):  # FastAPI: ["body", "stream_options"]
            self.param = self.param or ".".join(str(part) for part in item if part != "body")
        elif name in _WAIT_FIELDS and self.wait is None:
            self.wait = parse_seconds(item)
        elif name == "headers" and isinstance(item, dict):  # OpenRouter passes on a provider's
            self.headers |= {str(key).lower(): str(value) for key, value in item.items()}
        elif name in _TEXT_FIELDS:
            self.collect(item, depth + 1)
        elif isinstance(item, int) and not isinstance(item, bool):
            self.numbers[name] = item

    def _code(self, name: str, item: Any) -> None:
        if isinstance(item, str) and item:
            self.codes.append(item.lower())
        if name not in ("code", "status") or self.status is not None:
            return
        if isinstance(item, int | str) and _STATUS.fullmatch(str(item)):
            self.status = int(item)


def _decode(body: Any) -> Any:
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    if isinstance(body, str) and body.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return body
    return "" if body is None else body


def loggable(body: Any) -> str:
    """Convert a body to text for the log, and shorten it."""
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=repr)
    return text[:_MAX_LENGTH]
