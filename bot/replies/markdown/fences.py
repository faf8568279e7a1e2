"""Fenced Markdown inside a fence: where the outer block really ends.

By CommonMark the first bare fence line ends a block, so a README in a `markdown` block falls apart
at its first inner example. In a block whose language is Markdown, a fence line with a language
begins an inner block, and the next bare one ends that; so the outer block closes at its own end. A
bare line between an empty line and text begins one, too: the end of a block follows its last line,
and is followed by an empty one.

A bare line of at least six marks, longer than every open fence, ends all of them: our own cuts and
mended ends need one line that does. A page that goes on inside an inner block says so behind the
language (`markdown +3`: an inner block of three backticks is open; `_`: after an empty line).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LANGUAGES = frozenset(("markdown", "md", "mdx", "gfm", "mkd", "rmd", "qmd"))
_LINE = re.compile(r"[ \t]*+(`{3,}+|~{3,}+)[ \t]*+([^\n]*)")
_OPENING = re.compile(r"(`{3,}+|~{3,}+)([^\n`]*)\n")
_CONTINUED = re.compile(r"[+~]\d{1,3}")
_AFTER_BLANK = "_"
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
    blank: bool = False  # whether the last line was empty
    doubtful: bool = False  # whether the line that ends the block may turn out to begin one

    @classmethod
    def of(cls, info: str, markup: str) -> Nesting:
        """As a block begins, or goes on from another page."""
        words = info.split()
        inner = _CONTINUED.findall(words[1]) if len(words) > 1 else []
        marks = [("`" if each[0] == "+" else "~") * int(each[1:]) for each in inner]
        blank = words[1:2] == [_AFTER_BLANK]
        return cls(words[0] if words else "", markup, [(mark, False) for mark in marks], blank)

    @classmethod
    def opened_by(cls, head: str) -> Nesting | None:
        """What the head of a page opens again; None for a block without Markdown inside."""
        found = _OPENING.search(head)
        return cls.of(found[2], found[1]) if found and nests(found[2]) else None

    @staticmethod
    def may_begin(line: str) -> bool:
        """Whether it depends on the next line what this one is."""
        found = _LINE.match(line)
        return found is not None and not found[2].strip()

    def take(self, line: str, following: str | None = None) -> bool:
        """Whether the block ends with this line; `following` is the next one, if it has come.

        Both are bare of their containers' marks.
        """
        blank, self.blank = self.blank, not line.strip()
        found = _LINE.match(line)
        if found is None:
            return False
        if blank and not self.inner and _begins_text(following) and not found[2].strip():
            self.inner.append((found[1], False))
            return False
        self.doubtful = blank
        return self._take(line, found)

    def _take(self, line: str, found: re.Match[str]) -> bool:
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
        return f"{self.markup}{self.info} {depth or _AFTER_BLANK * self.blank}".rstrip()

    @property
    def _contains_markdown(self) -> bool:
        return self.inner[-1][1] if self.inner else True

    def _begin(self, marks: str, info: str) -> bool:
        if self._contains_markdown and not (marks[0] == "`" and "`" in info):
            self.inner.append((marks, nests(info)))
        return False


def _begins_text(following: str | None) -> bool:
    """Whether a line is neither missing, nor empty, nor a fence that others end with."""
    if following is None or not following.strip():
        return False
    fence = _LINE.match(following)
    return fence is None or (len(fence[1]) >= _ENDS_ALL and not fence[2].strip())
