"""Workarounds for one model's server, learned from the requests it rejects; kept in memory.

Invariant: each workaround is a fact about the server, not about a request, and is learned at most
once, so retries are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from bot.domain.conversations import Message, Role
from bot.domain.errors import ContextTooLong
from bot.domain.model import ChatRequest
from bot.llm.error_report import ErrorReport
from bot.llm.images import ImageUploads
from bot.llm.output_limit import OutputLimit
from bot.llm.parameter_rules import NO_STREAM, NO_SYSTEM, REJECTED_VALUE
from bot.llm.rejections import classify_rejection, rejected_parameter
from bot.llm.token_counts import parse_token_counts

LIMIT_NAMES = ("max_completion_tokens", "max_tokens")
"""Names of the output limit. OpenAI's reasoning models accept only the first, and older servers
only the second."""


class ServerQuirks:
    """Builds chat completion requests with the workarounds that one model's server needs.

    `limit_names` are the names of the output limit, in order of preference. `takes_cache_key`:
    requests may contain a prompt cache key. Subclasses build the requests of other APIs.
    """

    # Parameters that a request can do without, and the one among them with the effort.
    optional: ClassVar[tuple[str, ...]] = (
        "stream_options",
        "temperature",
        "reasoning_effort",
        "prompt_cache_key",
    )
    effort: ClassVar[str] = "reasoning_effort"

    def __init__(
        self, limit_names: Sequence[str] = LIMIT_NAMES, *, takes_cache_key: bool = False
    ) -> None:
        self._all_limit_names = tuple(limit_names)
        self._limit_names = list(limit_names)
        self._takes_cache_key = takes_cache_key
        self._rejected: set[str] = set()
        self._rejected_efforts: set[str] = set()
        self._streams = self._has_system_role = True
        self._limits = OutputLimit()

    # ── requests ──────────────────────────────────────────────────────────────────────────────
    def parameters(self, request: ChatRequest, images: ImageUploads) -> dict[str, Any]:
        """The fields of a request except the model's name, with all workarounds applied.

        `images` holds the request's images; the fields have placeholders for them.
        """
        return {
            "messages": [
                {"role": message.role.value, "content": images.content(message)}
                for message in self._messages(request.messages)
            ],
            "stream": self._streams,
            **self._output_limit(request),
            **self._accepted(
                stream_options={"include_usage": True} if self._streams else None,
                temperature=request.temperature,
                reasoning_effort=self._effort(request),
                prompt_cache_key=self._cache_key(request),
            ),
        }

    def _accepted(self, **parameters: Any) -> dict[str, Any]:
        """The optional parameters that have a value and were not rejected."""
        return {
            name: value
            for name, value in parameters.items()
            if value is not None and name not in self._rejected
        }

    def _output_limit(self, request: ChatRequest) -> dict[str, int]:
        if not self._limit_names or request.max_tokens is None:
            return {}
        return {self._limit_names[0]: self._limits.apply(request, request.max_tokens)}

    def _effort(self, request: ChatRequest) -> str | None:
        effort = None if request.effort is None else request.effort.value
        return None if effort in self._rejected_efforts else effort

    def _cache_key(self, request: ChatRequest) -> str | None:
        return request.cache_key if self._takes_cache_key and request.cache_key else None

    @property
    def streams(self) -> bool:
        """Whether the server streams answers."""
        return self._streams

    @property
    def takes_temperature(self) -> bool | None:
        """False once the server has rejected a temperature; None while this is not known."""
        return False if "temperature" in self._rejected else None

    def describe(self) -> Iterator[str]:
        """Describe the workarounds in words, for `doctor`."""
        if not self._streams:
            yield "without streaming"
        if not self._has_system_role:
            yield "with the system prompt in the first message"
        if not self._limit_names:
            yield "without an output limit"
        elif self._limit_names[0] != self._all_limit_names[0]:
            yield f"with {self._limit_names[0]}"
        yield from (f"without {name}" for name in sorted(self._rejected))
        yield from (f"without {self.effort} {value}" for value in sorted(self._rejected_efforts))
        yield from self._limits.describe()

    def _messages(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages; without a system role, the first user message begins with the prompt."""
        if self._has_system_role or not messages or messages[0].role is not Role.SYSTEM:
            return messages
        system, *rest = messages
        if not rest or rest[0].role is not Role.USER:
            return (replace(system, role=Role.USER), *rest)
        return (replace(rest[0], content=f"{system.content}\n\n{rest[0].content}"), *rest[1:])

    # ── learning from a rejection ─────────────────────────────────────────────────────────────
    def learn(
        self, report: ErrorReport, sent: Mapping[str, Any], request: ChatRequest
    ) -> str | None:
        """Learn a workaround from `report`, the response to `sent`.

        Returns the workaround's name for the log, or None if the request cannot be made
        differently.
        """
        error = classify_rejection(report, images=request.has_images)
        if error is None:
            return None
        text = f"{report.param} · {report.text}"
        return (
            self._shrink_limit(report, sent, request, too_long=error is ContextTooLong)
            or self._stop_streaming(report, text, sent)
            or self._drop_system_role(text, sent)
            or (None if error is ContextTooLong else self._drop_parameter(report, text, sent))
        )

    def _shrink_limit(
        self, report: ErrorReport, sent: Mapping[str, Any], request: ChatRequest, *, too_long: bool
    ) -> str | None:
        limit = next((sent[name] for name in self._all_limit_names if name in sent), None)
        if limit is None:
            return None
        text, counts = f"{report.param} · {report.text}", parse_token_counts(report)
        learned = self._limits.learn(counts, text, limit, request, too_long=too_long)
        return "a smaller output limit" if learned else None

    def _stop_streaming(
        self, report: ErrorReport, text: str, sent: Mapping[str, Any]
    ) -> str | None:
        if not sent["stream"] or not (report.param == "stream" or NO_STREAM.search(text)):
            return None
        self._streams = False
        return "no streaming"

    def _drop_system_role(self, text: str, sent: Mapping[str, Any]) -> str | None:
        if not self._sent_system(sent) or not NO_SYSTEM.search(text):
            return None
        self._has_system_role = False
        return "no system role"

    def _sent_system(self, sent: Mapping[str, Any]) -> bool:
        return bool(sent["messages"][0]["role"] == Role.SYSTEM.value)

    def _sent_parameters(self, sent: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parameters in `sent`, by the names that errors use for them."""
        return sent

    def _drop_parameter(
        self, report: ErrorReport, text: str, sent: Mapping[str, Any]
    ) -> str | None:
        values = self._sent_parameters(sent)
        names = [name for name in (*self._all_limit_names, *self.optional) if name in values]
        name = rejected_parameter(report, text, names)
        if name is None:
            return None
        if name in self._limit_names:
            self._limit_names.remove(name)
        elif name == self.effort and REJECTED_VALUE.search(f"{' '.join(report.codes)} · {text}"):
            self._rejected_efforts.add(values[name])
            return f"no {name} {values[name]}"
        else:
            self._rejected.add(name)
        return f"no {name}"
