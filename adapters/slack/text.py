"""Converts Slack's stored text to plain text for the model. Pure; each entity is decoded once.

docs.slack.dev/messaging/formatting-message-text describes the stored form: `&`, `<` and `>` are
escaped, and everything between `<` and `>` is a control sequence.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping

UNKNOWN_USER, UNKNOWN_CHANNEL, SOME_GROUP = "unknown-user", "unknown-channel", "group"

MAX_NAME = 80
"""Characters of a name; Slack allows as many."""

_CONTROL = re.compile(r"<([@#!]|(?=[A-Za-z][A-Za-z0-9+.-]*+:))([^<>|]++)(?:\|([^<>]*+))?>")
# &amp; last, or "&amp;lt;" would be decoded twice
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))


# Control characters except tab and line feed, characters that change the writing direction, and
# halves of characters, which no database stores.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def for_model(text: str, names: Mapping[str, str], me: str = "") -> str:
    """`text` with names instead of ids, plain links, and without mentions of the bot (`me`).

    `names` has the names of people and channels by id.
    """
    text = _remove_mentions(text, me) if me else text
    out: list[str] = []
    end = 0
    for match in _CONTROL.finditer(text):
        out += [unescape(text[end : match.start()]), _visible_form(match, names)]
        end = match.end()
    return "".join([*out, unescape(text[end:])]).strip()


def name(text: str, limit: int = MAX_NAME) -> str:
    """`text` as a name of at most `limit` characters on one line.

    A line break in a name could fake another speaker.
    """
    line = " ".join(_INVISIBLE.sub(" ", text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _remove_mentions(text: str, me: str) -> str:
    """`text` without mentions of the bot and the punctuation after one ("@bot: hello")."""
    own = rf"<@{re.escape(me)}(?:\|[^<>]*+)?>"
    text = re.sub(rf"\A\s*+(?:{own}[\s,:;]*+)+", "", text)
    return re.sub(rf" ?{own}", "", text)


def unescape(text: str) -> str:
    """`text` with Slack's three entities decoded."""
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    return text


def mentioned_users(text: str) -> tuple[str, ...]:
    """The ids of the users that `text` mentions, in order, each once."""
    found = (match[2] for match in _CONTROL.finditer(text) if match[1] == "@")
    return tuple(dict.fromkeys(found))


def mentions_others(text: str, me: str) -> bool:
    """Whether `text` mentions a person other than the bot, a user group, or everyone."""
    return any(
        (match[1] == "@" and match[2] != me) or (match[1] == "!" and _notifies_group(match[2]))
        for match in _CONTROL.finditer(text)
    )


def _notifies_group(command: str) -> bool:
    return command in ("channel", "here", "everyone") or command.startswith("subteam^")


def _visible_form(match: re.Match[str], names: Mapping[str, str]) -> str:
    """The text that Slack shows for one control sequence."""
    kind, target = match[1], unescape(match[2])
    label = unescape(match[3] or "")
    if kind == "@":
        return "@" + (names.get(target) or name(label) or UNKNOWN_USER)
    if kind == "#":
        return "#" + (name(label) or names.get(target) or UNKNOWN_CHANNEL)
    if kind == "!":
        return _special(target, label)
    return _link(target, label)


def _special(command: str, label: str) -> str:
    kind, _, rest = command.partition("^")
    if kind == "subteam":
        return "@" + (name(label).removeprefix("@") or SOME_GROUP)
    if kind == "date":
        return label or _time(rest.partition("^")[0])
    return label if label.startswith("@") else f"@{kind}"


def _time(seconds: str) -> str:
    """Unix seconds as a readable time, for a date without a label."""
    try:
        at = dt.datetime.fromtimestamp(int(seconds), dt.UTC)
    except (OverflowError, ValueError, OSError):
        return seconds
    return at.strftime("%Y-%m-%d %H:%M UTC")


def _link(url: str, label: str) -> str:
    """A link as it was typed: Slack labels a bare domain or address with itself."""
    bare = url.removeprefix("mailto:").removeprefix("tel:")
    if not label or label == bare or url.removeprefix("https://").removeprefix("http://") == label:
        return label or bare
    return f"[{label}]({url})"
