"""Reads how long a provider asks to wait: from headers, from the fields of an error, or its words.

Providers that know the wait do not all send `Retry-After`, and gateways drop the header.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

MAX_WAIT = 86_400.0
"""The longest plausible wait in seconds: no provider means more than a day."""

_EPOCH = 1_000_000_000.0
"""Larger numbers are points in time in seconds, and 1,000 times larger ones in milliseconds."""

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = (
    r"\d{1,12}+(?:\.\d{1,9}+)?\s?"
    r"(?:milliseconds?|ms|d(?:ays?)?|h(?:ours?|rs?)?|m(?:inutes?|ins?)?|s(?:ec(?:ond)?s?)?)(?![a-z])"
)
_PARTS = re.compile(_PART, re.IGNORECASE)
# Go's "1m26.4s" and Google's "34.5s".
_DURATION = re.compile(rf"(?:{_PART}\s?){{1,5}}+", re.IGNORECASE)
_NUMBER_AND_UNIT = re.compile(r"([\d.]+)\s?(ms|milli|[dhms])", re.IGNORECASE)
# "Please try again in 6m0s", "Please retry after 37 seconds", "Please wait 43021 seconds".
_IN_WORDS = re.compile(
    rf"\b(?:try again|retry|retrying|wait|resets?)(?:\s(?:again|in|after|for))?:?\s"
    rf"(?:(?:about|another)\s)?((?:{_PART}(?:,\s|\sand\s|\s)?){{1,5}}+)",
    re.IGNORECASE,
)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The wait in seconds that `Retry-After` asks for, as a number, a duration or an HTTP date."""
    return next(_waits(headers), None)


def _waits(headers: Mapping[str, str]) -> Iterator[float]:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        wait = parse_seconds(value)
        if wait is not None:
            yield _clamp(wait * unit)
            continue
        try:
            yield _clamp((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (TypeError, ValueError):
            continue


def reset_after(headers: Mapping[str, str]) -> float | None:
    """The wait in seconds until every used-up limit in these headers is reset.

    A limit is used up if its header with `remaining` in place of `reset` says 0. Names are in lower
    case.
    """
    waits = [
        wait
        for name, value in headers.items()
        if "ratelimit" in name
        and "reset" in name
        and parse_seconds(headers.get(name.replace("reset", "remaining"))) == 0.0
        and (wait := _until(value)) is not None
    ]
    return max(waits, default=None)


def _until(value: str) -> float | None:
    """Seconds until a reset, which is a number, a duration or a point in time."""
    try:
        number = float(value)
    except ValueError:
        return parse_seconds(value) if _DURATION.fullmatch(value.strip()) else _until_date(value)
    if not math.isfinite(number):
        return None
    number = number / 1_000 if number > _EPOCH * 1_000 else number
    return _clamp(number - datetime.now(UTC).timestamp() if number > _EPOCH else number)


def _until_date(value: str) -> float | None:
    try:
        date = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if date.tzinfo is None else _clamp((date - datetime.now(UTC)).total_seconds())


def wait_in_words(text: str) -> float | None:
    """The wait in seconds that a sentence such as "Please try again in 6m0s." asks for."""
    found = _IN_WORDS.search(text)
    return None if found is None else _clamp(_add_up(found[1]))


def parse_seconds(value: Any) -> float | None:
    """Seconds from a number or a duration; None for anything else."""
    if isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        return _clamp(_add_up(value))
    try:
        seconds = float(value)
    except (OverflowError, TypeError, ValueError):
        return None
    return _clamp(seconds) if math.isfinite(seconds) else None


def _add_up(duration: str) -> float:
    parts = (_NUMBER_AND_UNIT.match(part) for part in _PARTS.findall(duration))
    return sum(float(part[1]) * _unit(part[2]) for part in parts if part is not None)


def _unit(word: str) -> float:
    return _UNITS["ms" if word.lower() == "milli" else word.lower()]


def _clamp(seconds: float) -> float:
    return min(max(0.0, seconds), MAX_WAIT)
