"""A reporter of contexts whose reports a test sets."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.domain.context import ContextPart, ContextPartKind, ContextReport
from bot.domain.conversations import ConversationKey

REPORT = ContextReport(
    model="ollama/llama3.1:8b",
    budget=24_000,
    window=32_768,
    parts=(
        ContextPart(ContextPartKind.PROMPT, 350),
        ContextPart(ContextPartKind.SUMMARY, 900),
        ContextPart(ContextPartKind.MESSAGES, 7_400, 42),
        ContextPart(ContextPartKind.FILES, 550, 2),
    ),
    cached_tokens=8_000,
    summarized=120,
    left_out=1,
    summary="Ann planted **roses**; <@1> watered them.",
)


@dataclass
class FixedReporter:
    """Implements `bot.ports.context.ContextReporter`."""

    reports: dict[ConversationKey, ContextReport] = field(default_factory=dict)

    async def report(self, key: ConversationKey) -> ContextReport | None:
        return self.reports.get(key)
