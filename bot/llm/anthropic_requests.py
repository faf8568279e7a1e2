"""Builds requests to Anthropic's Messages API, with workarounds learned from rejected ones.

Invariant: the same messages give the same blocks in every request, so that the prompt cache
recognizes the beginning that it shares with the previous request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bot.domain.conversations import ImagePart, Message, Role
from bot.domain.errors import ContextTooLong
from bot.domain.model import ChatRequest, ModelFacts
from bot.llm.error_report import ErrorReport
from bot.llm.images import ImageUploads
from bot.llm.output_limit import OutputLimit
from bot.llm.rejections import classify_rejection, rejected_parameter
from bot.llm.token_counts import parse_token_counts

DEFAULT_MAX_TOKENS = 16_384
"""The API requires a limit, reasoning included. The context budget leaves room for no more."""

OLDER_VERSION = "2023-06-01"
"""The last API version with `temperature`, which version 2026-10-21 removed
(https://platform.claude.com/docs/en/api/migration-2026-10-21)."""

_VERSION = "anthropic-version"
_CACHED_TURNS = 3
"""Together with the system prompt, these use the four cache breakpoints that a request may have."""

_OPTIONAL = ("cache_control", "output_config", "thinking", "temperature", _VERSION)
_IN_WORDS = {"output_config": "effort"}

# Since Claude 5, models think unless told otherwise, and stream their thinking only on request
# (https://platform.claude.com/docs/en/build-with-claude/thinking).
_THINKS = re.compile(r"claude-[a-z]+-([5-9]|[1-9]\d)(?!\d)", re.IGNORECASE)

_NO_TEXT = "(no text)"
_NO_BEGINNING = "(The beginning of the conversation is missing.)"


class _Turn(NamedTuple):
    """Consecutive messages of one role, because some gateways do not accept them separately."""

    role: Role
    blocks: list[dict[str, Any]]


class MessagesRequests:
    """Builds the requests to one model, which is named as on its server."""

    def __init__(self, model: str, facts: ModelFacts) -> None:
        self._facts = facts
        self._thinks = _THINKS.search(model) is not None
        self._rejected: set[str] = set()
        self._output_limit = OutputLimit()

    streams = True

    def parameters(self, request: ChatRequest, images: ImageUploads) -> dict[str, Any]:
        """The arguments of the client's method except the model's name.

        `images` holds the request's images; the arguments have placeholders for them.
        """
        rest = list(request.messages)
        system: list[dict[str, Any]] = []
        while rest and rest[0].role is Role.SYSTEM:
            content = rest.pop(0).content
            system += [_text(content)] if content.strip() else []
        turns = _turns(rest, images)
        if "cache_control" not in self._rejected:
            _set_breakpoints(system, turns)
        parameters: dict[str, Any] = {
            "max_tokens": self._output_limit.apply(request, self._max_tokens(request)),
            "messages": [{"role": turn.role.value, "content": turn.blocks} for turn in turns],
            "stream": True,
        }
        if system:
            parameters["system"] = system
        return parameters | self._options(request)

    def describe(self) -> Iterator[str]:
        """Describe the workarounds in words, for `doctor`."""
        for name in sorted(self._rejected - {_VERSION}):
            yield f"without {_IN_WORDS.get(name, name)}"
        if _VERSION in self._rejected:
            yield f"with {_VERSION} {OLDER_VERSION}"
        yield from self._output_limit.describe()

    @property
    def takes_temperature(self) -> bool | None:
        """False for models that always think, and once the server has rejected a temperature."""
        return False if self._thinks or "temperature" in self._rejected else None

    def _max_tokens(self, request: ChatRequest) -> int:
        facts = self._facts
        limit = request.max_tokens
        if limit is None:
            quarter = facts.window // 4 if facts.window else DEFAULT_MAX_TOKENS
            limit = min(DEFAULT_MAX_TOKENS, quarter)
        return max(1, min(limit, facts.max_output or limit, facts.window or limit))

    def _options(self, request: ChatRequest) -> dict[str, Any]:
        """The optional arguments that the server is not known to reject."""
        effort = request.effort if self._facts.effort is not False else None
        options: dict[str, Any] = {}
        if effort is not None and "output_config" not in self._rejected:
            options["output_config"] = {"effort": effort.value}
        thinks = self._thinks or effort is not None
        if thinks and "thinking" not in self._rejected:
            options["thinking"] = {"type": "adaptive", "display": "summarized"}
        elif request.temperature is not None and "temperature" not in self._rejected:
            # The range ends at 1 here, and thinking excludes any other temperature.
            options["extra_body"] = {"temperature": min(request.temperature, 1.0)}
        if "extra_body" in options or _VERSION in self._rejected:
            options["extra_headers"] = {_VERSION: OLDER_VERSION}
        return options

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
        text, limit = f"{report.param} · {report.text}", sent["max_tokens"]
        too_long, counts = error is ContextTooLong, parse_token_counts(report)
        if self._output_limit.learn(counts, text, limit, request, too_long=too_long):
            return "a smaller output limit"
        if too_long:
            return None
        name = rejected_parameter(report, text, self._sent_options(sent))
        if name is None:
            return None
        self._rejected.add(name)
        return f"no {_IN_WORDS.get(name, name)}"

    def _sent_options(self, sent: Mapping[str, Any]) -> list[str]:
        present = {*sent, *sent.get("extra_body", ()), "cache_control"}
        if _VERSION not in sent.get("extra_headers", ()):
            present.add(_VERSION)
        return [name for name in _OPTIONAL if name in present and name not in self._rejected]


# ── messages ──────────────────────────────────────────────────────────────────────────────────
def _turns(messages: Sequence[Message], images: ImageUploads) -> list[_Turn]:
    """Arrange the conversation as the API accepts it: a user begins, and no text is empty.

    A later system message becomes part of the user's turn, because only new models accept it there.
    """

    def image(part: ImagePart) -> dict[str, Any]:
        source = {"type": "base64", "media_type": part.media_type, "data": images.placeholder(part)}
        return {"type": "image", "source": source}

    turns: list[_Turn] = []
    for message in messages:
        role = Role.ASSISTANT if message.role is Role.ASSISTANT else Role.USER
        blocks = [
            block
            for block in images.blocks(message, text=_text, image=image)
            if block.get("text") is None or block["text"].strip()
        ]
        if not blocks and role is Role.ASSISTANT:
            continue
        blocks = blocks or [_text(_NO_TEXT)]
        if not turns and role is Role.ASSISTANT:
            turns.append(_Turn(Role.USER, [_text(_NO_BEGINNING)]))
        if turns and turns[-1].role is role:
            turns[-1].blocks.extend(blocks)
        else:
            turns.append(_Turn(role, blocks))
    if turns and turns[-1].role is Role.ASSISTANT:  # the model continues this text
        last = turns[-1].blocks[-1]
        last["text"] = last["text"].rstrip()
    return turns


def _set_breakpoints(system: list[dict[str, Any]], turns: Sequence[_Turn]) -> None:
    """Mark what the next request can find in the cache: the prompt, and the newest user turns.

    A breakpoint matches an earlier one up to 20 blocks before it, so the last one suffices while a
    conversation grows slowly. The previous ones mark where earlier requests ended: they match after
    many messages in between, or if the newest turn has changed since
    (https://platform.claude.com/docs/en/build-with-claude/prompt-caching).
    """
    users = [turn.blocks for turn in turns if turn.role is Role.USER]
    for blocks in (system, *users[-_CACHED_TURNS:]):
        if blocks:
            blocks[-1]["cache_control"] = {"type": "ephemeral"}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
