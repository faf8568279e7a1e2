"""Fenced Markdown inside a fence: finds the line that ends the outer block.

In CommonMark the first bare fence line ends a block, so a README in a `markdown` block falls apart
at its first inner example. This dialect nests instead: in a block whose language is Markdown,

- a fence line with a language opens an inner block, and the next bare fence line closes it;
- a bare fence line between an empty line and text opens an inner block too: a closing fence
  directly follows the last line of its block, and an empty line follows the fence;
- a bare line of at least six marks, longer than every open fence, closes all of them. Page breaks
  and mended text need one line that always ends the block.

A page that continues inside an inner block says so after the language (`markdown +3`: an inner
block of three backticks is open; `_`: the previous line was empty).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LANGUAGES = frozenset(("markdown", "md", "mdx", "gfm", "mkd", "rmd", "qmd"))
_LANGUAGE = re.compile(r"\s*[{.]{0,2}([\w+#.-]{1,40})")
_LINE = re.compile(r"[ \t]*+(`{3,}+|~{3,}+)[ \t]*+([^\n]*)")
_OPENING = re.compile(r"(`{3,}+|~{3,}+)([^\n`]*)\n")
_CONTINUED = re.compile(r"[+~]\d{1,3}")
_AFTER_BLANK = "_"
_CLOSES_ALL = 6


def language_of(info: str) -> str:
    """The language in an info string, also as `{.python}`, `js{1,3}` or `python:app.py`."""
    found = _LANGUAGE.match(info)
    return found[1] if found else ""


def contains_markdown(info: str) -> bool:
    """Whether a block with this info string contains Markdown."""
    words = info.split(maxsplit=1)
    return bool(words) and words[0].lower().strip("{}.") in LANGUAGES


@dataclass(slots=True)
class FenceStack:
    """The open fences of a Markdown block, outermost first; fed line by line."""

    info: str
    markup: str
    inner: list[tuple[str, bool]] = field(default_factory=list)  # (marks, contains Markdown)
    blank: bool = False  # the last line was empty
    ambiguous: bool = False  # the line that closed the block may turn out to open an inner one

    @classmethod
    def begin(cls, info: str, markup: str) -> FenceStack:
        """The stack after the block's first line, which may continue a block from another page."""
        words = info.split()
        inner = _CONTINUED.findall(words[1]) if len(words) > 1 else []
        marks = [("`" if each[0] == "+" else "~") * int(each[1:]) for each in inner]
        blank = words[1:2] == [_AFTER_BLANK]
        return cls(words[0] if words else "", markup, [(mark, False) for mark in marks], blank)

    @classmethod
    def reopened_by(cls, head: str) -> FenceStack | None:
        """The stack that a page's head reopens; None for a block without Markdown inside."""
        found = _OPENING.search(head)
        return cls.begin(found[2], found[1]) if found and contains_markdown(found[2]) else None

    @staticmethod
    def is_ambiguous(line: str) -> bool:
        """Whether only the next line decides if this line opens or closes a block."""
        found = _LINE.match(line)
        return found is not None and not found[2].strip()

    def feed(self, line: str, next_line: str | None = None) -> bool:
        """Process a line and return whether it ends the block.

        `next_line` is None if it has not arrived yet. Both come without their containers' markers.
        """
        blank, self.blank = self.blank, not line.strip()
        found = _LINE.match(line)
        if found is None:
            return False
        if blank and not self.inner and _is_text(next_line) and not found[2].strip():
            self.inner.append((found[1], False))
            return False
        self.ambiguous = blank
        return self._feed_fence(line, found)

    def _feed_fence(self, line: str, found: re.Match[str]) -> bool:
        marks, info = found[1], found[2].strip()
        if info:
            self._open_inner(marks, info)
            return False
        if marks[0] == self.markup[0] and len(marks) >= self._all_closing_length:
            return True
        top = self.inner[-1][0] if self.inner else self.markup
        if marks[0] == top[0] and len(marks) >= len(top):
            if not self.inner:
                return len(line) - len(line.lstrip(" ")) <= 3
            self.inner.pop()
        elif marks[0] != top[0] and self._contains_markdown:
            self.inner.append((marks, False))
        return False

    @property
    def closing_line(self) -> str:
        """The line that closes every open fence."""
        return self.markup[0] * self._all_closing_length if self.inner else self.markup

    @property
    def opening_line(self) -> str:
        """The line that reopens the block with the same open fences."""
        depth = "".join(f"{'+' if mark[0] == '`' else '~'}{len(mark)}" for mark, _ in self.inner)
        return f"{self.markup}{self.info} {depth or _AFTER_BLANK * self.blank}".rstrip()

    @property
    def _all_closing_length(self) -> int:
        longest = max(len(mark) for mark in (self.markup, *(mark for mark, _ in self.inner)))
        return max(_CLOSES_ALL, longest + 1)

    @property
    def _contains_markdown(self) -> bool:
        return self.inner[-1][1] if self.inner else True

    def _open_inner(self, marks: str, info: str) -> None:
        if self._contains_markdown and not (marks[0] == "`" and "`" in info):
            self.inner.append((marks, contains_markdown(info)))


def _is_text(line: str | None) -> bool:
    """Whether a line has arrived and is neither empty nor a fence line (unless that closes all)."""
    if line is None or not line.strip():
        return False
    fence = _LINE.match(line)
    return fence is None or (len(fence[1]) >= _CLOSES_ALL and not fence[2].strip())
