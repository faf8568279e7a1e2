"""Judges whom a text calls in Slack, independently of the adapter: written from Slack's rules.

docs.slack.dev/messaging/formatting-message-text: `<!channel>`, `<!here>`, `<!everyone>`,
`<!subteam^ID>` and `<@ID>` call people; `@channel` and the like do where names are linked. How
often Slack decodes a text is not published, so every reading of it is judged.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from markdown_it import MarkdownIt

_CONTROL = re.compile(r"<!(?:channel|here|everyone|group|subteam\^)|<@[UWB][A-Z0-9]", re.IGNORECASE)
_NAMED = re.compile(r"(?<![\w/.])@(?:channel|here|everyone|group)(?!\w)", re.IGNORECASE)


def pings(text: str) -> list[str]:
    """What would call people in any reading of `text`; a user's id is upper case in truth."""
    found: list[str] = []
    for reading in _readings(text):
        found += [hit for hit in _CONTROL.findall(reading) if "@" not in hit or hit[2:3].isupper()]
        found += _NAMED.findall(reading)
    return found


def _readings(text: str) -> Iterator[str]:
    """As it is, decoded, without Markdown's escapes, and as a Markdown parser reads it."""
    reading = text
    for _ in range(4):
        yield reading
        yield re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", reading)
        yield "".join(_words(reading))
        reading = html.unescape(reading)


def _words(text: str) -> Iterator[str]:
    for block in MarkdownIt().parse(text):
        yield from (token.content for token in block.children or [block])
        yield "\n"
