"""A special token that a server leaves at the end of an answer is no text; pure.

Invariant: only what ends the whole answer is dropped. A token further on is text, and so is one at
the end that is spoken about: in code, after a quotation mark, after a word and a blank, after a
colon.
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
    "<|END_OF_TURN_TOKEN|>",  # Cohere
    "<|END_RESPONSE|>",
    "<|end_of_solution|>",
    "<｜end▁of▁sentence｜>",  # DeepSeek
    "<|end▁of▁sentence|>",
    "<|end_of_role|>",
    "<|im_sep|>",
    "<|user|>",  # GLM stops with it
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
_SEEN = 400
"""Characters before the token that are kept: its line, and what stands before it."""

_OPENING_QUOTES = frozenset("\"'“‘«„「『(`[")
_SENTENCE_ENDS = frozenset('.!?…。！？؟)]*_`"”»」』')


class TrailingTokens:
    """Holds back what may be such a token: `feed` it pieces, then `flush`."""

    def __init__(self) -> None:
        self._held = ""
        self._seen = ""

    def feed(self, piece: str) -> str:
        """What is text of the answer, whatever follows."""
        if not self._held and "<" not in piece:
            self._seen = (self._seen + piece)[-_SEEN:]
            return piece
        text = self._held + piece
        end = _held_from(text)
        said, self._held = text[:end], text[end:]
        self._seen = (self._seen + said)[-_SEEN:]
        return said

    def flush(self, cut: bool) -> str:
        """The end; an answer that its limit cut ends with no token of the server's."""
        held, self._held = self._held, ""
        whole = _held_from(held + "\n") == 0 and held.rstrip().endswith(TOKENS)
        return held if cut or not whole or self._spoken_about(held) else ""

    def _spoken_about(self, token: str) -> bool:
        seen, line = self._seen, self._seen.rpartition("\n")[2]
        if line.count("`") % 2 or ("<s>" in seen and token.startswith("</s>")):
            return True
        last = seen.rstrip()[-1:]
        if seen == seen.rstrip():
            return last != "" and last in _OPENING_QUOTES
        if seen.endswith("\n"):
            return last in (":", "：")
        return last not in _SENTENCE_ENDS


def _held_from(text: str) -> int:
    """Where the tokens at the end begin, the last of which may be incomplete."""
    end = len(text)
    at = text.rfind("<", max(0, end - _LONGEST))
    if at >= 0 and any(token.startswith(text[at:]) for token in TOKENS):
        end = at
    while (bare := text[:end].rstrip()).endswith(TOKENS):
        end = len(bare) - len(next(token for token in TOKENS if bare.endswith(token)))
    return end
