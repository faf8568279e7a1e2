"""From Slack's stored text to plain text for the model: pure, and every entity is undone once.

Slack's own form is described at docs.slack.dev/messaging/formatting-message-text: `&`, `<` and `>`
are escaped, and everything between `<` and `>` is a control sequence.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping

UNKNOWN_USER, UNKNOWN_CHANNEL, SOME_GROUP = "unknown-user", "unknown-channel", "group"

MOST_NAME = 80
"""Characters of a name: as many as Slack lets people have."""

_CONTROL = re.compile(r"<([@#!]|(?=[A-Za-z][A-Za-z0-9+.-]*+:))([^<>|]++)(?:\|([^<>]*+))?>")
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))  # &amp; last, or "&amp;lt;" is lost


# Control characters but tab and line feed, and what reverses the direction of what follows.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")


def for_model(text: str, names: Mapping[str, str], me: str = "") -> str:
    """`text` with names for ids and plain links; the mention of the bot (`me`) is removed.

    `names` are those of people and channels, by id.
    """
    text = _without(text, me) if me else text
    out: list[str] = []
    end = 0
    for match in _CONTROL.finditer(text):
        out += [unescaped(text[end : match.start()]), _said(match, names)]
        end = match.end()
    return "".join([*out, unescaped(text[end:])]).strip()


def name(text: str) -> str:
    """A name on one line and of a limited length: one with a line break could forge a speaker."""
    line = " ".join(_UNSEEN.sub(" ", text).split())
    return line if len(line) <= MOST_NAME else line[: MOST_NAME - 1].rstrip() + "…"


def _without(text: str, me: str) -> str:
    """`text` without the bot's mention, nor what people write after one: "@bot: hello"."""
    own = rf"<@{re.escape(me)}(?:\|[^<>]*+)?>"
    text = re.sub(rf"\A\s*+(?:{own}[\s,:;]*+)+", "", text)
    return re.sub(rf" ?{own}", "", text)


def unescaped(text: str) -> str:
    """`text` without Slack's three entities."""
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    return text


def people(text: str) -> tuple[str, ...]:
    """The ids of the users that `text` mentions, in their order, each once."""
    found = (match[2] for match in _CONTROL.finditer(text) if match[1] == "@")
    return tuple(dict.fromkeys(found))


def calls_others(text: str, me: str) -> bool:
    """Whether `text` mentions a person other than the bot, a group of people, or everybody."""
    return any(
        (match[1] == "@" and match[2] != me) or (match[1] == "!" and _is_call(match[2]))
        for match in _CONTROL.finditer(text)
    )


def _is_call(command: str) -> bool:
    return command in ("channel", "here", "everyone") or command.startswith("subteam^")


def _said(match: re.Match[str], names: Mapping[str, str]) -> str:
    """What a person sees in place of one control sequence."""
    kind, target = match[1], unescaped(match[2])
    label = unescaped(match[3] or "")
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
    """A time without a text of its own."""
    try:
        at = dt.datetime.fromtimestamp(int(seconds), dt.UTC)
    except (OverflowError, ValueError, OSError):
        return seconds
    return at.strftime("%Y-%m-%d %H:%M UTC")


def _link(url: str, label: str) -> str:
    """As it was typed: Slack labels a bare domain or an address with itself."""
    bare = url.removeprefix("mailto:").removeprefix("tel:")
    if not label or label == bare or url.removeprefix("https://").removeprefix("http://") == label:
        return label or bare
    return f"[{label}]({url})"
