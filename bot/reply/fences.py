"""Fenced Markdown inside a fence: where the outer block really ends.

By CommonMark the first bare fence line ends a block, so a README in a `markdown` block falls apart
at its first inner example. In a block whose language is Markdown, a fence line with a language
begins an inner block, and the next bare one ends that; so the outer block closes at its own end.

A bare line of at least six marks, longer than every open fence, ends all of them: our own cuts and
mended ends need one line that does. A page that goes on inside an inner block says so behind the
language (`markdown +3`: an inner block of three backticks is open).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LANGUAGES = frozenset(("markdown", "md", "mdx", "gfm", "mkd", "rmd", "qmd"))
_LINE = re.compile(r"[ \t]*+(`{3,}+|~{3,}+)[ \t]*+([^\n]*)")
_OPENING = re.compile(r"(`{3,}+|~{3,}+)([^\n`]*)\n")
_CONTINUED = re.compile(r"[+~]\d{1,3}")
_ENDS_ALL = 6


def nests(info: str) -> bool:
    """Whether a block with this info string contains Markdown."""
    words = info.split(maxsplit=1)
    return bool(words) and words[0].lower().strip("{}.") in LANGUAGES


@dataclass(slots=True)
class Nesting:
    """The fences that are open: the outer block's first."""

    info: str
    markup: str
    inner: list[tuple[str, bool]] = field(default_factory=list)  # its marks; contains Markdown

    @classmethod
    def of(cls, info: str, markup: str) -> Nesting:
        """As a block begins, or goes on from another page."""
        words = info.split()
        inner = _CONTINUED.findall(words[1]) if len(words) > 1 else []
        marks = [("`" if each[0] == "+" else "~") * int(each[1:]) for each in inner]
        return cls(words[0] if words else "", markup, [(mark, False) for mark in marks])

    @classmethod
    def opened_by(cls, head: str) -> Nesting | None:
        """What the head of a page opens again; None for a block without Markdown inside."""
        found = _OPENING.search(head)
        return cls.of(found[2], found[1]) if found and nests(found[2]) else None

    def take(self, line: str) -> bool:
        """Whether the block ends with this line, bare of its containers' marks."""
        found = _LINE.match(line)
        if found is None:
            return False
        marks, info = found[1], found[2].strip()
        if info:
            return self._begin(marks, info)
        longest = max(len(mark) for mark in (self.markup, *(mark for mark, _ in self.inner)))
        if marks[0] == self.markup[0] and len(marks) >= max(_ENDS_ALL, longest + 1):
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
    def closer(self) -> str:
        """The line that ends the block here."""
        if not self.inner:
            return self.markup
        longest = max(len(mark) for mark in (self.markup, *(mark for mark, _ in self.inner)))
        return self.markup[0] * max(_ENDS_ALL, longest + 1)

    @property
    def opening(self) -> str:
        """The line that begins the block here again."""
        depth = "".join(f"{'+' if mark[0] == '`' else '~'}{len(mark)}" for mark, _ in self.inner)
        return f"{self.markup}{self.info} {depth}".rstrip()

    @property
    def _contains_markdown(self) -> bool:
        return self.inner[-1][1] if self.inner else True

    def _begin(self, marks: str, info: str) -> bool:
        if self._contains_markdown and not (marks[0] == "`" and "`" in info):
            self.inner.append((marks, nests(info)))
        return False
