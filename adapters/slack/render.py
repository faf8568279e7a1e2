"""Renders Markdown for Slack's `markdown` block, without mentions that notify people. Pure.

The block displays CommonMark with tables, code and links, and takes 12,000 characters (mrkdwn
`text` takes 4,000 in chat.update, a section 3,000). Native streams use the same Markdown, so one
form serves edits, streams and recovery. A zero-width space breaks anything that Slack would read as
a mention (`<!channel>`, `<@U…>`, `@here`), in code as well: it stays readable and notifies no one.
"""

from __future__ import annotations

import re
from html import unescape

from adapters.slack.literal_text import BREAK
from adapters.slack.markdown import for_slack

# All markdown blocks of a message together may have 12,000 characters (docs.slack.dev/reference/
# block-kit/blocks/markdown-block). Slack does not say how it counts them; UTF-16 code units give
# the largest of the usual counts, and the rest is a margin.
LIMIT = 11_500

_EVERYONE = r"(?:channel|here|everyone|group)"
# A user's id begins with U or W and a bot's with B, unlike Java's `<@NonNull T>`. The "@here" in an
# address ("a@here.org", "example.org/@here") is no mention. Any character may be escaped.
_MENTION = re.compile(
    rf"(?P<less><)(?=\\?!(?i:{_EVERYONE}|subteam)|\\?@[UWB][A-Za-z0-9])"
    rf"|(?<![A-Za-z0-9/])(?P<at>\\?@)(?=[*_~`]{{0,6}}(?i:{_EVERYONE})(?![A-Za-z0-9]))"
)
# Any character may be an entity ("&#97;", "&commat;"), and its "&" may be escaped repeatedly.
_ENTITY = re.compile(
    r"&(?:amp;)*+(?:#0*+(?P<decimal>[0-9]{1,7}+)|#[xX]0*+(?P<hexadecimal>[0-9a-fA-F]{1,6}+)"
    r"|(?P<name>[A-Za-z][A-Za-z0-9]{1,31}+));?"
)
ROUNDS = 3
"""How often entities are decoded: Slack decodes once for Markdown and once for its stored form."""


def defuse_mentions(markdown: str) -> str:
    """Break the mentions in `markdown` so that they notify no one. Idempotent."""
    # Every mention has one of these. The search below takes 60 ns per character, for each piece.
    if not any(sign in markdown for sign in "@!&"):
        return markdown
    decoded = markdown
    for _ in range(ROUNDS if "&" in markdown else 0):
        decoded = _ENTITY.sub(_character, decoded)
    if not _MENTION.search(decoded):
        return markdown
    if decoded == markdown:
        return _MENTION.sub(lambda match: match.group() + BREAK, markdown)
    return _insert_breaks(markdown, _mention_offsets(markdown))


def _mention_offsets(markdown: str) -> list[int]:
    """The offset behind the first character of each mention, in text with entities."""
    decoded, ends = markdown, list(range(1, len(markdown) + 1))
    for _ in range(ROUNDS):
        decoded, inner = _decode_entities(decoded)
        ends = [ends[end - 1] for end in inner]
    return [ends[match.end() - 1] for match in _MENTION.finditer(decoded)]


def _decode_entities(text: str) -> tuple[str, list[int]]:
    """`text` with its entities decoded, and the offset in `text` behind each character."""
    parts: list[str] = []
    ends: list[int] = []
    done = 0
    for match in _ENTITY.finditer(text):
        found = _character(match)
        if found != match.group():
            parts += [text[done : match.start()], found]
            ends += [*range(done + 1, match.start() + 1), *[match.end()] * len(found)]
            done = match.end()
    ends += range(done + 1, len(text) + 1)
    return "".join([*parts, text[done:]]), ends


def _character(match: re.Match[str]) -> str:
    """The character for an entity; an unknown entity is unchanged."""
    if name := match["name"]:
        found = unescape(f"&{name};")
        return match.group() if found == f"&{name};" else found
    code = int(match["decimal"] or "0") or int(match["hexadecimal"] or "0", 16)
    known = 0 < code < 0x110000 and not 0xD800 <= code < 0xE000
    return chr(code) if known else match.group()


def _insert_breaks(text: str, offsets: list[int]) -> str:
    parts, done = [], 0
    for offset in offsets:
        parts += [text[done:offset], BREAK]
        done = offset
    return "".join([*parts, text[done:]])


def utf16_length(text: str) -> int:
    """The length of `text` in UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


class SlackRenderer:
    """`bot.ports.platform.Renderer` for `markdown` blocks."""

    @property
    def limit(self) -> int:
        """The maximum length of one message, in UTF-16 code units."""
        return LIMIT

    def render(self, markdown: str) -> str:
        """The text of the `markdown` block."""
        return defuse_mentions(for_slack(markdown))

    def measure(self, markdown: str) -> int:
        """The length of `render(markdown)`."""
        return utf16_length(self.render(markdown))
