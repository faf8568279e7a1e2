"""From what people wrote on Discord to what the model reads: names for ids, no mention of the bot.

Code stays as it was written.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_TITLE = 100  # documented: the most characters of a thread's name

_LINK = re.compile(r"!?\[(?P<text>[^\]\n]*)\]\(<?(?P<href>[^)\s>]*)>?[^)\n]*\)")
# What is markup at the beginning of a line, and anywhere; an underscore inside a word is none.
_MARKS = re.compile(r"^\s*(?:```\w*|[>#]+\s|[-*+]\s|\d+[.)]\s)|[`*~|]|(?<!\w)_|_(?!\w)")
_CODE = re.compile(r"(```.*?```|``.+?``|`[^`\n]+`)", re.DOTALL)
_MARKUP = re.compile(
    r"<(?:@!?(?P<user>\d+)|@&(?P<role>\d+)|#(?P<channel>\d+)|a?:(?P<emoji>\w+):\d+"
    r"|t:(?P<time>-?\d+)(?::[a-zA-Z])?|/(?P<command>[^:>]+):\d+)>"
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
    parts = _CODE.split(content)
    parts[::2] = [_named(_without_own(part, names.own), names) for part in parts[::2]]
    return "".join(parts).strip()


def quoted(text: str) -> str:
    """`text` as a Markdown quote."""
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def title(text: str) -> str:
    """A thread's name for a question: its first line without markup; may be empty."""
    plain = _LINK.sub(lambda found: found["text"] or found["href"], text)
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
    mention = rf"<@[!&]?(?:{'|'.join(map(str, sorted(own)))})>"
    text = re.sub(rf"\A\s*(?:{mention}[\s,:;]*)+", "", text)
    text = re.sub(rf",?[ \t]*{mention}(?=[ \t]*(?:[,.;:!?)]|$))", "", text, flags=re.MULTILINE)
    return re.sub(rf"{mention}[ \t]*", "", text)


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
