"""Drops special tokens that a server leaves at the end of an answer.

Invariant: only tokens at the very end of the answer are dropped. Earlier tokens are text; so is a
token at the end that the answer mentions in code, or after a quotation mark, a word or a colon.
"""

from __future__ import annotations

TOKENS = (
    "<|im_end|>",  # ChatML: Qwen, Yi, Hermes
    "<|endoftext|>",
    "<|eot_id|>",  # Llama 3
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|eot|>",  # Llama 4
    "<|end|>",  # Phi, harmony
    "<|return|>",
    "<|end_of_turn|>",  # OpenChat
    "<end_of_turn>",  # Gemma
    "<turn|>",  # Gemma 4
    "<|END_OF_TURN_TOKEN|>",  # Cohere
    "<|END_RESPONSE|>",
    "<|end_of_solution|>",
    "<｜end▁of▁sentence｜>",  # DeepSeek
    "<|end▁of▁sentence|>",
    "<|end_of_role|>",
    "<|im_sep|>",
    "<|user|>",  # GLM ends its answers with it
    "<|observation|>",
    "<|endofprompt|>",
    "<|eos|>",
    "<|/s|>",
    "<eos>",
    "</s>",  # Llama 2, Mistral
    "<EOS>",
    "<|EOT|>",
    "<EOT>",
)
_LONGEST = max(map(len, TOKENS))
_CONTEXT = 400
"""Characters kept from before the token, to judge whether the answer mentions it."""

_OPENING_QUOTES = frozenset("\"'“‘«„「『(`[")
_SENTENCE_ENDS = frozenset('.!?…。！？؟)]*_`"”»」』')


class TrailingTokenFilter:
    """Holds back a possible token at the end: call `feed` for each piece, then `flush`."""

    def __init__(self) -> None:
        self._held = ""
        self._before = ""  # the last text that was returned

    def feed(self, piece: str) -> str:
        """Take a piece; return the text that is certain so far."""
        if not self._held and "<" not in piece:
            self._before = (self._before + piece)[-_CONTEXT:]
            return piece
        text = self._held + piece
        end = _trailing_start(text)
        certain, self._held = text[:end], text[end:]
        self._before = (self._before + certain)[-_CONTEXT:]
        return certain

    def flush(self, cut: bool) -> str:
        """The held text unless it is a trailing token, which a `cut` answer never has."""
        held, self._held = self._held, ""
        complete = _trailing_start(held + "\n") == 0 and held.rstrip().endswith(TOKENS)
        return held if cut or not complete or self._is_mentioned(held) else ""

    def _is_mentioned(self, token: str) -> bool:
        before, line = self._before, self._before.rpartition("\n")[2]
        if line.count("`") % 2 or ("<s>" in before and token.startswith("</s>")):
            return True
        last = before.rstrip()[-1:]
        if before == before.rstrip():
            return last != "" and last in _OPENING_QUOTES
        if before.endswith("\n"):
            return last in (":", "：")
        return last not in _SENTENCE_ENDS


def _trailing_start(text: str) -> int:
    """The start of the tokens at the end of `text`; the last one may be incomplete."""
    end = len(text)
    at = text.rfind("<", max(0, end - _LONGEST))
    if at >= 0 and any(token.startswith(text[at:]) for token in TOKENS):
        end = at
    while (stripped := text[:end].rstrip()).endswith(TOKENS):
        end = len(stripped) - len(next(token for token in TOKENS if stripped.endswith(token)))
    return end
