"""A conversation as Markdown: front matter, then a heading and the text of each message. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, tzinfo

from adapters.web.page_serializers import BOT_NAME
from bot.domain.conversations import Conversation, Role
from bot.domain.names import one_line
from bot.domain.records import AttachmentRecord, MessageRecord

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_NAMES = {Role.SYSTEM: "System", Role.ASSISTANT: BOT_NAME, Role.USER: "User"}


class MarkdownWriter:
    """Writes one conversation, message by message; times are in `zone`."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._epoch: int | None = None

    def head(
        self, uid: str, conversation: Conversation, answering: str, *, exported_at: float
    ) -> str:
        """The front matter, which is YAML, and the title."""
        known = {
            "title": conversation.name,
            "id": uid,
            "model": answering,
            "effort": conversation.effort,
            "temperature": conversation.temperature,
            "instructions": conversation.instructions or None,
            "created_at": self._iso(conversation.created_at),
            "updated_at": self._iso(conversation.updated_at),
            "exported_at": self._iso(exported_at),
        }
        # A JSON value is a YAML value.
        lines = [
            f"{key}: {json.dumps(value, ensure_ascii=False)}"
            for key, value in known.items()
            if value is not None
        ]
        title = one_line(conversation.name, otherwise="Conversation")
        return "\n".join(["---", *lines, "---", "", f"# {title}", ""])

    def message(self, message: MessageRecord) -> str:
        """One message with the names of its files."""
        parts = [*self._reset(message), f"## {self._heading(message)}"]
        parts += [text] if (text := closed(message.content.strip())) else []
        if message.attachments:
            parts.append("\n".join(_attached(each) for each in message.attachments))
        return "".join(f"\n{part}\n" for part in parts)

    def _reset(self, message: MessageRecord) -> Iterator[str]:
        """A line where the conversation started over."""
        if self._epoch is not None and message.epoch != self._epoch:
            yield "---\n\n*Started over: the model gets nothing from above.*"
        self._epoch = message.epoch

    def _heading(self, message: MessageRecord) -> str:
        author = message.author
        who = author.name if author and author.name else _NAMES[message.role]
        at = datetime.fromtimestamp(message.created_at, self._zone)
        by = f" · {_escaped(message.model)}" if message.model else ""
        return f"{_escaped(one_line(who))}{by} · {at:%Y-%m-%d %H:%M:%S} {_offset(at)}"

    def _iso(self, seconds: float) -> str:
        return datetime.fromtimestamp(seconds, self._zone).isoformat(timespec="seconds")


def _offset(at: datetime) -> str:
    """`UTC`, or `+01:00`."""
    text = f"{at:%z}"
    return "UTC" if at.tzname() == "UTC" else f"{text[:3]}:{text[3:5]}"


def _attached(attachment: AttachmentRecord) -> str:
    name = one_line(attachment.name, otherwise="file").replace("`", "'")
    kind = attachment.media_type
    size = "" if attachment.size is None else f"{attachment.size:,} bytes"
    facts = ", ".join(filter(None, ("" if attachment.is_link else kind, size)))
    word = "Link" if attachment.is_link else "Attached"
    return f"- {word}: `{name}`" + (f" ({facts})" if facts else "")


def _escaped(text: str) -> str:
    """Escape plain text for use in a Markdown heading."""
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", text)


def closed(text: str) -> str:
    """The text with its last code block closed, so that it does not swallow what follows."""
    fence = ""
    for line in text.splitlines():
        found = _FENCE.match(line)
        if found is None:
            continue
        mark = found[1]
        if not fence:
            fence = mark
        elif mark[0] == fence[0] and len(mark) >= len(fence) and not line[found.end() :].strip():
            fence = ""
    return f"{text}\n{fence}" if fence else text
