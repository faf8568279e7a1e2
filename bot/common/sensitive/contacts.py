"""Finds e-mail addresses and phone numbers.

Phone numbers have no checksum. A number counts if it is written like one: with a country code, in
the usual groups of a country, or after a word like "phone".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]

_LOCAL = re.compile(r"[A-Za-z0-9\u00c0-\u024f](?:[\w.!#$%&'*+/=?^{|}~\-]{0,62}[\w+\-])?$")
_LONGEST_LOCAL = 64
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9\u00c0-\u024f](?:[A-Za-z0-9\u00c0-\u024f\-]{0,62})\.){1,6}([A-Za-z]{2,24})(?![A-Za-z0-9\-])"
)
_FILE_ENDINGS = frozenset(
    ("png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "py", "json", "md", "html")
)
_ACCOUNTS_OF_PROGRAMS = frozenset(("git", "hg", "svn"))  # git@github.com:owner/name


def find_emails(text: str) -> Iterator[Span]:
    """The e-mail addresses."""
    at, done = text.find("@"), 0
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        if domain is not None and domain[1].lower() not in _FILE_ENDINGS:
            begin = max(done, at - _LONGEST_LOCAL)
            local = _local(text[begin:at])
            if local and local not in _ACCOUNTS_OF_PROGRAMS:
                yield at - len(local), domain.end()
                done = domain.end()
        at = text.find("@", at + 1)


def _local(before: str) -> str:
    """The longest local part that ends where `before` (a short text) ends; "" if there is none."""
    start = len(before)
    while start and (before[start - 1].isalnum() or before[start - 1] in "_.!#$%&'*+/=?^{|}~-"):
        start -= 1
    found = _LOCAL.search(before[start:].lstrip("_.!#$%&'*+/=?^{|}~-"))
    return found[0] if found is not None else ""


# Numbers are only matched where a digit may begin one, so prose costs nothing.
_BEGIN = re.compile(r"(?<![\w+.\-/(])[+(]?[0-9]")
_NUMBER = r"[0-9](?:[ .\-/\u00a0]{0,2}\(?[0-9]\)?)"
_END = r"(?![0-9\w]|[.\-/][0-9])"
_INTERNATIONAL = re.compile(rf"(?:\+|00(?=[1-9])){_NUMBER}{{7,15}}(?![0-9\w])")
_GROUPED = re.compile(
    r"(?:"
    r"(?:1[ .\-])?\([2-9][0-9]{2}\)[ .\-]?[0-9]{3}[ .\-][0-9]{4}"  # (415) 555-2671
    r"|(?:1[ .\-])?[2-9][0-9]{2}([.\- ])[0-9]{3}\1[0-9]{4}"  # 415-555-2671
    r"|0[1-9](?:[ .\-][0-9]{2}){4}"  # 06 12 34 56 78
    r"|\(?0[1-9][0-9]{1,4}\)?[ /\-]{1,3}[0-9]{3,8}(?:[ \-][0-9]{2,5}){0,3}"  # 030 1234567
    rf"){_END}"
)
_LISTED = re.compile(rf"\(?[0-9](?:[ .\-/]?\(?[0-9]\)?){{6,14}}{_END}")
_NAME = re.compile(
    r"(?i)(?<![a-z])(?:tel|telephone|telefon|phone|mobile|mobil|handy|cell|fax|whatsapp|signal|call)"
    r"(?: (?:number|me|us|nr))?[.: ]{1,4}(?:(?:at|on|is|under|unter) ){0,2}$"
)
_NAME_CHARACTERS = 40
_FEWEST, _MOST = 8, 15  # digits in a number with an area or country code (E.164)


def find_phones(text: str) -> Iterator[Span]:
    """The phone numbers."""
    end = 0
    for begin in _BEGIN.finditer(text):
        start = begin.start()
        if start < end:
            continue
        found = _INTERNATIONAL.match(text, start) or _GROUPED.match(text, start)
        if found is None and _NAME.search(text[max(0, start - _NAME_CHARACTERS) : start]):
            found = _LISTED.match(text, start)
        if found is not None and _FEWEST - 1 <= sum(map(str.isdigit, found[0])) <= _MOST:
            yield found.span()
            end = found.end()
