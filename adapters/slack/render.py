"""The Markdown that a `markdown` block shows: what Slack needs (`markdown`), and no calls; pure.

Slack renders CommonMark with tables, code and links in that block by itself, takes 12,000
characters of it (mrkdwn `text` takes 4,000 in chat.update, a section 3,000) and speaks the same
language in native streams: one form serves edits, streams and recovery. What Slack would take for
a call of people (`<!channel>`, `<@U…>`, `@here`) is broken by a zero-width space: it stays readable
everywhere, in code too, and pings nobody.
"""

from __future__ import annotations

import re
from html import unescape

from adapters.slack.markdown import BREAK, for_slack

# All markdown blocks of a message together take 12,000 (docs.slack.dev/reference/block-kit/blocks/
# markdown-block). How Slack counts a character is not published; UTF-16 units are the largest of
# the usual ways, and the rest is margin.
LIMIT = 11_500

_EVERYBODY = r"(?:channel|here|everyone|group)"
# A user's id begins with U or W and a bot's with B; Java's `<@NonNull T>` is nobody's, and the
# "@here" of an address ("a@here.org", "example.org/@here") is no call. Any sign may be escaped.
_CALL = re.compile(
    rf"(?P<less><)(?=\\?!(?i:{_EVERYBODY}|subteam)|\\?@[UWB][A-Za-z0-9])"
    rf"|(?<![A-Za-z0-9/])(?P<at>\\?@)(?=[*_~`]{{0,6}}(?i:{_EVERYBODY})(?![A-Za-z0-9]))"
)
# Every character may be written as an entity ("&#97;", "&commat;"), escaped any number of times.
_ENTITY = re.compile(
    r"&(?:amp;)*+(?:#0*+(?P<decimal>[0-9]{1,7}+)|#[xX]0*+(?P<hexadecimal>[0-9a-fA-F]{1,6}+)"
    r"|(?P<name>[A-Za-z][A-Za-z0-9]{1,31}+));?"
)
ROUNDS = 3
"""How often entities are decoded: Slack does it once for Markdown, and once for its own form."""


def harmless(markdown: str) -> str:
    """`markdown` with every call of people broken; doing it twice changes nothing more."""
    if not any(sign in markdown for sign in "@!&"):  # no call is without; the search takes 60 ns a
        return markdown  # character, and this is asked for every piece of a reply
    decoded = markdown
    for _ in range(ROUNDS if "&" in markdown else 0):
        decoded = _ENTITY.sub(_character, decoded)
    if not _CALL.search(decoded):
        return markdown
    if decoded == markdown:
        return _CALL.sub(lambda match: match.group() + BREAK, markdown)
    return _broken(markdown, _places_of_calls(markdown))


def _places_of_calls(markdown: str) -> list[int]:
    """Where the sign of each call ends, in a text with entities."""
    decoded, ends = markdown, list(range(1, len(markdown) + 1))
    for _ in range(ROUNDS):
        decoded, inner = _decoded(decoded)
        ends = [ends[end - 1] for end in inner]
    return [ends[match.end() - 1] for match in _CALL.finditer(decoded)]


def _decoded(text: str) -> tuple[str, list[int]]:
    """`text` with its entities decoded, and where in `text` each character ends."""
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
    """What an entity stands for; itself when it stands for nothing."""
    if name := match["name"]:
        found = unescape(f"&{name};")
        return match.group() if found == f"&{name};" else found
    code = int(match["decimal"] or "0") or int(match["hexadecimal"] or "0", 16)
    known = 0 < code < 0x110000 and not 0xD800 <= code < 0xE000
    return chr(code) if known else match.group()


def _broken(text: str, places: list[int]) -> str:
    parts, done = [], 0
    for place in places:
        parts += [text[done:place], BREAK]
        done = place
    return "".join([*parts, text[done:]])


def units(text: str) -> int:
    """The length in UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


class SlackRenderer:
    """`bot.ports.Renderer` for `markdown` blocks."""

    @property
    def limit(self) -> int:
        """The most that one message takes, in UTF-16 code units."""
        return LIMIT

    def render(self, markdown: str) -> str:
        """The text of the `markdown` block."""
        return harmless(for_slack(markdown))

    def measure(self, markdown: str) -> int:
        """The size of `render(markdown)`."""
        return units(self.render(markdown))
