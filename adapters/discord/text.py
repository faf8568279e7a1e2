"""Converts people's Discord markup to text for the model: replaces ids by names, removes the bot's
mention.

Code is left unchanged. Every pattern takes linear time: a repetition is possessive (`++`, `*+`)
wherever the next one could match the same characters.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.domain.excerpts import EXCERPT_CHARACTERS, truncate

MAX_THREAD_NAME = 100  # documented, in characters
# How much of a question is searched for a thread's name.
TITLE_SOURCE_CHARACTERS = 2_000

_LINK = re.compile(
    r"!?+\[(?P<text>[^\[\]\n]{0,300}+)\]\(<?+(?P<href>[^()\s<>]{0,500}+)>?+[^()\n]{0,300}+\)"
)
# Markup at the start of a line, and anywhere; an underscore inside a word is text.
_MARKS = re.compile(r"^\s*+(?:```\w*+|[>#]++\s|[-*+]\s|\d{1,9}+[.)]\s)|[`*~|]|(?<!\w)_|_(?!\w)")
_FENCE, _SPAN = "```", re.compile(r"``(?:[^`]|`(?!`))++``|`[^`\n]++`")
_MARKUP = re.compile(
    r"<(?:@!?+(?P<user>\d{1,20}+)|@&(?P<role>\d{1,20}+)|#(?P<channel>\d{1,20}+)"
    r"|a?+:(?P<emoji>\w{1,64}+):\d{1,20}+|t:(?P<time>-?+\d{1,20}+)(?::[a-zA-Z])?+"
    r"|/(?P<command>[^:<>\n]{1,100}+):\d{1,20}+)>"
)


@dataclass(frozen=True, slots=True)
class Names:
    """Names by id, as they apply where a text was written, and the bot's own ids."""

    users: Mapping[int, str] = field(default_factory=dict)
    roles: Mapping[int, str] = field(default_factory=dict)
    channels: Mapping[int, str] = field(default_factory=dict)
    own: frozenset[int] = frozenset()  # the bot's user and its managed role


def to_model_text(content: str, names: Names) -> str:
    """Replaces ids by names and removes the bot's own mention, everywhere outside code."""
    parts = _split_at_code(truncate(content, EXCERPT_CHARACTERS))
    parts[::2] = [_insert_names(_strip_own(part, names.own), names) for part in parts[::2]]
    return "".join(parts).strip()


def _split_at_code(content: str) -> list[str]:
    """Alternating prose and code, starting and ending with (possibly empty) prose."""
    pieces, parts = content.split(_FENCE), [""]
    last = len(pieces) - 1
    for number, piece in enumerate(pieces):
        if number % 2 and number < last:  # between two fences
            parts += [_FENCE + piece + _FENCE, ""]
            continue
        prose = _FENCE + piece if number % 2 else piece  # an unclosed fence is prose
        at = 0
        for span in _SPAN.finditer(prose):
            parts[-1] += prose[at : span.start()]
            parts += [span[0], ""]
            at = span.end()
        parts[-1] += prose[at:]
    return parts


def thread_title(text: str) -> str:
    """A thread's name for a question: its first line with words, without markup; may be empty."""
    plain = _LINK.sub(lambda found: found["text"] or found["href"], text[:TITLE_SOURCE_CHARACTERS])
    lines = (" ".join(_MARKS.sub("", line).split()) for line in plain.splitlines())
    return shorten_thread_name(next((line for line in lines if re.search(r"\w", line)), ""))


def shorten_thread_name(name: str) -> str:
    """Cuts a name to Discord's limit, between words if possible."""
    if len(name) <= MAX_THREAD_NAME:
        return name
    cut = name[: MAX_THREAD_NAME - 1]
    words, space, _ = cut.rpartition(" ")
    return (words if space and len(words) > MAX_THREAD_NAME // 2 else cut).rstrip() + "…"


def _strip_own(text: str, own: frozenset[int]) -> str:
    if not own:
        return text
    mention = rf"<@[!&]?+(?:{'|'.join(map(str, sorted(own)))})>"
    text = re.sub(rf"\A\s*+(?:{mention}[\s,:;]*+)++", "", text)
    ends = r"(?=[ \t]{0,9}+(?:[,.;:!?)]|$))"
    text = re.sub(rf"(?:,|(?<![ \t,]))[ \t]*+{mention}{ends}", "", text, flags=re.MULTILINE)
    return re.sub(rf"{mention}[ \t]*+", "", text)


def _insert_names(text: str, names: Names) -> str:
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
