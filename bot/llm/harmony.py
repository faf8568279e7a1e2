"""Harmony, the wrapper of gpt-oss, where a server leaves it in the text; pure.

    <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…<|return|>

The channel `final` is the answer, every other one is reasoning. Servers that skip special tokens
leave `analysis…assistantfinal…`. Invariant: only an answer that begins so is parted; in every other
one, and inside a channel, these tokens are text, unless they stand where the format wants them. The
format: https://github.com/openai/harmony/blob/main/docs/format.md
"""

from __future__ import annotations

import re

_OPENINGS = ("<|channel|>", "<|start|>")
_MESSAGE = "<|message|>"
_LONGEST_HEADER = 200  # characters: role, recipient, channel and content type
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_END = r"<\|(?:end|return|call)\|>"
_ENDED = re.compile(_END + r"\s*$")
# Where the next message begins: after a reasoning channel its end may be missing.
_NEXT_AFTER_THOUGHT = re.compile(rf"(?:{_END}\s*)?(?=<\|(?:start|channel)\|>)")
_NEXT = re.compile(rf"{_END}\s*(?=<\|(?:start|channel)\|>)")
# The end of a piece that may become one of these.
_BEGUN = re.compile(rf"{_END}\s*(?:<(?:\|[a-z]*\|?)?)?$|<(?:\|[a-z]*\|?)?$")

_BARE, _BARE_FINAL = "analysis", "assistantfinal"


class HarmonyParser:
    """Parts one answer: `feed` it pieces, then `flush`; each gives back (reasoning, text).

    Once it is `settled`, all that follows is text, and it need not be asked any more.
    """

    def __init__(self) -> None:
        self._held = ""
        self._step = self._begin
        self._channel = ""
        self._thoughts: list[str] = []  # of an answer without tokens: perhaps it is no harmony
        self.settled = False

    def feed(self, piece: str) -> tuple[str, str]:
        """What can be told of the answer so far."""
        self._held += piece
        reasoning, text = "", ""
        while True:
            step, held = self._step, self._held
            thought, said = step()
            reasoning, text = reasoning + thought, text + said
            if self.settled or (self._step == step and self._held == held) or not self._held:
                return reasoning, text

    def flush(self, cut: bool) -> tuple[str, str]:
        """What was held back, at the end of an answer; `cut` tells that its limit ended it."""
        held, self._held, self.settled = self._held, "", True
        if self._step == self._header:
            return ("", "") if self._channel else ("", held)
        if self._step == self._bare:
            return (held, "") if cut else ("", "".join((_BARE, *self._thoughts, held)))
        if self._step == self._body:
            return self._said(_ENDED.sub("", held))
        return "", held

    # ── steps: each takes what it can from what is held ───────────────────────────────────────
    def _begin(self) -> tuple[str, str]:
        bare = self._held.lstrip()
        if any(bare.startswith(opening) for opening in _OPENINGS):
            self._held, self._step = bare, self._header
        elif bare.startswith(_BARE) and len(bare) > len(_BARE):
            if not bare[len(_BARE)].isupper():
                return self._plain()
            self._held, self._step = bare[len(_BARE) :], self._bare
        elif not any(opening.startswith(bare) for opening in (*_OPENINGS, _BARE)):
            return self._plain()
        return "", ""

    def _plain(self) -> tuple[str, str]:
        held, self._held, self.settled = self._held, "", True
        return "", held

    def _header(self) -> tuple[str, str]:
        head, message, rest = self._held.partition(_MESSAGE)
        if message and len(head) <= _LONGEST_HEADER:
            named = _CHANNEL.search(head)
            # A message without a channel is an answer.
            self._channel, self._held = named.group(1) if named else "final", rest
            self._step = self._body
        elif message or len(self._held) > _LONGEST_HEADER:
            if not self._channel:
                return self._plain()
            self._step = self._body  # it only spoke of the token
            said, self._held = self._held[:2], self._held[2:]
            return self._said(said)
        return "", ""

    def _body(self) -> tuple[str, str]:
        next_message = _NEXT if self._channel == "final" else _NEXT_AFTER_THOUGHT
        found = next_message.search(self._held)
        if found is not None:
            said, self._held = self._held[: found.start()], self._held[found.end() :]
            self._step = self._header
            return self._said(said)
        begun = _BEGUN.search(self._held)
        end = begun.start() if begun is not None else len(self._held)
        said, self._held = self._held[:end], self._held[end:]
        return self._said(said)

    def _bare(self) -> tuple[str, str]:
        thought, final, rest = self._held.partition(_BARE_FINAL)
        if final:
            self._held, self.settled = "", True
            return thought, rest
        most = len(_BARE_FINAL) - 1
        begun = next((n for n in range(most, 0, -1) if self._held.endswith(_BARE_FINAL[:n])), 0)
        end = len(self._held) - begun
        thought, self._held = self._held[:end], self._held[end:]
        self._thoughts.append(thought)
        return thought, ""

    def _said(self, text: str) -> tuple[str, str]:
        return ("", text) if self._channel == "final" else (text, "")
