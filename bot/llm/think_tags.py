"""Separates reasoning from the answer where a server leaves it in the text between tags.

Invariant: only tags at the very beginning of an answer mark reasoning; later tags, and tags in
code, are text. The result does not depend on how the text is split into pieces, and nothing is
lost: if a tag is never closed, the whole answer comes out as text at its end.
"""

from __future__ import annotations

import re

# DeepSeek, Qwen, GLM and most others; models prompted to think; Gemini's compatible API.
_NAMES = ("think", "thinking", "thought", "thoughts", "reasoning")
_OPENING = {f"<{name}>": f"</{name}>" for name in _NAMES} | {
    "[THINK]": "[/THINK]",  # Mistral's Magistral
    "<seed:think>": "</seed:think>",  # ByteDance's Seed
    "◁think▷": "◁/think▷",  # Kimi
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|START_THINKING|>": "<|END_THINKING|>",  # Cohere, which also tags the answer
    "<|thinking|>": "<|/thinking|>",
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
    "<longcat_think>": "</longcat_think>",
    "<mm:think>": "</mm:think>",
    "<unused94>": "<unused95>",  # Google's MedGemma
    "<|channel>": "<channel|>",  # Gemma 4
}
# Special tokens that some servers leave at the beginning of an answer.
_BEGINNINGS = (
    "<|START_RESPONSE|>",
    "<|begin_of_solution|>",
    "<|im_start|>assistant",
    "<|begin_of_text|>",
    "<｜begin▁of▁sentence｜>",
)
TAGS = (*_OPENING, *_OPENING.values(), *_BEGINNINGS)
_LONGEST = max(map(len, TAGS))
_MENTION = re.compile(r" [a-z]")  # "<think> is a tag": the model writes about the tag
CLOSING_ONLY = ("</think>", "<channel|>")
"""Tags that end reasoning whose opening tag was part of the prompt, or was stripped as a special
token (Gemma 4 on vLLM)."""
_BEFORE_CLOSING = ("", "\n", *".!?…。！？")
"""What precedes such a tag; text about tags quotes one, or writes a blank before it."""


class StreamQuirks:
    """What earlier answers revealed about how one model's server streams.

    `starts_inside_tag`: the chat template puts the opening tag into the prompt, so only the closing
    tag, `closing_tag`, arrives. The first such answer looks like text until that tag; later ones do
    not.
    `reason_on_every_chunk`: every chunk has a finish reason, not just the last.
    """

    def __init__(self) -> None:
        self.starts_inside_tag = False
        self.closing_tag = CLOSING_ONLY[0]
        self.reason_on_every_chunk = False

    def detect_unopened_tag(self, before: str, text: str) -> None:
        """Look for a closing tag after a line or a sentence in `text`; `before` precedes `text`."""
        for closing in CLOSING_ONLY:
            head, tag, _ = text.partition(closing)
            if tag and (before + head)[-1:] in _BEFORE_CLOSING:
                self.starts_inside_tag, self.closing_tag = True, closing


class ThinkTagParser:
    """Parses one answer: call `feed` for each piece, then `flush`; each returns (reasoning, text).

    Once `settled` is true, the rest of the answer is text and needs no more parsing.
    """

    def __init__(self, quirks: StreamQuirks) -> None:
        self._quirks = quirks
        self._assumed_open = quirks.starts_inside_tag  # until this answer disproves it
        self._held = ""  # a possible start of a tag, or blanks
        self._opening = ""  # the tag that began the reasoning
        self._closing = ""  # the tag that will end the reasoning; empty outside reasoning
        self._reasoning: list[str] = []  # since the opening tag; text if the tag never closes
        self._after_reasoning = False  # blanks between reasoning and answer are dropped
        self.settled = False

    def feed(self, piece: str) -> tuple[str, str]:
        """Take a piece; return the reasoning and text that are certain so far."""
        self._held += piece
        reasoning, text = [], ""
        while not self.settled:
            if self._closing:
                reasoning.append(self._take_reasoning())
                if self._closing:
                    break
            elif not self._find_tag():
                break
        if self.settled:
            text, self._held = self._held, ""
        return "".join(reasoning), text

    def flush(self, cut: bool) -> tuple[str, str]:
        """Return the held-back rest at the end of the answer.

        If the reasoning never ended, it is the answer, unless a limit `cut` it off.
        """
        held, self._held, self.settled = self._held, "", True
        if not self._closing:
            return "", held
        reasoning = "".join((*self._reasoning, held))
        if self._assumed_open:
            # No closing tag came, so the answer did not start inside a tag.
            self._quirks.starts_inside_tag = False
            return "", reasoning
        if _MENTION.match(reasoning):
            reasoning = self._opening + reasoning
        return (held, "") if cut else ("", reasoning)

    def _find_tag(self) -> bool:
        """Consume a tag at the start of the answer; False if more text is needed to decide."""
        stripped = self._held.lstrip()
        start = stripped[:_LONGEST]
        tag = next((tag for tag in TAGS if start.startswith(tag)), None)
        if tag is not None:
            self._held = stripped[len(tag) :]
            self._open(tag) if tag in _OPENING else self._close()
            return True
        if self._after_reasoning:
            self._held = stripped
        if any(tag.startswith(start) for tag in TAGS):
            return False
        if self._assumed_open and not self._after_reasoning:
            self._closing = self._quirks.closing_tag
        else:
            self.settled = True
        return True

    def _open(self, tag: str) -> None:
        if self._assumed_open:
            self._assumed_open = self._quirks.starts_inside_tag = False
        self._opening, self._closing = tag, _OPENING[tag]
        self._reasoning.clear()

    def _close(self) -> None:
        self._closing, self._after_reasoning, self._assumed_open = "", True, False

    def _take_reasoning(self) -> str:
        """Consume the reasoning up to the closing tag, or to what may be the start of that tag."""
        held = self._held
        at = held.find(self._closing)
        if at >= 0:
            reasoning, self._held = held[:at], held[at + len(self._closing) :]
            self._close()
            return reasoning
        end = len(held) - partial_tag_length(held, self._closing)
        reasoning, self._held = held[:end], held[end:]
        self._reasoning.append(reasoning)
        return reasoning


def partial_tag_length(text: str, tag: str) -> int:
    """How many characters at the end of `text` may be the start of `tag`."""
    longest = min(len(text), len(tag) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(tag[:n])), 0)
