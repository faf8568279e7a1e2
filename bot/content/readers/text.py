"""Reads text, code, logs, CSV and JSON: decodes, strips control characters, cuts in the middle."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping

import charset_normalizer
from pygments.lexers import get_all_lexers

from bot.content.readers.budget import TEXT_CHARACTERS
from bot.domain.attachment_texts import middle_left_out
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.errors import AttachmentError

SAMPLE = 32 * 1024
"""Bytes to detect the encoding from; detection takes 0.1 s for this size."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with UTF-16's BOM, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,1000}(?:\x07|\x1b\\))")
"""Colors, cursor movements and titles in terminal logs."""

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff\ufeff"
                       "\ud800-\udfff\U000e0000-\U000e007f]")  # fmt: skip
"""Includes bidirectional overrides and tags, which hide from people what the model reads."""

_BINARY_SHARE = 0.05
"""The share of control characters above which data is not text."""


def read(name: str, media_type: str, data: bytes) -> Extract:
    """Read a text file. Raises AttachmentError: UNSUPPORTED if binary, EMPTY if blank."""
    text = decode(data)
    if text is None:
        raise AttachmentError(Omission.UNSUPPORTED, "binary")
    kept, left_out = shorten(text)
    kept = clean(kept)
    if not kept.strip():
        raise AttachmentError(Omission.EMPTY)
    return Extract(
        kind=AttachmentKind.TEXT,
        media_type=media_type or "text/plain",
        text=kept,
        language=language_of(name, media_type),
        notes=(middle_left_out(left_out),) if left_out else (),
    )


def decode(data: bytes) -> str | None:
    """Decode text in its detected encoding; None for binary data."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data[len(bom) :].decode(encoding, "replace")
    if b"\0" in data:
        return _decode_utf16(data)
    text = _decode_utf8(data)
    if text is None:
        text = data.decode(_detect(data[:SAMPLE]), "replace")
    return None if _is_binary(text[:SAMPLE]) else text


def clean(text: str) -> str:
    """Remove control characters, and turn all line ends into newlines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    return _CONTROLS.sub("", text.replace("\f", "\n"))


def one_line(text: str, most: int = 300) -> str:
    """A name or title: one line without control characters, of at most `most` characters."""
    return clean(" ".join(text[: most * 4].split()))[:most]


def shorten(text: str, most: int = TEXT_CHARACTERS) -> tuple[str, int]:
    """Cut the middle out of a long text; also return the number of characters left out."""
    if len(text) <= most:
        return text, 0
    head, tail = text[: most * 3 // 4], text[-(most // 4) :]
    head = head[: head.rfind("\n", len(head) - 2_000) + 1 or len(head)]
    tail = tail[tail.find("\n", 0, 2_000) + 1 :]
    left_out = len(text) - len(head) - len(tail)
    return f"{head.rstrip()}\n\n[… {left_out:,} characters …]\n\n{tail}", left_out


def language_of(name: str, media_type: str) -> str:
    """The language name for a code fence around the file; "" if there is none."""
    base = name.rpartition("/")[2].lower()
    ending = base.rpartition(".")[2]
    if ending in _PREFERRED:
        return _PREFERRED[ending]
    declared = media_type.partition(";")[0].strip().lower()
    return _NAMES.get(base) or _ENDINGS.get(ending) or _TYPES.get(declared, "")


_PREFERRED = {
    "h": "c", "m": "objective-c", "md": "markdown", "txt": "", "log": "", "json": "json",
    "js": "javascript", "ts": "typescript", "pl": "perl", "sql": "sql", "csv": "csv", "tsv": "tsv",
    "html": "html", "xml": "xml", "svg": "xml", "cls": "", "v": "verilog", "s": "asm", "asm": "asm",
    "inc": "", "r": "r", "yml": "yaml", "yaml": "yaml", "rs": "rust", "vue": "vue", "diff": "diff",
    "patch": "diff", "ipynb": "json", "text": "",
}  # fmt: skip
"""The language of endings that several lexers claim."""


def _lexers() -> tuple[Mapping[str, str], Mapping[str, str], Mapping[str, str]]:
    names: dict[str, str] = {}
    endings: dict[str, str] = {}
    types: dict[str, str] = {}
    for _, aliases, patterns, media_types in get_all_lexers(plugins=False):
        if not aliases or "+" in aliases[0]:
            continue  # template lexers claim the endings of the embedded language
        for pattern in patterns:
            if pattern.startswith("*.") and pattern[2:].isalnum():
                endings.setdefault(pattern[2:].lower(), aliases[0])
            elif pattern.isalnum():
                names.setdefault(pattern.lower(), aliases[0])
        for media_type in media_types:
            types.setdefault(media_type, aliases[0])
    types["text/plain"] = ""
    return names, endings, types


_NAMES, _ENDINGS, _TYPES = _lexers()


def _decode_utf8(data: bytes) -> str | None:
    """Decode UTF-8 with a few wrong bytes: logs may be cut off or mix encodings."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    beyond_ascii = sum(1 for character in text[:SAMPLE] if character > "\x7f")
    broken = text.count("\ufffd")
    return text if broken <= max(1, len(text) // 10_000) and beyond_ascii > 2 * broken else None


def _decode_utf16(data: bytes) -> str | None:
    """Decode UTF-16 without a BOM, which has a NUL in every other byte of Western text."""
    sample = data[:SAMPLE]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = max(1, len(sample) // 2)
    if odd > 0.4 * half and even < 0.05 * half:
        text = data.decode("utf-16-le", "replace")
    elif even > 0.4 * half and odd < 0.05 * half:
        text = data.decode("utf-16-be", "replace")
    elif data.count(0) <= max(1, len(data) // 1_000) and sample.count(0) <= 10:
        return _decode_without_nul(data)  # logs of a crashed machine contain a few
    else:
        return None
    return None if _is_binary(text[:SAMPLE]) else text


def _decode_without_nul(data: bytes) -> str | None:
    rest = data.replace(b"\0", b"")
    return decode(rest) if rest else None


def _detect(sample: bytes) -> str:
    best = charset_normalizer.from_bytes(sample, cp_isolation=_ENCODINGS).best()
    return best.encoding if best is not None else "cp1252"


_ENCODINGS = [
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "iso8859_2",
    "iso8859_15", "koi8_r", "cp437", "cp850", "cp866", "mac_roman", "shift_jis", "cp932", "euc_jp",
    "iso2022_jp", "gb18030", "big5", "euc_kr", "cp949", "cp874",
]  # fmt: skip
"""Encodings that are still in use."""

for _encoding in (
    *_ENCODINGS,
    *(encoding for _, encoding in _BOMS),
    "utf-16",
    "ascii",
    "latin-1",
    "idna",
):
    codecs.lookup(_encoding)  # imports the codec


def _is_binary(text: str) -> bool:
    if not text:
        return False
    kept = _ESCAPES.sub("", text)
    controls = sum(1 for character in kept if character < " " and character not in "\t\n\r\f\x1b\b")
    return controls > max(3, _BINARY_SHARE * len(kept)) or kept.count("\ufffd") > 0.2 * len(kept)
