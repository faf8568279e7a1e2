"""Documents whose rendering may change with every further character: markers that open and close in
long paragraphs, tables with odd rows, code with fences inside."""

from __future__ import annotations

import random
import re

from adapters.web.render import html_of
from bot.replies.markdown.mend import mend

_PLAIN_WORDS = (
    "word ", "foo bar ", "*em* ", "**b** ", "_u_ ", "snake_case ", "`code` ", "``a`b`` ",
    "[l](https://e.org) ", "[l](https://e.org 'a b') ", "<https://e.org> ", "2 * 3 ",
    "https://e.org/a_b_c ", "~~s~~ ", "&amp; ", "日本 ", "😀 ", "\n",
)  # fmt: skip
_WORDS = (
    *_PLAIN_WORDS, "*open ", "close* ", "` ", "[a ", "b] ", "](c ", "![i](https://e.org/i) ",
    "$5 and $6 ", "$x_1$ ", "[^1] ", "$ ", "\\(a ", "b\\) ", "\\` ", "\\* ", "~~ ", "| ", "a|b ",
    "& ", "1. ", "- ", "# ", "> ", "  ", " \n", "  \n", "\\\n", "**注意：**请 ", "*** ", "___ ",
    "= ", "---\n", "===\n", "$$ ", "$$a ", "=b$$ ", "[x]\n", "!", "(", ") ", '"q" ', "<b>",
)  # fmt: skip
_ROWS = (
    "|a|b|\n", "|`x|y`|b|\n", "| a | b | c |\n", "|a\n", "a|b\n", "|*x|y*|\n", "| $a|b$ | c |\n",
    "|<b>|<br>|\n", "|  |\n", "- x\n", "\n", "    x|y\n", "> q\n",
)  # fmt: skip
_CODE = ("def f():\n", "  <x>\n", "\n", "text", "a & b\n", "```\n", "``` x\n", "~~~\n", "\ttab\n")
_OTHER = (
    "# Head\n\n", "- a\n- b\n\n- c\n", "> quote\n\n", "1. one\n   - two\n", "***\n",
    "- [ ] to do\n- [x] *done*\n", "[^1]: a note\n", "[^1]: a note\n\n    - with\n    - items\n\n",
    "$$\nx_1 = 2\n$$\n\n", "\\[ a_1 \\]\n",
)  # fmt: skip

PLAIN = {
    "paragraph": "Plain words in one long line, and `code` & more of it. " * 30,
    "table": "|left|right|\n|-|-|\n" + "|some words|more words|\n" * 40,
    "code": "```python\n" + "value = other < 3  # and a comment\n" * 80,
}
"""Documents in which existing output never changes; their code is too long for colors."""

LONG = {
    "paragraph": "Plain words in one long line, and `code` & *more* of it. " * 180,
    "plain paragraph": "Words without any marks, in one long line. " * 250,
    "table": "|left|right|\n|-|-|\n" + "|some words|`more` words|\n" * 330,
}
"""Documents that the page lays out in parts while they grow."""


def html_while_growing(text: str) -> str:
    """What the page shows of a reply that has grown to `text`, rendered from scratch."""
    return html_of(mend(text).text)


def document(seed: int) -> str:
    """A document of one to three long blocks, the same for the same seed."""
    chance = random.Random(seed)
    blocks = "".join(_block(chance) for _ in range(chance.randint(1, 3)))
    return re.sub(r"(?<!\[\^1)\]:", "]", blocks)  # a definition also changes text above it


def _block(chance: random.Random) -> str:
    """Build a block; half of the blocks are harmless, so that they have cuts."""
    wild, kind = chance.random() < 0.5, chance.random()
    if kind < 0.5:
        words = _WORDS if wild else _PLAIN_WORDS
        return "".join(chance.choices(words, k=chance.randint(10, 50))) + "\n\n"
    if kind < 0.7:
        rows = chance.choices(_ROWS if wild else _ROWS[:9], k=chance.randint(5, 12))
        return "|h|i|\n|-|:-:|\n" + "".join(rows) + chance.choice(["", "\n"])
    if kind < 0.9:
        opening = chance.choice(["```py\n", "~~~\n", " ```\n", "```md\n"])
        lines = chance.choices(_CODE if wild else _CODE[:4], k=chance.randint(5, 20))
        return opening + "".join(lines) + chance.choice(["", "```\n\n"])
    return "".join(chance.choices(_OTHER, k=3))
