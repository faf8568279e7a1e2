"""Finds the links that a person wrote in a question. Pure, and linear in the text.

Code, quoted lines and the excerpts of `bot.domain.excerpts` are skipped, because links there were
written by others or are only examples. This is a matcher and not a Markdown parser, because chat
platforms do not follow CommonMark: Discord and Slack open code blocks within a line, and neither
treats indented lines as code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from urllib.parse import SplitResult, urlsplit

from bot.domain.attachments import IncomingAttachment, Omission

MAX_TEXT = 64_000
"""Characters to search: a Slack message (40,000) with its excerpts (24,000)."""

MAX_URL = 4_096
"""The longest link. Signed addresses of file stores have up to about 2,000 characters."""

MOST_LINKS = 20
"""Links of one question, including those beyond the limit, which are only mentioned by name."""

MOST_CANDIDATES = 10 * MOST_LINKS
"""Links to examine; repeated and refused ones count, too."""

NAME_CHARACTERS = 60
"""The longest name of a link, so that it fits on a small line below the answer."""

_HTTP = r"https?://"
# Letters of scripts that are written without spaces, or that attach particles to a foreign word.
_SPACELESS = (
    "\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30fa\u30fc-\u318f"
    "\u31a0-\u31ff\u3400-\u9fff\uac00-\ud7ff\uf900-\ufaff"
)
# Quotation marks, dashes and ellipses, and Chinese, Japanese and full-width punctuation.
_PUNCTUATION = (
    "«»\u2010-\u2027\u2030-\u205e\u3000-\u3004\u3008-\u303f\u30fb"
    "\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
_TRAILING = ".,:;!?'*_~([{"

_MARK = re.compile(
    rf"""(?P<quote>^[ \t]{{0,3}}>[^\n]*)
    |(?P<label>^(?:In\ reply\ to\ [^\n]*|[^\n]*\ wrote):\n(?=>))
    |(?P<tildes>^[ \t]{{0,3}}~~~+[^\n]*)
    |(?P<ticks>`+)
    |(?P<escape>\\[!-/:-@\[-`{{-~])
    |(?P<url>(?<![A-Za-z0-9+]){_HTTP})""",
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
_TICKS = re.compile("`+")
_TILDES_END = re.compile(r"^[ \t]{0,3}(~~~++)[ \t]*+$", re.MULTILINE)
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_ANGLE = re.compile(r"([^\s<>|]+)(?:\|[^<>\n]*)?>")
_BARE_STOP = re.compile(
    rf"""[\s<>"`|\\\x00-\x1f\x7f-\x9f{_PUNCTUATION}]|(?P<bracket>[()\[\]{{}}])"""
    rf"|[,;](?={_HTTP})|(?<=[A-Za-z0-9])[{_SPACELESS}]",
    re.IGNORECASE,
)
_TARGET_STOP = re.compile(r"[\s<>\x00-\x1f]|(?P<bracket>[()])")
_LABELLED = re.compile(rf"\]\(\s*<?{_HTTP}", re.IGNORECASE)
_OPENING = {")": "(", "]": "[", "}": "{"}


def links_in(
    text: str, *, limit: int, skip: Callable[[str], bool] = lambda _url: False
) -> tuple[IncomingAttachment, ...]:
    """The http(s) links in `text`, in order and without duplicates.

    Links beyond the first `limit` have `Omission.TOO_MANY`, and there are at most `MOST_LINKS` in
    total; a limit of 0 finds none. Links for which `skip` is true do not count, nor do links with a
    user name or password, which must not be sent anywhere.
    """
    if limit <= 0 or "://" not in text:
        return ()
    links: dict[str, IncomingAttachment] = {}
    for url in islice(_urls(text[: MAX_TEXT + 1]), MOST_CANDIDATES):
        parts = _parse(url)
        if parts is None or skip(url):
            continue
        key = parts._replace(netloc=parts.netloc.lower(), fragment="").geturl()
        omission = Omission.TOO_MANY if len(links) >= limit else None
        links.setdefault(key, _attachment(url, parts, omission))
        if len(links) == MOST_LINKS:
            break
    return tuple(links.values())


def _attachment(url: str, parts: SplitResult, omission: Omission | None) -> IncomingAttachment:
    return IncomingAttachment(
        name=_name(parts), locator={"url": url}, is_link=True, omission=omission
    )


def _parse(url: str) -> SplitResult | None:
    """The parts of a link that can be downloaded; None for any other link."""
    if len(url) > MAX_URL or not url.isprintable():
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # an invalid port raises ValueError
    except ValueError:
        return None
    if "@" in parts.netloc or "%" in host or not any(map(str.isalnum, host)):
        return None
    return parts


def _name(parts: SplitResult) -> str:
    """Host and path for people. The query is left out, because it may contain a secret."""
    name = parts.netloc.lower() + parts.path.rstrip("/")
    if len(name) <= NAME_CHARACTERS:
        return name
    host = _shorten(parts.netloc.lower(), NAME_CHARACTERS // 2)
    last = parts.path.rstrip("/").rpartition("/")[2]
    return f"{host}/…/{_shorten(last, NAME_CHARACTERS - len(host) - 3)}"


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


# ── the matcher ───────────────────────────────────────────────────────────────────────────────
def _urls(text: str) -> Iterator[str]:
    """Link targets outside code and quotes, except one that may be cut off at `MAX_TEXT`."""
    code = _CodeEnds(text)
    at = 0
    while (mark := _MARK.search(text, at)) is not None:
        at = mark.end()
        if mark["ticks"]:
            at = code.end_of_ticks(mark)
        elif mark["tildes"]:
            at = _end_of_tildes(text, mark)
        elif mark["url"]:
            url, at = _url_at(text, mark.start(), mark.end())
            if url and at <= MAX_TEXT:
                yield url


def _url_at(text: str, start: int, after_scheme: int) -> tuple[str, int]:
    """The link at `start`, and where to continue; "" if it is the label of another link."""
    if text[max(start - 1, 0) : start] == "<" and (angle := _ANGLE.match(text, start)):
        return angle[1], angle.end()
    if text.endswith("](", 0, start):
        end = _balanced_end(text, after_scheme, _TARGET_STOP)
        return text[start:end], end
    end = _balanced_end(text, after_scheme, _BARE_STOP)
    if _LABELLED.match(text, end):
        return "", end
    return text[start:end].rstrip(_TRAILING), end


def _balanced_end(text: str, at: int, stop: re.Pattern[str]) -> int:
    """The end of a link: a stop character, or a closing bracket that it did not open."""
    opened = dict.fromkeys(_OPENING.values(), 0)
    for found in stop.finditer(text, at):
        bracket = found["bracket"]
        if bracket is None:
            return found.start()
        if bracket in opened:
            opened[bracket] += 1
        elif opened[_OPENING[bracket]] == 0:
            return found.start()
        else:
            opened[_OPENING[bracket]] -= 1
    return len(text)


def _end_of_tildes(text: str, opening: re.Match[str]) -> int:
    length = len(opening[0].lstrip()) - len(opening[0].lstrip().lstrip("~"))
    for closing in _TILDES_END.finditer(text, opening.end()):
        if len(closing[1]) >= length:
            return closing.end()
    return len(text)


class _CodeEnds:
    """Finds the ends of code in backticks. It remembers failed searches, because hostile text would
    otherwise take quadratic time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._unclosed_fence = len(text) + 1  # no fence of this many backticks or more is closed
        self._unclosed_spans: set[int] = set()

    def end_of_ticks(self, opening: re.Match[str]) -> int:
        """The end of the code that the backticks `opening` start; else their own end."""
        length = len(opening[0])
        if length < 3:
            return self._end_of_span(opening.end(), length)
        if length < self._unclosed_fence:
            for run in _TICKS.finditer(self._text, opening.end()):
                if len(run[0]) >= length:
                    return run.end()
            self._unclosed_fence = length
        starts_line = not self._text[: opening.start()].rpartition("\n")[2].strip(" \t")
        return len(self._text) if starts_line else opening.end()

    def _end_of_span(self, at: int, length: int) -> int:
        if length in self._unclosed_spans:
            return at
        for run in _TICKS.finditer(self._text, at):
            if len(run[0]) == length:
                crosses = _BLANK_LINE.search(self._text, at, run.start())
                return at if crosses else run.end()
        self._unclosed_spans.add(length)
        return at
