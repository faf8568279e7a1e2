"""The Markdown that a `markdown` block shows: what Slack needs (`markdown`), and no calls; pure.

Slack renders CommonMark with tables, code and links in that block by itself, takes 12,000
characters of it (mrkdwn `text` takes 4,000 in chat.update, a section 3,000) and speaks the same
language in native streams: one form serves edits, streams and recovery. What Slack would take for
a call of people (`<!channel>`, `<@U…>`, `@here`) is broken by a zero-width space: it stays readable
everywhere, in code too, and pings nobody.
"""

from __future__ import annotations

import re

from adapters.slack.markdown import BREAK, for_slack

# All markdown blocks of a message together take 12,000 (docs.slack.dev/reference/block-kit/blocks/
# markdown-block). How Slack counts a character is not published; UTF-16 units are the largest of
# the usual ways, and the rest is margin.
LIMIT = 11_500

# Each may be written as an entity, once or doubly escaped, or after a backslash.
_LESS = r"(?:<|&(?:amp;)*(?:lt|LT|#0*60|#[xX]0*3[cC]);?)"
_BANG = r"(?:\\?!|&(?:amp;)*(?:excl|#0*33|#[xX]0*21);?)"
_AT = r"(?:\\?@|&(?:amp;)*(?:commat|#0*64|#[xX]0*40);?)"
_EVERYBODY = r"(?:channel|here|everyone|group)"
# A user's id begins with U or W and a bot's with B; Java's `<@NonNull T>` is nobody's, and the
# "@here" of an address ("a@here.org", "example.org/@here") is no call.
_CALL = re.compile(
    rf"(?P<less>{_LESS})(?={_BANG}(?i:{_EVERYBODY}|subteam)|{_AT}[UWB][A-Za-z0-9])"
    rf"|(?<![A-Za-z0-9/])(?P<at>{_AT})(?=(?i:{_EVERYBODY})(?![A-Za-z0-9]))"
)


def harmless(markdown: str) -> str:
    """`markdown` with every call of people broken; doing it twice changes nothing more."""
    if not any(sign in markdown for sign in "@!&"):  # no call is without; the search takes 60 ns a
        return markdown  # character, and this is asked for every piece of a reply
    return _CALL.sub(lambda match: match.group() + BREAK, markdown)


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
