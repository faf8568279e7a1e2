"""From Slack's stored text to plain text for the model: pure, and every entity is undone once.

Slack's own form is described at docs.slack.dev/messaging/formatting-message-text: `&`, `<` and `>`
are escaped, and everything between `<` and `>` is a control sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_CONTROL = re.compile(r"<([@#!]|(?=[a-z][a-z0-9+.-]*:))([^<>|]+)(?:\|([^<>]*))?>")
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))  # &amp; last, or "&amp;lt;" is lost


def for_model(text: str, names: Mapping[str, str], me: str) -> str:
    """`text` with names for ids and plain links; the mention of the bot (`me`) is removed."""
    text = _without(text, me)
    out: list[str] = []
    end = 0
    for match in _CONTROL.finditer(text):
        out += [unescaped(text[end : match.start()]), _said(match, names)]
        end = match.end()
    return "".join([*out, unescaped(text[end:])]).strip()


def _without(text: str, me: str) -> str:
    """`text` without the bot's mention, nor what people write after one: "@bot: hello"."""
    own = rf"<@{re.escape(me)}(?:\|[^<>]*)?>"
    text = re.sub(rf"^\s*(?:{own}[\s,:;]*)+", "", text)
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
        return "@" + (names.get(target) or label or target)
    if kind == "#":
        return "#" + (label or target)
    if kind == "!":
        return _special(target, label)
    return _link(target, label)


def _special(command: str, label: str) -> str:
    if command.startswith(("subteam^", "date^")):
        return label or f"@{command.partition('^')[2]}"
    return f"@{command}"


def _link(url: str, label: str) -> str:
    """As it was typed: Slack labels a bare domain or an address with itself."""
    bare = url.removeprefix("mailto:").removeprefix("tel:")
    if not label or label == bare or url.removeprefix("https://").removeprefix("http://") == label:
        return label or bare
    return f"[{label}]({url})"


def of_blocks(blocks: Any) -> str:
    """The text of `rich_text` blocks in Slack's stored form, for messages that have no text."""
    found = (block for block in blocks or () if block.get("type") == "rich_text")
    return "\n".join("".join(_pieces(block)).strip("\n") for block in found)


def _pieces(element: Mapping[str, Any]) -> Iterator[str]:
    kind = element.get("type", "")
    for part in element.get("elements") or ():
        yield from _pieces(part)
    if kind in ("rich_text_section", "rich_text_preformatted", "rich_text_quote"):
        yield "\n"
    elif kind == "text":
        yield _escaped(str(element.get("text", "")))
    elif kind == "link":
        yield f"<{element.get('url', '')}|{_escaped(str(element.get('text', '')))}>"
    elif kind in _MARKS:
        prefix, key = _MARKS[kind]
        yield f"<{prefix}{element.get(key, '')}>"
    elif kind == "emoji":
        yield f":{element.get('name', '')}:"


_MARKS = {
    "user": ("@", "user_id"),
    "channel": ("#", "channel_id"),
    "broadcast": ("!", "range"),
    "usergroup": ("!subteam^", "usergroup_id"),
}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
