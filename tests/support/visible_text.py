"""The text that people read on each surface, from readers that share no code with the renderers.

Discord's reader follows the client's rules (github.com/brussell98/discord-markdown), Slack's is a
strict CommonMark parser, and the web page's takes the text of the HTML.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

from markdown_it import MarkdownIt
from markdown_it.token import Token

_INVISIBLE = re.compile("[\u200b\\s]")
_STRICT = MarkdownIt("commonmark").enable(["table", "strikethrough"])

_BLOCK = re.compile(r"```(?:([a-z0-9_+\-.#]+?)\n)?\n*([^\n].*?)\n*```", re.DOTALL | re.IGNORECASE)
_CODE = re.compile(r"(`+)(.*?[^`])\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\[((?:\\.|[^\[\]])*)\]\(<?([^<>]*)>?\)")
_MARKED = re.compile(
    r"\*\*((?:\\.|[^\\])+?)\*\*(?!\*)|__((?:\\.|[^\\])+?)__(?!_)|~~((?:\\.|[^\\])+?)~~"
    r"|\|\|((?:\\.|[^\\])+?)\|\||\*(?=\S)((?:\\.|\*\*|[^\\*])+?)(?<=\S)\*(?!\*)"
    r"|\b_((?:\\.|__|[^\\_])+?)_\b",  # as in JavaScript: of ASCII words
    re.DOTALL | re.ASCII,
)
_LINE = re.compile(r"^(?:(?:> |#{1,3} | *- | *\d+\. ))+", re.MULTILINE)


def squeezed(text: str) -> str:
    """`text` without whitespace and zero-width spaces."""
    return _INVISIBLE.sub("", text)


def on_discord(shown: str) -> str:
    """The letters of a message that Discord's client shows."""
    parts, plain = [], 0
    for block in _BLOCK.finditer(shown):
        parts += [_discord(_LINE.sub("", shown[plain : block.start()])), block[2]]
        plain = block.end()
    parts.append(_discord(_LINE.sub("", shown[plain:])))
    return squeezed("".join(parts))


def _discord(text: str) -> str:
    out, at = [], 0
    while at < len(text):
        if escape := re.compile(r"\\([^0-9A-Za-z\s])").match(text, at):
            out.append(escape[1])
            at = escape.end()
        elif code := _CODE.match(text, at):
            out.append(code[2])
            at = code.end()
        elif link := _LINK.match(text, at):
            out.append(_discord(link[1]))
            at = link.end()
        elif address := re.compile(r"<(https?://[^ >]+)>").match(text, at):
            out.append(address[1])
            at = address.end()
        elif marked := _MARKED.match(text, at):
            out.append(_discord(next(filter(None, marked.groups()))))
            at = marked.end()
        else:
            out.append(text[at])
            at += 1
    return "".join(out)


def on_slack(shown: str) -> str:
    """The letters of a `markdown` block that a strict CommonMark parser shows."""
    return squeezed("".join(_texts(_STRICT.parse(shown))))


def _texts(tokens: list[Token]) -> list[str]:
    out = []
    for token in tokens:
        if token.children is not None:
            out += _texts(token.children)
        elif token.type not in ("html_block", "html_inline"):  # Slack shows no HTML
            out.append(token.content)
    return out


class _Words(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "input" and found.get("type") == "checkbox":
            self.words.append("☑" if "checked" in found else "☐")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def on_page(html: str) -> str:
    """The letters of the web page's HTML."""
    return squeezed("".join(_Words(html).words))


def missing(expected: str, shown: str, decoration: str = "") -> str | None:
    """The first text that is missing or unexpected; None if there is none.

    A surface may add the characters in `decoration`.
    """
    at = 0
    for index, char in enumerate(shown):
        if at < len(expected) and char == expected[at]:
            at += 1
        elif char not in decoration:
            return (
                f"raw {shown[max(0, index - 20) : index + 1]!r}, wanted {expected[at : at + 20]!r}"
            )
    return None if at == len(expected) else f"lost {expected[at : at + 30]!r}"


Reader = Callable[[str], str]
