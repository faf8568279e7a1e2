"""Parses harmony, the response format of gpt-oss, where a server leaves it in the text.

    <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…<|return|>

The channel `final` is the answer; all other channels are reasoning. Servers that strip special
tokens send `analysis…assistantfinal…` instead. Invariant: only an answer that begins like this is
parsed; anywhere else, and inside a channel except where the format expects them, the tokens are
text. Format: https://github.com/openai/harmony/blob/main/docs/format.md
"""

from __future__ import annotations

import re

from bot.llm.think_tags import partial_tag_length

_OPENINGS = ("<|channel|>", "<|start|>")
_MESSAGE = "<|message|>"
_MAX_HEADER = 200  # characters: role, recipient, channel and content type
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_END = r"<\|(?:end|return|call)\|>"
_AT_END = re.compile(_END + r"\s*$")
# Where the next message begins; a reasoning message may lack its end token.
_NEXT_AFTER_REASONING = re.compile(rf"(?:{_END}\s*)?(?=<\|(?:start|channel)\|>)")
_NEXT_AFTER_FINAL = re.compile(rf"{_END}\s*(?=<\|(?:start|channel)\|>)")
# A partial match of one of these at the end of a piece.
_PARTIAL = re.compile(rf"{_END}\s*(?:<(?:\|[a-z]*\|?)?)?$|<(?:\|[a-z]*\|?)?$")

_BARE, _BARE_FINAL = "analysis", "assistantfinal"


class HarmonyParser:
    """Parses one answer: call `feed` for each piece, then `flush`; each returns (reasoning, text).

    Once `settled` is true, the rest of the answer is text and needs no more parsing.
    """

    def __init__(self) -> None:
        self._held = ""
        self._step = self._begin
        self._channel = ""
        self._reasoning: list[str] = []  # without special tokens; text if `final` never comes
        self.settled = False

    def feed(self, piece: str) -> tuple[str, str]:
        """Take a piece; return the reasoning and text that are certain so far."""
        self._held += piece
        reasoning, text = "", ""
        while True:
            step, held = self._step, self._held
            more_reasoning, more_text = step()
            reasoning, text = reasoning + more_reasoning, text + more_text
            if self.settled or (self._step == step and self._held == held) or not self._held:
                return reasoning, text

    def flush(self, cut: bool) -> tuple[str, str]:
        """Return the held-back rest at the end of the answer. `cut`: a limit ended the answer."""
        held, self._held, self.settled = self._held, "", True
        if self._step == self._header:
            return ("", "") if self._channel else ("", held)
        if self._step == self._bare:
            return (held, "") if cut else ("", "".join((_BARE, *self._reasoning, held)))
        if self._step == self._body:
            return self._route(_AT_END.sub("", held))
        return "", held

    # ── steps: each consumes what it can of the held text ─────────────────────────────────────
    def _begin(self) -> tuple[str, str]:
        stripped = self._held.lstrip()
        if any(stripped.startswith(opening) for opening in _OPENINGS):
            self._held, self._step = stripped, self._header
        elif stripped.startswith(_BARE) and len(stripped) > len(_BARE):
            if not stripped[len(_BARE)].isupper():
                return self._settle()
            self._held, self._step = stripped[len(_BARE) :], self._bare
        elif not any(opening.startswith(stripped) for opening in (*_OPENINGS, _BARE)):
            return self._settle()
        return "", ""

    def _settle(self) -> tuple[str, str]:
        held, self._held, self.settled = self._held, "", True
        return "", held

    def _header(self) -> tuple[str, str]:
        header, message, rest = self._held.partition(_MESSAGE)
        if message and len(header) <= _MAX_HEADER:
            channel = _CHANNEL.search(header)
            # A message without a channel is an answer.
            self._channel, self._held = channel.group(1) if channel else "final", rest
            self._step = self._body
        elif message or len(self._held) > _MAX_HEADER:
            if not self._channel:
                return self._settle()
            self._step = self._body  # not a header: the text mentions the token
            start, self._held = self._held[:2], self._held[2:]
            return self._route(start)
        return "", ""

    def _body(self) -> tuple[str, str]:
        boundary = _NEXT_AFTER_FINAL if self._channel == "final" else _NEXT_AFTER_REASONING
        found = boundary.search(self._held)
        if found is not None:
            body, self._held = self._held[: found.start()], self._held[found.end() :]
            self._step = self._header
            return self._route(body)
        partial = _PARTIAL.search(self._held)
        end = partial.start() if partial is not None else len(self._held)
        body, self._held = self._held[:end], self._held[end:]
        return self._route(body)

    def _bare(self) -> tuple[str, str]:
        reasoning, final, rest = self._held.partition(_BARE_FINAL)
        if final:
            self._held, self.settled = "", True
            return reasoning, rest
        end = len(self._held) - partial_tag_length(self._held, _BARE_FINAL)
        reasoning, self._held = self._held[:end], self._held[end:]
        self._reasoning.append(reasoning)
        return reasoning, ""

    def _route(self, text: str) -> tuple[str, str]:
        return ("", text) if self._channel == "final" else (text, "")
