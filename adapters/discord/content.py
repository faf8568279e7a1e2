"""Converts everything else that a Discord message shows to labelled, truncated model input.

Pure. Reads the raw payload, since discord.py drops parts of it. Any field may be missing or have
another type and is then left out.

The core adds the names of a message's own files, so only their descriptions are text here. For a
forward or a quote, the text includes the names, to tell the model which files belong to it.

https://docs.discord.com/developers/resources/message and /components/reference
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from adapters.discord.attachments import MAX_FORWARD_DEPTH, file_name
from adapters.discord.payloads import (
    forwarded_messages,
    get_int,
    get_object,
    get_objects,
    get_text,
    read_id,
)
from bot.domain.excerpts import excerpt, join_excerpts, truncate

Converter = Callable[[str], str]
"""Converts Discord's markup to text for the model."""

SUPPRESS_EMBEDS = 1 << 2  # message flag
# Types of the embeds that Discord generates for a link, and how much of each the model reads.
UNFURLED, UNFURLED_CHARACTERS = frozenset({"link", "article", "video", "gifv", "image"}), 600
MAX_COMPONENT_DEPTH, MAX_COMPONENTS = 12, 200

BUTTON, SELECTS = 2, frozenset({3, 5, 6, 7, 8})  # documented component types
COMPONENT_TEXTS = ("title", "content", "text", "label", "name", "description")
UNDESCRIBED_IMAGE = "(an image)"


def visible_parts(raw: Any, convert: Converter, depth: int = 0) -> list[str]:
    """Everything a message shows in addition to its text, in display order.

    `depth` counts the forwards and quotes around it.
    """
    forwarded = forwarded_messages(raw) if depth < MAX_FORWARD_DEPTH else ()
    files = _named_files if depth else _file_descriptions
    found = [
        *files(raw, convert),
        *(excerpt("Sticker", get_text(sticker, "name")) for sticker in _stickers(raw)),
        *_embeds(raw, convert),
        excerpt("Components", component_text(raw, convert)),
        excerpt("Poll", _poll(raw, convert)),
        excerpt("Activity invitation", _activity(raw)),
        *(excerpt("Forwarded message", full_text(one, convert, depth + 1)) for one in forwarded),
    ]
    return [text for text in found if text]


def full_text(raw: Any, convert: Converter, depth: int = 1) -> str:
    """A message's text and everything else it shows, for quoting."""
    components = component_text(raw, convert)
    labelled = excerpt("Components", components)
    rest = [components if text == labelled else text for text in visible_parts(raw, convert, depth)]
    return join_excerpts([convert(get_text(raw, "content")), *rest])


def mentioned_users(raw: Any) -> Iterator[tuple[int, str]]:
    """Ids and display names of the users that a message and its forwards mention."""
    for holder in (raw, *forwarded_messages(raw)):
        for person in get_objects(holder, "mentions"):
            user = read_id(person, "id")
            nick = get_text(get_object(person, "member"), "nick")
            name = nick or get_text(person, "global_name") or get_text(person, "username")
            if user is not None and name:
                yield user, name


# ── parts ─────────────────────────────────────────────────────────────────────────────────────
def _file_descriptions(raw: Any, convert: Converter) -> Iterator[str]:
    """Descriptions (alt text) that people wrote for a message's own files."""
    for file in get_objects(raw, "attachments"):
        label = f"Description of {file_name(file)}"
        yield excerpt(label, convert(get_text(file, "description")))


def _named_files(raw: Any, convert: Converter) -> Iterator[str]:
    for file in get_objects(raw, "attachments"):
        description = convert(get_text(file, "description"))
        parts = (file_name(file), description and f"Description: {description}")
        yield excerpt("Attachment", "\n".join(filter(None, parts)))


def _stickers(raw: Any) -> list[Mapping[str, Any]]:
    return list(get_objects(raw, "sticker_items") or get_objects(raw, "stickers"))


def _poll(raw: Any, convert: Converter) -> str:
    poll = get_object(raw, "poll")
    counts = {
        get_int(count, "id"): get_int(count, "count")
        for count in get_objects(get_object(poll, "results"), "answer_counts")
    }
    lines = [convert(get_text(get_object(poll, "question"), "text"))]
    for answer in get_objects(poll, "answers"):
        media = get_object(answer, "poll_media")
        text = convert(get_text(media, "text")) or get_text(get_object(media, "emoji"), "name")
        votes = counts.get(get_int(answer, "answer_id"))
        lines.append(f"- {text}" + (f" ({votes} votes)" if votes is not None else ""))
    return "\n".join(line for line in lines if line)


def _activity(raw: Any) -> str:
    """The game or activity to which the message invites people."""
    if not get_object(raw, "activity"):
        return ""
    return get_text(get_object(raw, "application"), "name") or "an activity"


# ── embeds ────────────────────────────────────────────────────────────────────────────────────
def _embeds(raw: Any, convert: Converter) -> Iterator[str]:
    if get_int(raw, "flags") & SUPPRESS_EMBEDS:
        return
    content = get_text(raw, "content")
    for embed in get_objects(raw, "embeds"):
        text = _embed(embed, convert, content)
        unfurled = get_text(embed, "type") in UNFURLED
        yield excerpt("Embed", truncate(text, UNFURLED_CHARACTERS) if unfurled else text)


def _embed(embed: Mapping[str, Any], convert: Converter, content: str) -> str:
    url = get_text(embed, "url")
    title = convert(get_text(embed, "title"))
    if title and url and url not in content:
        title = f"{title} ({url})"
    lines = [
        get_text(get_object(embed, "provider"), "name"),
        convert(get_text(get_object(embed, "author"), "name")),
        title,
        convert(get_text(embed, "description")),
        *(_field(field, convert) for field in get_objects(embed, "fields")),
        *(_image(get_object(embed, name), convert) for name in ("image", "thumbnail", "video")),
        convert(get_text(get_object(embed, "footer"), "text")),
    ]
    text = "\n\n".join(line for line in lines if line)
    pictured = any(get_object(embed, name) for name in ("image", "thumbnail", "video"))
    linked = bool(url) and url in content  # then the link in the text stands for the image
    return text or (UNDESCRIBED_IMAGE if pictured and not linked else "")


def _field(field: Mapping[str, Any], convert: Converter) -> str:
    """A field's name and value; bots leave either one blank with zero-width spaces."""
    texts = (convert(get_text(field, key)) for key in ("name", "value"))
    return ": ".join(filter(None, (text.strip("\u200b\u200c\u200d\u2060\ufeff") for text in texts)))


def _image(media: Mapping[str, Any], convert: Converter) -> str:
    description = convert(get_text(media, "description"))
    return f"Image: {description}" if description else ""


# ── components ────────────────────────────────────────────────────────────────────────────────
def component_text(raw: Any, convert: Converter) -> str:
    """The texts, descriptions and labels of a message's nested components."""
    pieces: list[str] = []
    for component in get_objects(raw, "components"):
        _walk(component, convert, pieces, 0)
    return "\n\n".join(pieces)


def _walk(component: Mapping[str, Any], convert: Converter, pieces: list[str], depth: int) -> None:
    if depth > MAX_COMPONENT_DEPTH or len(pieces) > MAX_COMPONENTS:
        return
    text = _component(component, convert)
    if text:
        pieces.append(text)
    inner = [*get_objects(component, "components"), *get_objects(component, "items")]
    inner += [get_object(component, "accessory"), get_object(component, "component")]
    for child in inner:
        if child:
            _walk(child, convert, pieces, depth + 1)


def _component(component: Mapping[str, Any], convert: Converter) -> str:
    kind = get_int(component, "type")
    if kind == BUTTON:
        label = get_text(component, "label") or get_text(get_object(component, "emoji"), "name")
        return f"[{label}]" if label else ""
    if kind in SELECTS:
        chosen = (one for one in get_objects(component, "options") if one.get("default") is True)
        label = ", ".join(filter(None, (get_text(one, "label") for one in chosen)))
        label = label or get_text(component, "placeholder")
        return f"[{label}]" if label else ""
    if get_object(component, "media"):
        return _image(component, convert) or UNDESCRIBED_IMAGE
    texts = (get_text(component, name) for name in COMPONENT_TEXTS)
    return "\n".join(convert(text) for text in texts if text)
