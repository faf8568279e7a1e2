"""What people see in a Discord message beside its text, as labelled and bounded text for the model.

Pure, and from the payload as Discord sent it: discord.py drops part of it. Every field may be
missing or of another type; such a field is left out.

https://docs.discord.com/developers/resources/message and /components/reference
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from adapters.discord.payloads import identity, part, parts, snapshots, whole, words
from bot.domain.excerpts import bounded, excerpt, joined

Said = Callable[[str], str]
"""From Discord's markup to text for the model."""

SUPPRESS_EMBEDS = 1 << 2  # a message's flag: its embeds are not shown
# Embeds that Discord makes of a link in the text, and how much of one is told.
FIELD = ("name", "value")
UNFURLED, UNFURLED_CHARACTERS = frozenset({"link", "article", "video", "gifv", "image"}), 600
DEEPEST, MOST_PIECES = 12, 200  # of components, which nest

DEEPEST_FORWARD = 3  # of forwards in forwards

BUTTON, SELECTS = 2, frozenset({3, 5, 6, 7, 8})
COMPONENT_TEXTS = ("title", "content", "text", "label", "name", "description")
AN_IMAGE = "(an image)"  # without a description


def shown(raw: Any, said: Said, depth: int = 0) -> list[str]:
    """Everything that a message shows beside its text, in the order in which it is seen.

    `depth` is how many forwards it is in.
    """
    forwarded = snapshots(raw) if depth < DEEPEST_FORWARD else ()
    found = [
        *(excerpt("Attachment", text) for text in _attachments(raw, said)),
        *(excerpt("Sticker", words(sticker, "name")) for sticker in _stickers(raw)),
        *_embeds(raw, said),
        excerpt("Components", component_text(raw, said)),
        excerpt("Poll", _poll(raw, said)),
        excerpt("Activity invitation", _activity(raw)),
        *(excerpt("Forwarded message", whole_text(one, said, depth + 1)) for one in forwarded),
    ]
    return [text for text in found if text]


def whole_text(raw: Any, said: Said, depth: int = 0) -> str:
    """A message's text and everything else that it shows, for a quotation."""
    components = component_text(raw, said)
    labelled = excerpt("Components", components)
    rest = [components if text == labelled else text for text in shown(raw, said, depth)]
    return joined([said(words(raw, "content")), *rest])


def bare_files(raw: Any) -> bool:
    """Whether a message shows nothing but files and stickers without a description."""
    described = any(words(file, "description") for file in parts(raw, "attachments"))
    rest = {"attachments": None, "sticker_items": None, "stickers": None}
    return not described and not shown({**raw, **rest}, str)


def kinds(raw: Any) -> Iterator[str]:
    """The kinds of attachments that the bot cannot read, those of forwarded messages included."""
    for holder in (raw, *snapshots(raw)):
        yield from (_kind(file) for file in parts(holder, "attachments"))
        yield from ("sticker" for _ in _stickers(holder))


def _kind(file: Mapping[str, Any]) -> str:
    if file.get("waveform") is not None and file.get("duration_secs") is not None:
        return "voice message"
    kind = words(file, "content_type").partition("/")[0]
    return {"image": "image", "video": "video", "audio": "audio file"}.get(kind, "file")


def mentioned(raw: Any) -> Iterator[tuple[int, str]]:
    """People whom a message and what it forwards mention, and what they are called."""
    for holder in (raw, *snapshots(raw)):
        for person in parts(holder, "mentions"):
            user = identity(person, "id")
            nick = words(part(person, "member"), "nick")
            name = nick or words(person, "global_name") or words(person, "username")
            if user is not None and name:
                yield user, name


# ── parts ─────────────────────────────────────────────────────────────────────────────────────
def _attachments(raw: Any, said: Said) -> Iterator[str]:
    for file in parts(raw, "attachments"):
        name = words(file, "title") or words(file, "filename")
        description = said(words(file, "description"))
        yield "\n".join(filter(None, (name, description and f"Description: {description}")))


def _stickers(raw: Any) -> list[Mapping[str, Any]]:
    return list(parts(raw, "sticker_items") or parts(raw, "stickers"))


def _poll(raw: Any, said: Said) -> str:
    poll = part(raw, "poll")
    counts = {
        whole(count, "id"): whole(count, "count")
        for count in parts(part(poll, "results"), "answer_counts")
    }
    lines = [said(words(part(poll, "question"), "text"))]
    for answer in parts(poll, "answers"):
        media = part(answer, "poll_media")
        text = said(words(media, "text")) or words(part(media, "emoji"), "name")
        votes = counts.get(whole(answer, "answer_id"))
        lines.append(f"- {text}" + (f" ({votes} votes)" if votes is not None else ""))
    return "\n".join(line for line in lines if line)


def _activity(raw: Any) -> str:
    """An invitation to a game or an activity."""
    if not part(raw, "activity"):
        return ""
    return words(part(raw, "application"), "name") or "an activity"


# ── embeds ────────────────────────────────────────────────────────────────────────────────────
def _embeds(raw: Any, said: Said) -> Iterator[str]:
    if whole(raw, "flags") & SUPPRESS_EMBEDS:
        return
    content = words(raw, "content")
    for embed in parts(raw, "embeds"):
        text = _embed(embed, said, content)
        unfurled = words(embed, "type") in UNFURLED
        yield excerpt("Embed", bounded(text, UNFURLED_CHARACTERS) if unfurled else text)


def _embed(embed: Mapping[str, Any], said: Said, content: str) -> str:
    url = words(embed, "url")
    title = said(words(embed, "title"))
    if title and url and url not in content:
        title = f"{title} ({url})"
    lines = [
        words(part(embed, "provider"), "name"),
        said(words(part(embed, "author"), "name")),
        title,
        said(words(embed, "description")),
        *(_field(field, said) for field in parts(embed, "fields")),
        *(_image(part(embed, name), said) for name in ("image", "thumbnail", "video")),
        said(words(part(embed, "footer"), "text")),
    ]
    text = "\n\n".join(line for line in lines if line)
    pictured = any(part(embed, name) for name in ("image", "thumbnail", "video"))
    linked = bool(url) and url in content  # the link itself says as much
    return text or (AN_IMAGE if pictured and not linked else "")


def _field(field: Mapping[str, Any], said: Said) -> str:
    """Authors of embeds fill a name or value that they want empty with zero-width spaces."""
    pair = (said(words(field, name)).strip("\u200b\u200c\u200d\u2060\ufeff") for name in FIELD)
    return ": ".join(filter(None, pair))


def _image(media: Mapping[str, Any], said: Said) -> str:
    description = said(words(media, "description"))
    return f"Image: {description}" if description else ""


# ── components ────────────────────────────────────────────────────────────────────────────────
def component_text(raw: Any, said: Said) -> str:
    """The texts, descriptions and labels of components, nested as they may be."""
    pieces: list[str] = []
    for component in parts(raw, "components"):
        _walk(component, said, pieces, 0)
    return "\n\n".join(pieces)


def _walk(component: Mapping[str, Any], said: Said, pieces: list[str], depth: int) -> None:
    if depth > DEEPEST or len(pieces) > MOST_PIECES:
        return
    text = _component(component, said)
    if text:
        pieces.append(text)
    inner = [*parts(component, "components"), *parts(component, "items")]
    inner += [part(component, "accessory"), part(component, "component")]
    for child in inner:
        if child:
            _walk(child, said, pieces, depth + 1)


def _component(component: Mapping[str, Any], said: Said) -> str:
    kind = whole(component, "type")
    if kind == BUTTON:
        label = words(component, "label") or words(part(component, "emoji"), "name")
        return f"[{label}]" if label else ""
    if kind in SELECTS:
        chosen = (one for one in parts(component, "options") if one.get("default") is True)
        label = ", ".join(filter(None, (words(one, "label") for one in chosen)))
        label = label or words(component, "placeholder")
        return f"[{label}]" if label else ""
    if part(component, "media"):
        return _image(component, said) or AN_IMAGE
    texts = (words(component, name) for name in COMPONENT_TEXTS)
    return "\n".join(said(text) for text in texts if text)
