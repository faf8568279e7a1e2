"""All that a message shows, as text for the model: pure.

What its author wrote comes first and as it is; forwards, tables, embeds and files follow, labelled
and bounded, so that the model never takes them for the author's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from adapters.slack import block_kit
from adapters.slack.payloads import Payload, ident, items, label, objects, table, text
from adapters.slack.text import for_model, name, unescaped
from bot.domain.excerpts import excerpt, joined

MOST_PARTS = 50
"""Attachments, files or blocks of one message that are read: Slack takes 50 blocks."""

MOST_DEPTH = 3
"""Forwards of forwards that are read."""

_WORD = re.compile(r"\w+")
_LINKED = ("is_msg_unfurl", "is_reply_unfurl", "is_thread_root_unfurl")
_NO_PREVIEW = "[no preview available]"  # the fallback of attachments that are made of blocks
_GONE = frozenset({"tombstone", "hidden_by_limit"})  # files that people no longer see


def own(message: Payload) -> str:
    """What the author wrote, in Slack's stored form.

    Clients send it twice, as `text` and as `rich_text`; the blocks count where `text` is empty, or
    only hints at them.
    """
    written = text(message, "text")
    blocks = block_kit.of_blocks(filter(block_kit.is_rich_text, _blocks(message)))
    if not _says_more(blocks, written):
        return written
    return blocks if not _says_more(written, blocks) else f"{written}\n{blocks}"


def said(message: Payload, names: Mapping[str, str], me: str = "") -> str:
    """The whole message; the mention of the bot (`me`) is removed from what the author wrote."""
    written = for_model(own(message), names, me)
    return "\n\n".join(filter(None, (written, joined(_shown(message, names, 0)))))


def quotation(message: Payload, names: Mapping[str, str]) -> str:
    """The message as another author's words: "NAME wrote:" and a quote."""
    return excerpt(f"{sender(message, names)} wrote", said(message, names))


def sender(message: Payload, names: Mapping[str, str]) -> str:
    """The name under which a bot or workflow posts."""
    profile = table(message, "bot_profile")
    known = names.get(ident(message, "user"), "")
    shown = (text(message, "username"), text(profile, "name"), known)
    return next(filter(None, map(name, shown)), "A bot")


class Wanted(Mapping[str, str]):
    """Stands for the names, and knows none: it notes which are asked for."""

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
    """The people and channels whose names `said` needs, each once."""
    wanted = Wanted()
    said(message, wanted, me)
    return tuple(wanted)


# ── files ─────────────────────────────────────────────────────────────────────────────────────
def unusable(message: Payload, depth: int = 0) -> Iterator[str]:
    """What the files of a message are, those that it forwards included, but not texts read here."""
    for file in _files(message):
        if not _is_whole(file):
            yield _file_kind(file)
    if depth < MOST_DEPTH:
        for attachment in items(message, "attachments")[:MOST_PARTS]:
            yield from unusable(attachment, depth + 1)


def _files(message: Payload) -> list[Payload]:
    found = items(message, "files")[:MOST_PARTS]
    return [file for file in found if text(file, "mode") not in _GONE]


def _file_kind(file: Payload) -> str:
    mimetype = text(file, "mimetype")
    if text(file, "subtype") == "slack_audio" or mimetype.startswith("audio/"):
        return "voice message"
    return "image" if mimetype.startswith("image/") else "file"


def _is_whole(file: Payload) -> bool:
    """Whether all that the file says is in the message."""
    if text(file, "plain_text") or _transcript(file):
        return True
    cut = file.get("preview_is_truncated") or file.get("lines_more") or file.get("is_truncated")
    return bool(text(file, "preview")) and text(file, "mode") in ("snippet", "post") and not cut


def _transcript(file: Payload) -> str:
    return text(table(table(file, "transcription"), "preview"), "content")


def _file(file: Payload) -> str:
    """A file by its title, with as much of its text as Slack shows below it."""
    title = name(text(file, "title") or text(file, "name"))
    kind = name(text(file, "pretty_type"))
    head = f"{title} ({kind})" if title and kind else title or kind
    senders = (text(one, "original") or text(one, "address") for one in items(file, "from"))
    shown = (text(file, "plain_text") or text(file, "preview"), _transcript(file))
    parts = (
        head,
        text(file, "alt_txt"),
        f"Subject: {text(file, 'subject')}" if text(file, "subject") else "",
        f"From: {', '.join(found)}" if (found := [one for one in senders if one]) else "",
        *shown,
    )
    return excerpt("Attachment", "\n".join(filter(None, parts)))


# ── what else is shown ────────────────────────────────────────────────────────────────────────
def _shown(message: Payload, names: Mapping[str, str], depth: int) -> Iterator[str]:
    """Each labelled part of a message but its own words."""
    written = own(message)
    for block in _blocks(message):
        if block_kit.is_table(block):
            yield excerpt("Table", for_model(block_kit.of_block(block), names))
        elif not block_kit.is_rich_text(block):
            yield excerpt("Embed", for_model(_news(block, written), names))
    for attachment in items(message, "attachments")[:MOST_PARTS]:
        yield _attachment(attachment, names, depth)
    for file in _files(message):
        yield _file(file)
    if (room := table(message, "room")) and not written:
        yield excerpt("Huddle", name(text(room, "name")) or "a huddle was started here")


def _attachment(attachment: Payload, names: Mapping[str, str], depth: int) -> str:
    if depth >= MOST_DEPTH:
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
    return excerpt(title, _inside(attachment, heading, names, depth))


def _author(attachment: Payload, names: Mapping[str, str]) -> str:
    shown = name(text(attachment, "author_name")) or name(text(attachment, "author_subname"))
    id_ = ident(attachment, "author_id")
    return shown or (names.get(id_, "") if id_ else "")


def _is_only_table(attachment: Payload) -> bool:
    blocks = _blocks(attachment)
    return bool(blocks) and all(map(block_kit.is_table, blocks)) and not _lines(attachment)


def _inside(
    attachment: Payload, heading: tuple[str, ...], names: Mapping[str, str], depth: int
) -> str:
    """What an attachment shows, from its top to its bottom."""
    written, lines = own(attachment), _lines(attachment)
    blocks = [_news(one, written) for one in _blocks(attachment) if not block_kit.is_rich_text(one)]
    stored = [*lines, written, *blocks]
    parts = [*heading, for_model("\n".join(filter(None, stored)), names)]
    parts += [_attachment(one, names, depth + 1) for one in items(attachment, "attachments")]
    parts += map(_file, _files(attachment))
    parts += [for_model("\n".join(_below(attachment)), names)]
    if any(parts[len(heading) :]):
        return "\n".join(filter(None, parts))
    fallback = text(attachment, "fallback")
    shown = "" if fallback == _NO_PREVIEW else for_model(fallback, names)
    if not shown and text(attachment, "image_url"):
        shown = "[image]"
    return "\n".join(filter(None, (*heading, shown)))


def _lines(attachment: Payload) -> list[str]:
    """What stands above the text."""
    title, link = text(attachment, "title"), text(attachment, "title_link")
    heading = f"<{link}|{title}>" if title and link.startswith(("http://", "https://")) else title
    found = (text(attachment, "service_name"), text(attachment, "pretext"), heading)
    return [line for line in found if line]


def _below(attachment: Payload) -> Iterator[str]:
    """What stands below the text."""
    for field in items(attachment, "fields")[:MOST_PARTS]:
        parts = (text(field, "title"), text(field, "value"))
        yield ": ".join(filter(None, parts))
    for action in items(attachment, "actions")[:MOST_PARTS]:
        if shown := label(action, "text"):
            yield f"[{shown}]"
    if footer := text(attachment, "footer"):
        yield footer


def _blocks(message: Payload) -> list[Payload]:
    """The blocks of a message, or of a forwarded one, which has them one level deeper."""
    found = items(message, "blocks")
    for forwarded in items(message, "message_blocks"):
        found += objects(table(forwarded, "message").get("blocks"))
    return found[:MOST_PARTS]


def _news(block: Payload, written: str) -> str:
    """What a block shows, unless `written` says all of it, as the `text` of an app's post does."""
    stored = block_kit.of_block(block)
    if block_kit.is_table(block):
        return stored
    words, new = _new_words(stored, written)
    return stored if new or not words else ""


def _says_more(stored: str, than: str) -> bool:
    """Whether `stored` is more than another form of the same words.

    Forms of one text differ in a word or two: labels, the numbers of a list, the form of a date.
    """
    words, new = _new_words(stored, than)
    return new > 2 or 3 * new > words if words else bool(stored.strip()) and not than.strip()


def _new_words(stored: str, than: str) -> tuple[int, int]:
    words = _words(stored)
    return len(words), len(words - _words(than))


def _words(stored: str) -> set[str]:
    return set(_WORD.findall(unescaped(stored).lower()))
