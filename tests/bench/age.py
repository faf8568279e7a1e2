"""Age of information from a simulator's records: how old the oldest unseen text is.

Invariant: exact for what was recorded. Answers consist of numbered words, one per chunk, so the
words in a message tell which chunks it shows, whatever a renderer did to the whitespace.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
PARAGRAPH, SENTENCE = 100, 10
_WORD = re.compile(r"\bq([0-9a-z]{2})\b")


def chunks(count: int) -> list[str]:
    """An answer of plain words in sentences and paragraphs, four characters per chunk, like tokens.

    At most 1,296 chunks.
    """
    return [_chunk(number) for number in range(count)]


def _chunk(number: int) -> str:
    word = f"q{DIGITS[number // 36]}{DIGITS[number % 36]}"
    if number % PARAGRAPH == 0:
        return f"\n\n{word}" if number else word
    return f" {word}." if number % SENTENCE == SENTENCE - 1 else f" {word}"


def words(text: str) -> set[int]:
    """The numbers of the chunks that a text shows."""
    return {36 * DIGITS.index(word[0]) + DIGITS.index(word[1]) for word in _WORD.findall(text)}


@dataclass(frozen=True, slots=True)
class Version:
    """What a message showed from `at` on, in Unix seconds; removed messages show nothing."""

    at: float
    message: str
    text: str


@dataclass(frozen=True, slots=True)
class Sight:
    """From `at` on, the first `shown` chunks are on the screen, with none missing between them."""

    at: float
    shown: int


def sights(versions: Iterable[Version]) -> list[Sight]:
    """How much of one reply could be read, at every moment when that changed."""
    screen: dict[str, set[int]] = {}
    seen: list[Sight] = []
    for version in sorted(versions, key=lambda version: version.at):
        screen[version.message] = words(version.text)
        there = set().union(*screen.values())
        shown = next(number for number in range(len(there) + 1) if number not in there)
        if not seen or seen[-1].shown != shown:
            seen.append(Sight(version.at, shown))
    return seen


@dataclass(frozen=True, slots=True)
class Aged:
    """One reply's figures, in seconds. `ramps` are the rises of its age: (from, to).

    `first` is the time from the first token to the first text, `last` the time from the last token
    to the whole text. `last` is None if the reply was never whole; its age then grew until the end.
    """

    mean: float
    ramps: tuple[tuple[float, float], ...]
    lasted: float
    first: float | None
    last: float | None


def aged(written: Sequence[float], seen: Sequence[Sight], until: float) -> Aged:
    """The age of a reply whose chunks were `written` at these times; observation ended at
    `until`."""
    begun = written[0]
    whole = next((sight.at for sight in seen if sight.shown >= len(written)), None)
    end = until if whole is None else whole
    moments = [*(sight for sight in seen if sight.at < end), Sight(end, len(written))]
    ramps, at, shown = [], begun, 0
    for sight in moments:
        if shown < len(written) and sight.at > (since := written[shown]):
            ramps.append((max(0.0, at - since), sight.at - since))
        at, shown = sight.at, sight.shown
    first = next((sight.at - begun for sight in seen if sight.shown), None)
    return Aged(
        mean=sum(high * high - low * low for low, high in ramps) / 2 / (end - begun),
        ramps=tuple(ramps),
        lasted=end - begun,
        first=first,
        last=None if whole is None else whole - written[-1],
    )


def percentile(replies: Sequence[Aged], share: float) -> float:
    """The age that was not exceeded for this share of the replies' total time."""
    over = (1 - share) * sum(reply.lasted for reply in replies)
    ramps = [ramp for reply in replies for ramp in reply.ramps]
    low, high = 0.0, max((high for _, high in ramps), default=0.0)
    while high - low > 1e-4:
        middle = (low + high) / 2
        above = sum(max(0.0, top - max(bottom, middle)) for bottom, top in ramps)
        low, high = (middle, high) if above > over else (low, middle)
    return high


def middle(values: Iterable[float | None]) -> float:
    """The median of the values that are not None; NaN if there are none."""
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else float("nan")


def kinds(requests: Iterable[Mapping[str, object]]) -> dict[str, tuple[int, int]]:
    """How many requests of each kind a simulator received, and how many of them it answered with
    429."""
    counted: dict[str, tuple[int, int]] = {}
    for request in requests:
        kind = kind_of(str(request["method"]), str(request["path"]))
        all_of_it, refused = counted.get(kind, (0, 0))
        counted[kind] = (all_of_it + 1, refused + (request["status"] == 429))
    return dict(sorted(counted.items()))


_DISCORD = (
    ("POST", r"/channels/\d+/messages", "post"),
    ("PATCH", r"/channels/\d+/messages/\d+", "edit"),
    ("DELETE", r"/channels/\d+/messages/\d+", "delete"),
    ("POST", r"/channels/\d+/typing", "typing"),
    ("POST", r"/channels/\d+/messages/\d+/threads", "thread"),
)


def kind_of(method: str, path: str) -> str:
    """The kind of a request: its method on Slack, our own word for it on Discord."""
    if path.startswith("/api/v10"):
        path = path.removeprefix("/api/v10")
        named = (
            kind
            for verb, pattern, kind in _DISCORD
            if verb == method and re.fullmatch(pattern, path)
        )
        return next(named, "other")
    return path.removeprefix("/api/")
