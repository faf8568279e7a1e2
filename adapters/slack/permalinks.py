"""Links to this workspace's messages, as attachments of the message that contains them. Pure.

docs.slack.dev/reference/methods/chat.getPermalink shows their form:
https://TEAM.slack.com/archives/CHANNEL/pTS, and ?thread_ts=TS for a reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from adapters.slack import content
from adapters.slack.payloads import Payload, ident, items, ts
from adapters.slack.text import unescape
from bot.domain.attachments import IncomingAttachment

MAX_LINKS = 3
"""How many messages to read when a message links to several; each costs about three requests."""

NAME = "linked message"
MARKDOWN = "text/markdown"
_LINK = re.compile(r"<(https://[^<>|\s]{1,300})")
_PATH = re.compile(r"/archives/([CDG][A-Z0-9]{1,30})/p(\d{10})(\d{6})/?")


@dataclass(frozen=True, slots=True)
class Permalink:
    """A message's place; `thread` is the root's ts, "" if the link has none."""

    channel: str
    ts: str
    thread: str = ""

    @property
    def is_reply(self) -> bool:
        """Whether the link points to a reply rather than to a thread or a single message."""
        return self.thread not in ("", self.ts)


def host_of(url: str) -> str:
    """The host in a workspace's address; "" if the address is invalid."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def is_permalink(url: str) -> bool:
    """Whether an address links to a Slack message, in any workspace."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_slack = (parts.hostname or "").endswith(".slack.com")
    return is_slack and _PATH.fullmatch(parts.path) is not None


def parse(url: str, host: str) -> Permalink | None:
    """The message to which `url` links; None unless it is in the workspace at `host`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    found = _PATH.fullmatch(parts.path)
    if found is None or not host or parts.netloc.lower() != host:
        return None
    thread = ts({"ts": parse_qs(parts.query).get("thread_ts", [""])[0]})
    return Permalink(found[1], f"{found[2]}.{found[3]}", thread)


def linked_messages(message: Payload, host: str, asker: str) -> tuple[IncomingAttachment, ...]:
    """The messages that the author links to, unless Slack already shows them below the text.

    `asker` is the id of the person whose rights count.
    """
    shown = {(ident(one, "channel_id"), ts(one)) for one in items(message, "attachments")}
    found: dict[Permalink, str] = {}
    for url in _urls(content.author_text(message)):
        place = parse(url, host)
        if place is not None and (place.channel, place.ts) not in shown:
            found.setdefault(place, url)
    return tuple(_attachment(place, found[place], asker) for place in list(found)[:MAX_LINKS])


def _urls(stored: str) -> Iterator[str]:
    return (unescape(url) for url in _LINK.findall(stored))


def _attachment(place: Permalink, url: str, asker: str) -> IncomingAttachment:
    locator = {"url": url, "channel": place.channel, "message": place.ts, "asker": asker}
    return IncomingAttachment(
        name=NAME,
        media_type=MARKDOWN,
        identity=f"{place.channel}/{place.ts}",
        locator=locator | ({"thread": place.thread} if place.thread else {}),
    )
