"""Checks a ZIP container before a parser unpacks it.

Invariant: parsers never see a container whose directory claims more than `EXPANDED_BYTES`, has more
members than `EXPANDED_MEMBERS`, or contains XML with entities. If a parser unpacks more than the
directory claims, the child's memory limit stops it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

from bot.content.readers.budget import EXPANDED_BYTES, EXPANDED_MEMBERS
from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError


def check(data: bytes) -> Sequence[str]:
    """The members' names. Raises AttachmentError: EXPANDS, ENCRYPTED or DAMAGED."""
    try:
        members = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise AttachmentError(Omission.DAMAGED, "zip directory") from error
    size = sum(member.file_size for member in members)
    if size > EXPANDED_BYTES or len(members) > EXPANDED_MEMBERS:
        raise AttachmentError(Omission.EXPANDS, f"{size} bytes, {len(members)} members")
    if any(member.flag_bits & 1 for member in members):
        raise AttachmentError(Omission.ENCRYPTED)
    for member in members:
        if member.filename.lower().endswith((".xml", ".rels", ".xhtml", ".opf", ".ncx")):
            _check_entities(data, member)
    return [member.filename for member in members]


_PROLOG = 4_096
"""Bytes at the start of an XML file that contain its document type, if it defines entities."""


def _check_entities(data: bytes, member: zipfile.ZipInfo) -> None:
    """Refuse XML entities: office formats never define any, and expanding them is an attack."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)).open(member) as source:
            head = source.read(_PROLOG)
    except Exception:  # noqa: BLE001 - zipfile and its codecs raise many types; the parser judges
        return
    if b"<!ENTITY" in head or "<!ENTITY".encode("utf-16-le") in head:
        raise AttachmentError(Omission.DAMAGED, "XML entities")
