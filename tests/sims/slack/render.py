"""Text as Slack stores and displays it: markup, visible text, notified people and link previews.

Strict where Slack's rules are not published: a control sequence in a code span counts as a ping,
so a client must neutralize it everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape

from tests.sims.slack.values import Channel, Json, Message, User

_TYPED = re.compile(
    r"\[(?P<label>[^\]\n]+)\]\((?P<target>https?://[^\s)]+)\)"
    r"|(?P<url>https?://[^\s<>]+)"
    r"|(?<![\w@.])(?P<domain>(?:[a-z0-9-]+\.)+(?:com|org|net|io|dev)(?:/[^\s<>]*)?)(?![\w.])"
    r"|(?<!\w)@(?P<user>[\w.-]+)"
    r"|(?<!\w)#(?P<channel>[\w-]+)"
)
_PING = re.compile(r"<!(channel|here|everyone|subteam\^\w+)(?:\|[^>]*)?>|<@([UW]\w+)(?:\|[^>]*)?>")
_NAMED = re.compile(r"(?<![\w<])@(channel|here|everyone|group)\b")
_LINK = re.compile(r"https?://[^\s<>|)\]\"`*]+")
BROADCASTS = {"channel", "here", "everyone"}


def escape(text: str) -> str:
    """`text` with `&`, `<` and `>` as Slack stores them."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def to_stored_text(text: str, users: Iterable[User], channels: Iterable[Channel]) -> str:
    """A person's typed text in stored form: escaped, with mentions and links marked up.

    Recognizes `@name`, `@U…`, `@channel`, `#name`, URLs, bare domains and `[label](url)`.
    """
    people = {key: user.id for user in users for key in (user.name, user.id)}
    places = {channel.name: channel.id for channel in channels if channel.name}

    def mark(match: re.Match[str]) -> str:
        whole = escape(match.group())
        if match["label"]:
            return f"<{escape(match['target'])}|{escape(match['label'])}>"
        if match["url"]:
            return f"<{whole}>"
        if match["domain"]:
            return f"<http://{whole}|{whole}>"
        if match["channel"]:
            place = places.get(match["channel"])
            return f"<#{place}|{match['channel']}>" if place else whole
        if match["user"] in BROADCASTS:
            return f"<!{match['user']}>"
        return f"<@{people[match['user']]}>" if match["user"] in people else whole

    out, end = [], 0
    for match in _TYPED.finditer(text):
        out += [escape(text[end : match.start()]), mark(match)]
        end = match.end()
    return "".join([*out, escape(text[end:])])


_STORED = re.compile(r"<(?P<kind>[@#!]?)(?P<target>[^<>|]+)(?:\|(?P<label>[^<>]*))?>")


def rich_text(text: str) -> list[Json]:
    """The `rich_text` block that clients send along with a message's text."""
    elements, end = [], 0
    for match in _STORED.finditer(text):
        elements += [*_plain(text[end : match.start()]), _element(match)]
        end = match.end()
    section = {"type": "rich_text_section", "elements": [*elements, *_plain(text[end:])]}
    return [{"type": "rich_text", "block_id": "auto", "elements": [section]}]


def _plain(text: str) -> list[Json]:
    return [{"type": "text", "text": _unescape(text)}] if text else []


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _element(match: re.Match[str]) -> Json:
    target, label = match["target"], match["label"]
    if match["kind"] == "@":
        return {"type": "user", "user_id": target}
    if match["kind"] == "#":
        return {"type": "channel", "channel_id": target}
    if match["kind"] == "!" and target.startswith("subteam^"):
        return {"type": "usergroup", "usergroup_id": target.removeprefix("subteam^")}
    if match["kind"] == "!":
        return {"type": "broadcast", "range": target}
    link: Json = {"type": "link", "url": _unescape(target)}
    return link | ({"text": _unescape(label)} if label else {})


def mentions(text: str, user: str) -> bool:
    """Whether `text` mentions `user`."""
    return any(match[2] == user for match in _PING.finditer(text))


def _texts(part: object) -> Iterable[tuple[str, bool]]:
    """Every text in a block, and whether control sequences work in it."""
    if isinstance(part, list):
        for item in part:
            yield from _texts(item)
    elif isinstance(part, dict):
        text = part.get("text")
        if isinstance(text, str):
            yield text, part.get("type") in ("mrkdwn", "markdown")
        if part.get("type") == "user":
            yield f"<@{part.get('user_id')}>", True
        if part.get("type") == "broadcast":
            yield f"<!{part.get('range')}>", True
        for key, value in part.items():
            if key in ("text", "title", "elements", "fields", "accessory", "label"):
                yield from _texts(value)


def shown(message: Message) -> str:
    """A message's visible text: the stream and the blocks, or else the text."""
    parts = [message.stream.text] if message.stream and message.stream.text else []
    parts += [text for block in message.blocks for text, _ in _texts(block)]
    return "\n".join(parts) if parts else message.text


def pings(message: Message) -> list[str]:
    """The people or groups that the message now notifies: `channel`, `here`, `everyone` or user
    ids."""
    live = [message.text, message.stream.text if message.stream else ""]
    live += [text for block in message.blocks for text, works in _texts(block) if works]
    live += [text for part in message.attachments for text in _attachment_texts(part)]
    live += [unescape(text) for text in _markdown(message)]
    found = [match[1] or match[2] for text in live for match in _PING.finditer(text)]
    if message.link_names:
        found += [match[1] for text in live for match in _NAMED.finditer(text)]
    return sorted(set(found))


def _markdown(message: Message) -> list[str]:
    """The texts that Slack parses as Markdown, which decodes entities."""
    blocks = [block for block in message.blocks if block.get("type") == "markdown"]
    return [message.stream.text if message.stream else "", *(block["text"] for block in blocks)]


def _attachment_texts(part: Json) -> list[str]:
    return [part[key] for key in ("text", "pretext", "title") if isinstance(part.get(key), str)]


def previews(message: Message) -> list[str]:
    """The links of the current message that show a preview."""
    if not message.unfurls:
        return []
    links = _LINK.findall(shown(message) + " " + message.text)
    return list(dict.fromkeys(link.rstrip(".,;:!?") for link in links))
