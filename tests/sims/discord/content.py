"""Validates a message's body as Discord does.

Nothing over a limit is truncated: the request is refused with 50035 and the field's path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.sims.discord import constants as c
from tests.sims.discord import errors as e
from tests.sims.discord.components import check_components

JSON = dict[str, Any]
# title, description and so on of an embed, with their limits in characters
EMBED_TEXTS = {"title": 256, "description": 4096}


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a multipart body: its form name, file name, type and bytes."""

    part: str
    filename: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Draft:
    """The validated state that a message will have."""

    content: str
    embeds: list[JSON]
    components: list[JSON]
    attachments: list[JSON]
    flags: int


def text(body: JSON, key: str, default: str = "") -> str:
    """A string field of a body; null counts as `default`."""
    value = body.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        raise e.InvalidForm(key, "STRING_TYPE_CONVERT", "Could not interpret as string.")
    return value


def check_content(body: JSON, default: str = "") -> str:
    """The content as Discord stores it: stripped, at most 2,000 code points."""
    content = text(body, "content") if "content" in body else default
    if len(content) > c.MAX_CONTENT:
        raise e.too_long("content", c.MAX_CONTENT)
    return content.strip()


def check_embeds(embeds: list[JSON]) -> None:
    """Refuse too many embeds, too long ones (6,000 characters in total) and empty ones."""
    if len(embeds) > c.MAX_EMBEDS:
        raise e.too_long("embeds", c.MAX_EMBEDS)
    total = sum(_embed_size(embed, f"embeds.{n}") for n, embed in enumerate(embeds))
    if total > c.MAX_EMBED_TOTAL:
        message = f"Embed size exceeds maximum size of {c.MAX_EMBED_TOTAL}"
        raise e.InvalidForm("embeds", "MAX_EMBED_SIZE_EXCEEDED", message)


def _embed_size(embed: JSON, path: str) -> int:
    limits = [(key, embed.get(key) or "", limit) for key, limit in EMBED_TEXTS.items()]
    limits.append(("footer.text", (embed.get("footer") or {}).get("text", ""), 2048))
    limits.append(("author.name", (embed.get("author") or {}).get("name", ""), 256))
    fields = embed.get("fields") or []
    if len(fields) > 25:
        raise e.too_long(f"{path}.fields", 25)
    for n, field in enumerate(fields):
        for key, limit in (("name", 256), ("value", 1024)):
            if not field.get(key):
                raise e.required(f"{path}.fields.{n}.{key}")
            limits.append((f"fields.{n}.{key}", field[key], limit))
    for key, value, limit in limits:
        if len(value) > limit:
            raise e.too_long(f"{path}.{key}", limit)
    return sum(len(value) for _, value, _ in limits)


def check_uploads(files: list[Upload]) -> None:
    """Refuse more than ten files, and files over 10 MiB with 413 and 40005."""
    if len(files) > c.MAX_FILES:
        raise e.ApiError(400, 30015, "Maximum number of attachments in a message reached (10)")
    if any(len(file.data) > c.MAX_FILE for file in files):
        raise e.ApiError(413, 40005, "Request entity too large")


def check_nonce(body: JSON) -> str | None:
    """The nonce; refused if longer than 25 characters."""
    nonce = body.get("nonce")
    if nonce is not None and len(str(nonce)) > c.MAX_NONCE:
        raise e.InvalidForm("nonce", "NONCE_TYPE_TOO_LONG", f"Must be {c.MAX_NONCE} or fewer.")
    return None if nonce is None else str(nonce)


def check_draft(body: JSON, attachments: list[JSON]) -> Draft:
    """A new message's state; an empty one is refused with 50006."""
    flags = int(body.get("flags") or 0)
    draft = Draft(
        content=check_content(body),
        embeds=list(body.get("embeds") or []),
        components=list(body.get("components") or []),
        attachments=attachments,
        flags=flags & (c.SENDABLE_FLAGS | c.EPHEMERAL),
    )
    check_whole(draft, body)
    return draft


def check_whole(draft: Draft, body: JSON) -> None:
    """Refuse a state that is invalid as a whole."""
    check_embeds(draft.embeds)
    check_components(draft.components, v2=bool(draft.flags & c.COMPONENTS_V2))
    if draft.flags & c.COMPONENTS_V2:
        _check_v2_alone(draft, body)
    elif not (draft.content or draft.embeds or draft.attachments or draft.components):
        raise e.ApiError(400, 50006, "Cannot send an empty message")


def _check_v2_alone(draft: Draft, body: JSON) -> None:
    for key in ("content", "embeds", "sticker_ids", "poll"):
        if body.get(key) or (key in ("content", "embeds") and getattr(draft, key)):
            message = f"The '{key}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2"
            raise e.InvalidForm(key, "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", message)
    if not draft.components:
        raise e.required("components")


CODE = re.compile(r"```.*?```|``.+?``|`[^`\n]+`", re.DOTALL)
LINK = re.compile(r"(?<!<)https?://[^\s<>()\]]+")


def outside_code(content: str) -> str:
    """The content without code blocks and code spans, which contain no mentions or links."""
    return CODE.sub(" ", content)


def links(content: str) -> list[str]:
    """The links for which Discord shows a preview: those not written as `<…>`."""
    return list(dict.fromkeys(LINK.findall(outside_code(content))))[:5]
