"""Finds the mentions in a Slack text by Slack's rules, independently of the adapter.

docs.slack.dev/messaging/formatting-message-text: `<!channel>`, `<!here>`, `<!everyone>`,
`<!subteam^ID>` and `<@ID>` notify people; so do `@channel` and the like if names are linked. Slack
does not document how often it decodes a text, so every possible reading is searched.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from markdown_it import MarkdownIt

_CONTROL = re.compile(r"<!(?:channel|here|everyone|group|subteam\^)|<@[UWB][A-Z0-9]", re.IGNORECASE)
_NAMED = re.compile(r"(?<![\w/.])@(?:channel|here|everyone|group)(?!\w)", re.IGNORECASE)


def pings(text: str) -> list[str]:
    """The mentions in any reading of `text`; real user ids are upper case."""
    found: list[str] = []
    for reading in _readings(text):
        found += [hit for hit in _CONTROL.findall(reading) if "@" not in hit or hit[2:3].isupper()]
        found += _NAMED.findall(reading)
    return found


def _readings(text: str) -> Iterator[str]:
    """The text unchanged, decoded, without Markdown's escapes, and parsed as Markdown."""
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
