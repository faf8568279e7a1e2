"""Converts everything that a message shows to text for the model. Pure.

The author's own text comes first, unchanged. Forwarded messages, tables and embeds follow, labelled
and limited in length, so that the model never takes them for the author's words. Of files, only
descriptions appear here: the core adds their names and contents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from adapters.slack import block_kit
from adapters.slack.attachments import TOMBSTONE, file_name
from adapters.slack.payloads import Payload, ident, items, label, mapping, objects, text
from adapters.slack.text import for_model, name, unescape
from bot.domain.excerpts import excerpt, join_excerpts

MAX_PARTS = 50
"""Attachments, files or blocks of one message to read; Slack allows 50 blocks."""

MAX_DEPTH = 3
"""Levels of forwarded messages to read."""

_WORD = re.compile(r"\w+")
_LINKED = ("is_msg_unfurl", "is_reply_unfurl", "is_thread_root_unfurl")
_NO_PREVIEW = "[no preview available]"  # the fallback of attachments that consist of blocks


def author_text(message: Payload) -> str:
    """The text that the author wrote, in Slack's stored form.

    Clients send it twice, as `text` and as `rich_text` blocks. The blocks count if `text` is empty
    or only summarizes them.
    """
    written = text(message, "text")
    blocks = block_kit.blocks_text(filter(block_kit.is_rich_text, _blocks(message)))
    if not _says_more(blocks, written):
        return written
    return blocks if not _says_more(written, blocks) else f"{written}\n{blocks}"


def message_text(message: Payload, names: Mapping[str, str], me: str = "") -> str:
    """The whole message, without the author's mention of the bot (`me`)."""
    written = for_model(author_text(message), names, me)
    return "\n\n".join(filter(None, (written, join_excerpts(_excerpts(message, names, 0)))))


def quotation(message: Payload, names: Mapping[str, str]) -> str:
    """The message quoted under the heading "NAME wrote:"."""
    return excerpt(f"{bot_name(message, names)} wrote", message_text(message, names))


def bot_name(message: Payload, names: Mapping[str, str]) -> str:
    """The name under which a bot or workflow posts."""
    profile = mapping(message, "bot_profile")
    known = names.get(ident(message, "user"), "")
    shown = (text(message, "username"), text(profile, "name"), known)
    return next(filter(None, map(name, shown)), "A bot")


class NameRequests(Mapping[str, str]):
    """A mapping without names that records which ids were looked up."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __getitem__(self, id_: str) -> str:
        self._ids[id_] = None
        raise KeyError(id_)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def ids_in(message: Payload, me: str = "") -> tuple[str, ...]:
    """The ids of the people and channels whose names `message_text` needs, each once."""
    requests = NameRequests()
    message_text(message, requests, me)
    return tuple(requests)


# ── files ─────────────────────────────────────────────────────────────────────────────────────
def _files(message: Payload) -> list[Payload]:
    found = items(message, "files")[:MAX_PARTS]
    return [file for file in found if text(file, "mode") != TOMBSTONE]


def _description(file: Payload) -> str:
    """The alternative text that people wrote for a picture."""
    return excerpt(f"Description of {file_name(file) or 'a file'}", text(file, "alt_txt"))


def _forwarded_file(file: Payload) -> str:
    """A placeholder for a file in the text; the file's content appears elsewhere under the same
    name."""
    shown = file_name(file)
    return "\n".join(filter(None, (f"[file: {shown}]" if shown else "[file]", _description(file))))


# ── tables, embeds and attachments ────────────────────────────────────────────────────────────
def _excerpts(message: Payload, names: Mapping[str, str], depth: int) -> Iterator[str]:
    """Each labelled part of a message in addition to the author's text."""
    written = author_text(message)
    for block in _blocks(message):
        if block_kit.is_table(block):
            yield excerpt("Table", for_model(block_kit.block_text(block), names))
        elif not block_kit.is_rich_text(block):
            yield excerpt("Embed", for_model(_unless_repeated(block, written), names))
    for attachment in items(message, "attachments")[:MAX_PARTS]:
        yield _attachment(attachment, names, depth)
    yield from map(_description, _files(message))
    if (room := mapping(message, "room")) and not written:
        yield excerpt("Huddle", name(text(room, "name")) or "a huddle was started here")


def _attachment(attachment: Payload, names: Mapping[str, str], depth: int) -> str:
    if depth >= MAX_DEPTH:
        return ""
    forwarded = attachment.get("is_share") is True
    linked = any(attachment.get(kind) is True for kind in _LINKED)
    author = _author(attachment, names)
    if forwarded:
        title = f"Forwarded message from {author}" if author else "Forwarded message"
    elif linked:
        title = f"{author} wrote" if author else "Linked message"
    else:
        title = "Table" if _is_only_table(attachment) else "Embed"
    heading = () if forwarded or linked else (name(author),)
    return excerpt(title, _attachment_body(attachment, heading, names, depth))


def _author(attachment: Payload, names: Mapping[str, str]) -> str:
    shown = name(text(attachment, "author_name")) or name(text(attachment, "author_subname"))
    id_ = ident(attachment, "author_id")
    return shown or (names.get(id_, "") if id_ else "")


def _is_only_table(attachment: Payload) -> bool:
    blocks = _blocks(attachment)
    return bool(blocks) and all(map(block_kit.is_table, blocks)) and not _title_lines(attachment)


def _attachment_body(
    attachment: Payload, heading: tuple[str, ...], names: Mapping[str, str], depth: int
) -> str:
    """An attachment's visible text, from top to bottom."""
    written, lines = author_text(attachment), _title_lines(attachment)
    blocks = [
        _unless_repeated(one, written)
        for one in _blocks(attachment)
        if not block_kit.is_rich_text(one)
    ]
    stored = [*lines, written, *blocks]
    parts = [*heading, for_model("\n".join(filter(None, stored)), names)]
    parts += [_attachment(one, names, depth + 1) for one in items(attachment, "attachments")]
    parts += map(_forwarded_file, _files(attachment))
    parts += [for_model("\n".join(_footer_lines(attachment)), names)]
    if any(parts[len(heading) :]):
        return "\n".join(filter(None, parts))
    fallback = text(attachment, "fallback")
    shown = "" if fallback == _NO_PREVIEW else for_model(fallback, names)
    if not shown and text(attachment, "image_url"):
        shown = "[image]"
    return "\n".join(filter(None, (*heading, shown)))


def _title_lines(attachment: Payload) -> list[str]:
    """The lines above the text."""
    title, link = text(attachment, "title"), text(attachment, "title_link")
    heading = f"<{link}|{title}>" if title and link.startswith(("http://", "https://")) else title
    found = (text(attachment, "service_name"), text(attachment, "pretext"), heading)
    return [line for line in found if line]


def _footer_lines(attachment: Payload) -> Iterator[str]:
    """The lines below the text."""
    for field in items(attachment, "fields")[:MAX_PARTS]:
        parts = (text(field, "title"), text(field, "value"))
        yield ": ".join(filter(None, parts))
    for action in items(attachment, "actions")[:MAX_PARTS]:
        if shown := label(action, "text"):
            yield f"[{shown}]"
    if footer := text(attachment, "footer"):
        yield footer


def _blocks(message: Payload) -> list[Payload]:
    """A message's blocks; a forwarded message has them one level deeper."""
    found = items(message, "blocks")
    for forwarded in items(message, "message_blocks"):
        found += objects(mapping(forwarded, "message").get("blocks"))
    return found[:MAX_PARTS]


def _unless_repeated(block: Payload, written: str) -> str:
    """A block's text; "" if `written` has all its words, as the `text` of an app's post does."""
    stored = block_kit.block_text(block)
    if block_kit.is_table(block):
        return stored
    words, new = _new_words(stored, written)
    return stored if new or not words else ""


def _says_more(stored: str, than: str) -> bool:
    """Whether `stored` is more than another form of the same text.

    Two forms of the same text differ by a word or two: labels, list numbers, a date format.
    """
    words, new = _new_words(stored, than)
    return new > 2 or 3 * new > words if words else bool(stored.strip()) and not than.strip()


def _new_words(stored: str, than: str) -> tuple[int, int]:
    words = _words(stored)
    return len(words), len(words - _words(than))


def _words(stored: str) -> set[str]:
    return set(_WORD.findall(unescape(stored).lower()))
