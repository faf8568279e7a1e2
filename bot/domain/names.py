"""Names of people and channels, for the model."""

from __future__ import annotations

import unicodedata

NAME_CHARACTERS = 80
"""The most characters of a name. Discord allows 32 and Slack 80."""

_LONGEST_ENDING = 12  # ".excalidraw" and the like; anything longer is part of the name
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")  # needed in Persian words and in emoji


def one_line(name: str, *, otherwise: str = "unknown") -> str:
    """`name` on one line of bounded length, so that it cannot imitate another speaker.

    Line breaks, control characters and direction marks become spaces. `otherwise` replaces a name
    without visible characters.
    """
    head = name[: 4 * NAME_CHARACTERS]
    visible = "".join(c if c in _JOINERS or _is_visible(c) else " " for c in head)
    words = " ".join(visible.split())
    return words[:NAME_CHARACTERS].rstrip() or otherwise


def file_name(name: str, *, otherwise: str = "file") -> str:
    """The name of a file without its folders, on one line; shortened before the extension if
    necessary.

    People and models see it; it is never a path.
    """
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem, dot, ending = last.rpartition(".")
    if not stem or len(ending) > _LONGEST_ENDING:
        return one_line(last, otherwise=otherwise)
    tail = one_line(f"{dot}{ending}", otherwise="")
    return one_line(stem, otherwise=otherwise)[: NAME_CHARACTERS - len(tail)] + tail


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in _INVISIBLE
