"""What the refusals of one model's server taught: how it must be asked instead; in memory.

Invariant: a lesson is a fact about the server, not about a request; each is learned at most once,
so that there is an end to asking again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bot.domain.conversations import Message, Role
from bot.domain.errors import ContextTooLong, ModelFailed, Overloaded
from bot.domain.model import ChatRequest
from bot.domain.tokens import message_tokens
from bot.llm.refusals import kind_of
from bot.llm.report import Report
from bot.llm.token_counts import Counts, counts

MAX_LESSONS = 6
"""Requests that may be made again for one question, each with a new lesson."""

LIMIT_NAMES = ("max_completion_tokens", "max_tokens")
"""OpenAI's reasoning models take the first one only, older servers the second."""

SMALLEST_ANSWER = 256
"""Tokens: with less room than that a shorter history helps more than a shorter answer."""

_MARGIN = 16
"""Tokens left between prompt, answer and window: servers count a few for the template."""

_OPTIONAL = ("stream_options", "temperature")

# Statuses of a refused parameter; templates fail with 500. None is an error in the stream.
_STATUSES = (None, 400, 403, 404, 405, 415, 422, 500, 501)
_KINDS = (ModelFailed, ContextTooLong, Overloaded)

_NO_STREAM = re.compile(
    r"verified to stream|stream(ing)?['\"`]? (must be|is) (false|disabled|off)|non-streaming only"
    r"|only (supports?|accepts?|allows?) non-stream|set ['\"`]?stream['\"`]? to false"
    r"|\bstream(ing)?( mode)?\b(?!_).{0,40}\b(not|un)\s?"
    r"(supported|allowed|available|enabled|implemented)|(does not|doesn't|cannot) (support )?stream"
    r"|(unsupported|unknown|unrecognized|invalid) (value|parameter|argument)\w*:? ['\"`]?stream\b",
    re.IGNORECASE,
)
# Chat templates without a system role, and servers that say so: Gemma, Mistral, OpenAI's o1,
# Gemini's API for Gemma ("Developer instruction is not enabled").
_NO_SYSTEM = re.compile(
    r"system['\"`]? ?(role|message|prompt|instruction)s?.{0,60}"
    r"(not|n't|un)\s?(be )?(support|allow|enabl|accept|permit|valid)"
    r"|roles?['\"`\]]?.{0,80}(not|n't|un)\s?(support|allow|accept|permit).{0,30}system"
    r"|(unexpected|unsupported|invalid|unknown|unrecognized) (message )?(role|value).{0,80}system"
    r"|(does|do)(n't| not) (support|accept|allow) (the |a )?['\"`]?system|variant ['\"`]?system"
    r"|role:? ['\"`]?system['\"`]?.{0,60}(not|n't|un)\s?(be )?(support|allow|accept|permit|valid)"
    r"|role:? ['\"`]?system['\"`]? (is )?invalid|\brole\b.{0,99}permitted: ['\"`]?user"
    r"|['\"`]system['\"`] is not one of|input should be ['\"`]user['\"`]"
    r"|first (message|content)\b.{0,40}\buser|template[ _]error|apply_chat_template"
    r"|only ['\"`]?user['\"`]?,? (and|or) ['\"`]?(assistant|model)|roles must alternate"
    r"|(must|should) (start|begin) with (a |the )?['\"`]?user|first message must be"
    r"|developer (instruction|message|role)s?.{0,40}not"
    r"|(chat|prompt)[ _-]?template.{0,200}(error|exception|fail|raise|unable)"
    r"|(error|exception|fail(?:ed|s|ure)?|unable).{0,80}(chat|prompt)[ _-]?template"
    r"|jinja|templateerror|raise_exception",
    re.IGNORECASE | re.DOTALL,
)
_TOO_LARGE = re.compile(
    r"too (large|big|high|long|many)|exceed|at most|less than|lower than|maximum|range|between|"
    r"\bmust be\b|greater than",
    re.IGNORECASE,
)


class Learned:
    """The lessons of one model; `limit_names` are the names of the output limit, first choice
    first."""

    def __init__(self, limit_names: Sequence[str] = LIMIT_NAMES) -> None:
        self._limit_names = list(limit_names)
        self._first_name = limit_names[0]
        self._refused: set[str] = set()
        self._streams = self._takes_system = True
        self._output_limit: int | None = None
        self._window: int | None = None

    # ── how to ask ────────────────────────────────────────────────────────────────────────────
    def parameters(self, request: ChatRequest) -> dict[str, Any]:
        """The fields of a request beside the model's name, with all that was learned."""
        optional: dict[str, Any] = {
            "stream_options": {"include_usage": True} if self._streams else None,
            "temperature": request.temperature,
        }
        parameters: dict[str, Any] = {
            "messages": [
                {"role": message.role.value, "content": message.content}
                for message in self._messages(request.messages)
            ],
            "stream": self._streams,
        }
        if self._limit_names and request.max_tokens is not None:
            parameters[self._limit_names[0]] = self._limit(request, request.max_tokens)
        for name, value in optional.items():
            if value is not None and name not in self._refused:
                parameters[name] = value
        return parameters

    @property
    def streams(self) -> bool:
        """Whether answers come in pieces."""
        return self._streams

    def described(self) -> Iterator[str]:
        """What was learned, in words for `doctor`."""
        if not self._streams:
            yield "without streaming"
        if not self._takes_system:
            yield "with the system prompt in the first message"
        if not self._limit_names:
            yield "without an output limit"
        elif self._limit_names[0] != self._first_name:
            yield f"with {self._limit_names[0]}"
        yield from (f"without {name}" for name in sorted(self._refused))
        if self._output_limit is not None:
            yield f"for answers of at most {self._output_limit:,} tokens"
        if self._window is not None:
            yield f"within a window of {self._window:,} tokens"

    def _messages(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Without a system role, what it says begins the first message of a person."""
        if self._takes_system or not messages or messages[0].role is not Role.SYSTEM:
            return messages
        system, *rest = messages
        if not rest or rest[0].role is not Role.USER:
            return (replace(system, role=Role.USER), *rest)
        return (replace(rest[0], content=f"{system.content}\n\n{rest[0].content}"), *rest[1:])

    def _limit(self, request: ChatRequest, limit: int) -> int:
        if self._output_limit is not None:
            limit = min(limit, self._output_limit)
        if self._window is not None:
            room = self._window - _estimate(request) - _MARGIN
            limit = min(limit, max(room, min(SMALLEST_ANSWER, limit)))
        return limit

    # ── what a refusal teaches ────────────────────────────────────────────────────────────────
    def learn(self, report: Report, sent: Mapping[str, Any], request: ChatRequest) -> str | None:
        """What `report`, the answer to `sent`, teaches; None when there is no other way to ask."""
        kind = kind_of(report)
        if report.status not in _STATUSES or report.page or kind not in _KINDS:
            return None
        said = f"{report.param} · {report.words}"
        return (
            self._smaller_limit(counts(report), said, sent, request)
            or self._without_streaming(report, said, sent)
            or self._without_system(said, sent)
            or (None if kind is ContextTooLong else self._without(report, said, sent))
        )

    def _smaller_limit(
        self, said: Counts, words: str, sent: Mapping[str, Any], request: ChatRequest
    ) -> str | None:
        limit = next((sent[name] for name in LIMIT_NAMES if name in sent), None)
        if limit is None:
            return None
        if said.output is not None and said.output < limit:
            self._output_limit = min(said.output, self._output_limit or said.output)
        elif said.window is not None and (said.about_the_answer or limit >= said.window):
            prompt = _prompt(said, limit) or _estimate(request)
            room = said.window - prompt - _MARGIN
            if room >= limit or room < min(limit, SMALLEST_ANSWER):
                return None
            self._window = said.window
            if limit <= self._limit(request, limit):  # our estimate leaves more than there is
                self._output_limit = room
        elif said.about_the_answer and _TOO_LARGE.search(words) and limit > 2 * SMALLEST_ANSWER:
            self._output_limit = limit // 2
        else:
            return None
        return "a smaller output limit"

    def _without_streaming(self, report: Report, said: str, sent: Mapping[str, Any]) -> str | None:
        if not sent["stream"] or not (report.param == "stream" or _NO_STREAM.search(said)):
            return None
        self._streams = False
        return "no streaming"

    def _without_system(self, said: str, sent: Mapping[str, Any]) -> str | None:
        has_system = sent["messages"][0]["role"] == Role.SYSTEM.value
        if not has_system or not _NO_SYSTEM.search(said):
            return None
        self._takes_system = False
        return "no system role"

    def _without(self, report: Report, said: str, sent: Mapping[str, Any]) -> str | None:
        name = _named(report, said, [name for name in (*LIMIT_NAMES, *_OPTIONAL) if name in sent])
        if name in self._limit_names:
            self._limit_names.remove(name)
        elif name is not None:
            self._refused.add(name)
        return name


def _named(report: Report, said: str, names: Sequence[str]) -> str | None:
    """Which of these parameters is refused: the one that is named first."""
    parts = report.param.split(".")
    for name in names:
        if name in parts:
            return name
    found = {name: re.search(rf"\b{name}\b", said) for name in names}
    places = {name: match.start() for name, match in found.items() if match is not None}
    return min(places, key=lambda name: places[name], default=None)


def _prompt(said: Counts, limit: int) -> int | None:
    """What the server counted of the messages alone."""
    if said.asked is None:
        return None
    return said.asked - limit if said.asked > limit and said.about_the_answer else said.asked


def _estimate(request: ChatRequest) -> int:
    return sum(map(message_tokens, request.messages))
