"""Reasoning that a server leaves in the text between tags, told apart from the answer; pure.

Invariant: only what stands between tags at the very beginning of an answer is reasoning; a tag
further on, or in code, is text. However the text is cut, what comes out is the same, and nothing of
it is lost: an answer whose tag is never closed is given out as text at its end.
"""

from __future__ import annotations

import re

# DeepSeek, Qwen, GLM and most others; models that were asked in a prompt; Gemini's compatible API.
_NAMES = ("think", "thinking", "thought", "thoughts", "reasoning")
_OPENING = {f"<{name}>": f"</{name}>" for name in _NAMES} | {
    "[THINK]": "[/THINK]",  # Mistral's Magistral
    "<seed:think>": "</seed:think>",  # ByteDance's Seed
    "◁think▷": "◁/think▷",  # Kimi
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|START_THINKING|>": "<|END_THINKING|>",  # Cohere, which opens the answer too
    "<|thinking|>": "<|/thinking|>",
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
    "<longcat_think>": "</longcat_think>",
    "<mm:think>": "</mm:think>",
    "<unused94>": "<unused95>",  # Google's MedGemma
    "<|channel>": "<channel|>",  # Gemma 4
}
# Special tokens that begin an answer, where a server leaves them in.
_BEGINNINGS = (
    "<|START_RESPONSE|>",
    "<|begin_of_solution|>",
    "<|im_start|>assistant",
    "<|begin_of_text|>",
    "<｜begin▁of▁sentence｜>",
)
TAGS = (*_OPENING, *_OPENING.values(), *_BEGINNINGS)
_LONGEST = max(map(len, TAGS))
_SPOKEN_ABOUT = re.compile(r" [a-z]")  # "<think> is a tag": after one that opens stands no word
UNOPENED = "</think>"
"""What ends reasoning whose opening tag was part of the prompt, in all templates that do that."""


class TagQuirk:
    """What one model's server was found to do: whether its answers begin inside the tags.

    Chat templates of some models put the opening tag into the prompt, so that only the closing one
    comes. The first such answer cannot be told from text before that; later ones can.
    `early_finish` tells that a finish reason comes with every chunk, and not with the last alone.
    """

    def __init__(self) -> None:
        self.unopened = False
        self.early_finish = False

    def notice(self, before: str, text: str) -> None:
        """See a piece of an answer, and the piece before it, that no tag began."""
        head, tag, _ = text.partition(UNOPENED)
        if tag and (before + head)[-1:] in ("", "\n"):  # a line begins with it: nobody quotes it so
            self.unopened = True


class ThinkTagParser:
    """Parts one answer: `feed` it pieces, then `flush`; each gives back (reasoning, text).

    Once it is `settled`, all that follows is text, and it need not be asked any more.
    """

    def __init__(self, habit: TagQuirk) -> None:
        self._habit = habit
        self._assumed = habit.unopened  # not yet known to be wrong
        self._held = ""  # too short to be told, or blanks before whatever comes
        self._opening = ""  # the tag that began the reasoning
        self._closing = ""  # the tag that ends the reasoning, while there is some
        self._thoughts: list[str] = []  # since the tag opened: perhaps it is the answer
        self._after = False  # blanks between reasoning and answer belong to neither
        self.settled = False

    def feed(self, piece: str) -> tuple[str, str]:
        """What can be told of the answer so far."""
        self._held += piece
        reasoning, text = [], ""
        while not self.settled:
            if self._closing:
                reasoning.append(self._think())
                if self._closing:
                    break
            elif not self._begin():
                break
        if self.settled:
            text, self._held = self._held, ""
        return "".join(reasoning), text

    def flush(self, cut: bool) -> tuple[str, str]:
        """What was held back, at the end of an answer; one that was `cut` has no answer to lose."""
        held, self._held, self.settled = self._held, "", True
        if not self._closing:
            return "", held
        thoughts = "".join((*self._thoughts, held))
        if self._assumed:
            # It did not close what it was taken to have opened: it was no such answer.
            self._habit.unopened = False
            return "", thoughts
        if _SPOKEN_ABOUT.match(thoughts):
            thoughts = self._opening + thoughts
        return (held, "") if cut else ("", thoughts)

    def _begin(self) -> bool:
        """Look for a tag where an answer begins; whether it is known how it goes on."""
        bare = self._held.lstrip()
        start = bare[:_LONGEST]
        tag = next((tag for tag in TAGS if start.startswith(tag)), None)
        if tag is not None:
            self._held = bare[len(tag) :]
            self._open(tag) if tag in _OPENING else self._close()
            return True
        if self._after:
            self._held = bare
        if any(tag.startswith(start) for tag in TAGS):
            return False
        if self._assumed and not self._after:
            self._closing = UNOPENED
        else:
            self.settled = True
        return True

    def _open(self, tag: str) -> None:
        if self._assumed:
            self._assumed = self._habit.unopened = False  # it does open them
        self._opening, self._closing = tag, _OPENING[tag]
        self._thoughts.clear()

    def _close(self) -> None:
        self._closing, self._after, self._assumed = "", True, False

    def _think(self) -> str:
        """The reasoning in what is held, up to the closing tag or what may become one."""
        held = self._held
        at = held.find(self._closing)
        if at >= 0:
            thought, self._held = held[:at], held[at + len(self._closing) :]
            self._close()
            return thought
        end = len(held) - _begun(held, self._closing)
        thought, self._held = held[:end], held[end:]
        self._thoughts.append(thought)
        return thought


def _begun(text: str, tag: str) -> int:
    """How many characters at the end of `text` are the beginning of `tag`."""
    most = min(len(text), len(tag) - 1)
    return next((n for n in range(most, 0, -1) if text.endswith(tag[:n])), 0)
