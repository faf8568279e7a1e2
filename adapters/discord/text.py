"""From what people wrote on Discord to what the model reads: names for ids, no mention of the bot.

Code stays as it was written. Every expression here takes linear time: no repetition can give back
what it took (`++`, `*+`) where the next one could take the same characters.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.domain.excerpts import EXCERPT_CHARACTERS, bounded

MAX_TITLE = 100  # documented: the most characters of a thread's name
# A title comes from the first lines; the rest is not searched.
TITLE_SOURCE = 2_000

_LINK = re.compile(
    r"!?+\[(?P<text>[^\[\]\n]{0,300}+)\]\(<?+(?P<href>[^()\s<>]{0,500}+)>?+[^()\n]{0,300}+\)"
)
# What is markup at the beginning of a line, and anywhere; an underscore inside a word is none.
_MARKS = re.compile(r"^\s*+(?:```\w*+|[>#]++\s|[-*+]\s|\d{1,9}+[.)]\s)|[`*~|]|(?<!\w)_|_(?!\w)")
_FENCE, _SPAN = "```", re.compile(r"``(?:[^`]|`(?!`))++``|`[^`\n]++`")
_MARKUP = re.compile(
    r"<(?:@!?+(?P<user>\d{1,20}+)|@&(?P<role>\d{1,20}+)|#(?P<channel>\d{1,20}+)"
    r"|a?+:(?P<emoji>\w{1,64}+):\d{1,20}+|t:(?P<time>-?+\d{1,20}+)(?::[a-zA-Z])?+"
    r"|/(?P<command>[^:<>\n]{1,100}+):\d{1,20}+)>"
)


@dataclass(frozen=True, slots=True)
class Names:
    """What ids are called where the text was written, and which of them are the bot."""

    users: Mapping[int, str] = field(default_factory=dict)
    roles: Mapping[int, str] = field(default_factory=dict)
    channels: Mapping[int, str] = field(default_factory=dict)
    own: frozenset[int] = frozenset()  # the bot's user and its managed role


def for_model(content: str, names: Names) -> str:
    """`content` with names for ids; the bot's own mention is removed, wherever it is."""
    parts = _code_apart(bounded(content, EXCERPT_CHARACTERS))
    parts[::2] = [_named(_without_own(part, names.own), names) for part in parts[::2]]
    return "".join(parts).strip()


def _code_apart(content: str) -> list[str]:
    """Prose and code by turns, beginning and ending with prose (which may be empty)."""
    pieces, parts = content.split(_FENCE), [""]
    last = len(pieces) - 1
    for number, piece in enumerate(pieces):
        if number % 2 and number < last:  # between two fences
            parts += [_FENCE + piece + _FENCE, ""]
            continue
        prose = _FENCE + piece if number % 2 else piece  # a fence without an end is prose
        at = 0
        for span in _SPAN.finditer(prose):
            parts[-1] += prose[at : span.start()]
            parts += [span[0], ""]
            at = span.end()
        parts[-1] += prose[at:]
    return parts


def title(text: str) -> str:
    """A thread's name for a question: its first line without markup; may be empty."""
    plain = _LINK.sub(lambda found: found["text"] or found["href"], text[:TITLE_SOURCE])
    lines = (" ".join(_MARKS.sub("", line).split()) for line in plain.splitlines())
    return shortened(next((line for line in lines if re.search(r"\w", line)), ""))


def shortened(name: str) -> str:
    """`name` within a thread name's limit, cut between words where that is possible."""
    if len(name) <= MAX_TITLE:
        return name
    cut = name[: MAX_TITLE - 1]
    words, space, _ = cut.rpartition(" ")
    return (words if space and len(words) > MAX_TITLE // 2 else cut).rstrip() + "…"


def _without_own(text: str, own: frozenset[int]) -> str:
    if not own:
        return text
    mention = rf"<@[!&]?+(?:{'|'.join(map(str, sorted(own)))})>"
    text = re.sub(rf"\A\s*+(?:{mention}[\s,:;]*+)++", "", text)
    ends = r"(?=[ \t]{0,9}+(?:[,.;:!?)]|$))"
    text = re.sub(rf"(?:,|(?<![ \t,]))[ \t]*+{mention}{ends}", "", text, flags=re.MULTILINE)
    return re.sub(rf"{mention}[ \t]*+", "", text)


def _named(text: str, names: Names) -> str:
    return _MARKUP.sub(lambda found: _name(found, names), text)


def _name(found: re.Match[str], names: Names) -> str:
    kind, value = found.lastgroup, found[found.lastgroup or 0]
    match kind:
        case "user":
            return "@" + names.users.get(int(value), "unknown-user")
        case "role":
            return "@" + names.roles.get(int(value), "unknown-role")
        case "channel":
            return "#" + names.channels.get(int(value), "unknown-channel")
        case "emoji":
            return f":{value}:"
        case "time":
            return _time(value) or found[0]
        case _:
            return f"/{value}"


def _time(seconds: str) -> str:
    try:
        at = dt.datetime.fromtimestamp(int(seconds), dt.UTC)
    except (OverflowError, ValueError, OSError):
        return ""
    return at.strftime("%Y-%m-%d %H:%M UTC")
