"""Finds, completes, corrects and groups the model names that people type. Pure.

A server may choose any names for its models, and may have thousands of them.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

DEFAULT = "default"
"""The word that selects the default model or effort."""

MAX_TYPED = 200
"""The most characters of a typed name that are compared; Hugging Face's names have up to 96."""

MAX_COMPARED = 1_000
"""The most names compared for similar spelling, which takes up to 0.2 ms each."""

SIMILAR = 0.6
"""The least similarity of a suggestion, from 0 to 1; `difflib` calls this a close match."""

_PROVIDER = re.compile(r"([^/:]*)[/:]")
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # Unicode categories


def provider_of(name: str) -> str:
    """The provider's part of a name such as `ollama/llama3.1:8b` or `openai:gpt-5`; "" if none."""
    found = _PROVIDER.match(name)
    return found[1] if found else ""


def model_of(name: str) -> str:
    """The part of a name after the provider."""
    found = _PROVIDER.match(name)
    return name[found.end() :] if found else name


def resolve(typed: str, names: Sequence[str]) -> str | None:
    """The one name that `typed` refers to: exactly, in a different case, or without the
    provider."""
    if typed in names:
        return typed
    wanted = typed.casefold()
    for shorten in (str, model_of):
        found = [name for name in names if shorten(name).casefold() == wanted]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def search(typed: str, names: Iterable[str]) -> list[str]:
    """The names that contain `typed`, ignoring case; those that begin with it come first."""
    wanted = typed[:MAX_TYPED].casefold().strip()
    found = [name for name in names if wanted in name.casefold()]
    return sorted(found, key=lambda name: _rank(name.casefold(), wanted))


def _rank(name: str, wanted: str) -> int:
    if name.startswith(wanted):
        return 0
    return 1 if model_of(name).startswith(wanted) else 2


def suggest(typed: str, names: Sequence[str]) -> list[str]:
    """The names that `typed` may refer to, best first: names that contain it, else names with
    similar spelling. Takes up to 0.2 s with thousands of names."""
    return search(typed, names) or _spelled_alike(typed[:MAX_TYPED].casefold().strip(), names)


def _spelled_alike(wanted: str, names: Sequence[str], most: int = 5) -> list[str]:
    """Compare with full names, or with names without their provider if `wanted` has none."""
    shorten = str if _PROVIDER.match(wanted) else model_of
    spellings: dict[str, str] = {}
    for name in names[:MAX_COMPARED]:
        spellings.setdefault(shorten(name).casefold(), name)
    alike = difflib.get_close_matches(wanted, spellings, n=most, cutoff=SIMILAR)
    return [spellings[spelling] for spelling in alike]


def group(names: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Group names by provider, in their original order."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(provider_of(name), []).append(name)
    return groups


def plain(text: str, most: int = 100) -> str:
    """`text` on one line of at most `most` characters, without invisible characters or backticks.

    Names come from servers; between backticks, the result renders exactly as this text.
    """
    visible = "".join(
        " " if unicodedata.category(character) in _INVISIBLE else character for character in text
    )
    line = " ".join(visible.replace("`", "'").split()) or "?"
    return line if len(line) <= most else line[: most - 1] + "…"
