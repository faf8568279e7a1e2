"""Estimates a request's tokens, corrected by the counts of each model's provider.

The estimate in `bot.domain.tokens` is too high or too low by a factor that depends on the tokenizer
and on the script: a Chinese character takes from 0.7 to 3 tokens. So each model has a weight for
each class of characters. It starts as the weight in `bot.domain.tokens` times the ratio of stored
counts, and is then fitted to the counted requests by least squares. For the measurements, see
docs/decisions/2026-11-29-requests-keep-their-beginning.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from operator import mul

from bot.domain.context import RequestTokens, TokenCount
from bot.domain.conversations import Message, Role
from bot.domain.tokens import (
    ASCII_CHARACTERS_PER_TOKEN,
    ASTRAL_TOKENS,
    TOKENS_PER_MESSAGE,
    count_tokens,
    image_tokens,
    message_tokens,
)
from bot.ports.context import ContextStore

Features = tuple[int, int, int, int, int, int, int]
"""The number of ASCII letters and single blanks; of characters in runs of blanks, dashes and equals
signs (indentation, tables); of other ASCII characters; of characters with two, three and four bytes
in UTF-8; and of messages."""

_ASCII = 1 / ASCII_CHARACTERS_PER_TOKEN
_PRIOR = (_ASCII, _ASCII, _ASCII, 1.0, 1.0, float(ASTRAL_TOKENS), float(TOKENS_PER_MESSAGE))

_LETTERS = bytes(range(ord("A"), ord("Z") + 1)) + bytes(range(ord("a"), ord("z") + 1)) + b" "
_ASCII_BYTES, _CONTINUING_BYTES = bytes(range(0x80)), bytes(range(0x80, 0xC0))
_FIRST_OF_TWO, _FIRST_OF_THREE = bytes(range(0xC0, 0xE0)), bytes(range(0xE0, 0xF0))
_FIRST_OF_IDEOGRAPHS = bytes(range(0xE4, 0xEA))  # U+4000 to U+9FFF

COUNTS = 20
"""How many stored counts of a model a new process starts with."""

FEW = 10
"""Until a model has this many counted requests, a conversation's last count is the lower limit."""

MIN_RATIO, MAX_RATIO = 0.3, 3.0
"""The bounds for a model's ratio of counted to estimated tokens."""

_LEAST = (1 / 6, 0.0, 1 / 8, 1 / 6, 1 / 6, 1 / 3, 1.0)
"""The fewest tokens for each feature, in any language with such characters: the tokenizers with the
largest tables fit 4.5 English, 4 Cyrillic or 4 Hindi letters of prose into a token."""

_LEAST_PER_IDEOGRAPH = 0.4
"""For Chinese, with 1.4 to 1.8 characters per token. With the limit for English, a count of a third
of the real one would be believed."""

_PULL = 0.001
"""How strongly a factor is pulled towards its initial value, relative to one request's square."""

_MEMORY = 0.95
"""The weight of a request after the next one arrives. Both values were chosen by measuring: the
errors hardly change between 0.0004 and 0.003, and between 0.9 and 0.99."""


def features(messages: Iterable[Message]) -> Features:
    """Count the features that a request's token estimate is based on; images are not included."""
    letters = runs = ascii_count = two = three = four = count = 0
    for message in messages:
        data, count = message.content.encode("utf-8", "replace"), count + 1
        rest = data.translate(None, _ASCII_BYTES)
        blanks = 2 * data.count(b"  ")
        letters += len(data) - len(data.translate(None, _LETTERS)) - blanks
        runs += blanks + 2 * (data.count(b"--") + data.count(b"=="))
        ascii_count += len(data) - len(rest)
        if rest:
            firsts = rest.translate(None, _CONTINUING_BYTES)
            of_two = len(firsts) - len(firsts.translate(None, _FIRST_OF_TWO))
            of_three = len(firsts) - len(firsts.translate(None, _FIRST_OF_THREE))
            two, three, four = (
                two + of_two,
                three + of_three,
                four + len(firsts) - of_two - of_three,
            )
    return letters, runs, ascii_count - letters - runs, two, three, four, count


def request_tokens(messages: Sequence[Message]) -> RequestTokens | None:
    """A request's estimate and the limits of its count; None if there are images.

    Providers count images in different ways.
    """
    if any(message.parts for message in messages):
        return None
    estimated, least = sum(map(message_tokens, messages)), sum(map(mul, _LEAST, features(messages)))
    least += (_LEAST_PER_IDEOGRAPH - _LEAST[4]) * sum(map(_ideographs, messages))
    return RequestTokens(estimated, int(least), int(MAX_RATIO * estimated))


def _ideographs(message: Message) -> int:
    data = message.content.encode("utf-8", "replace")
    return len(data) - len(data.translate(None, _FIRST_OF_IDEOGRAPHS))


class ModelEstimate:
    """The weights of one model. `ratio` is the provider's count divided by our estimate, as stored.

    Each weight is a factor of the one in `bot.domain.tokens`. The factors minimize the squared
    relative errors of the counted requests, with more weight on newer ones, and their squared
    distances from `ratio`, so that a class without any requests keeps a sensible factor.
    """

    def __init__(self, ratio: float = 1.0) -> None:
        self._prior = ratio
        self._weights = [ratio * weight for weight in _PRIOR]
        self._products = [[0.0] * len(_PRIOR) for _ in _PRIOR]  # of the requests' features
        self._sums = [0.0] * len(_PRIOR)
        self.requests = 0

    def tokens(self, found: Features) -> float:
        """The expected count."""
        return float(sum(map(mul, self._weights, found)))

    def learn(self, found: Features, counted: int) -> None:
        """Fit the weights to another counted request."""
        shares = [weight * each / counted for weight, each in zip(_PRIOR, found, strict=True)]
        self._products = [
            [_MEMORY * cell + one * other for cell, other in zip(row, shares, strict=True)]
            for row, one in zip(self._products, shares, strict=True)
        ]
        self._sums = [_MEMORY * old + share for old, share in zip(self._sums, shares, strict=True)]
        matrix = [
            [cell + _PULL * (i == j) for j, cell in enumerate(row)]
            for i, row in enumerate(self._products)
        ]
        right = [each + _PULL * self._prior for each in self._sums]
        solved = _solve(matrix, right)
        factors = [min(max(each, MIN_RATIO / 3), 3 * MAX_RATIO) for each in solved]
        # Exact for this request, which the next one repeats.
        scale = 1 / sum(map(mul, factors, shares))
        self._weights = [scale * each * prior for each, prior in zip(factors, _PRIOR, strict=True)]
        self.requests += 1


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Solve a system of linear equations with a positive definite matrix (Gauss)."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for i, pivot in enumerate(rows):
        for row in rows[i + 1 :]:
            factor = row[i] / pivot[i]
            row[i:] = [a - factor * b for a, b in zip(row[i:], pivot[i:], strict=True)]
    found: list[float] = []
    for i in range(len(rows) - 1, -1, -1):
        row = rows[i]
        known = sum(a * b for a, b in zip(row[i + 1 : -1], found, strict=True))
        found.insert(0, (row[-1] - known) / row[i])
    return found


class RequestEstimate:
    """Estimates the parts of one conversation's next request to a model."""

    def __init__(self, model: ModelEstimate, last: TokenCount | None = None) -> None:
        self._model = model
        self._known: dict[str, float] = {}  # the same texts are estimated several times per request
        self._ratio = ratio_of([last]) if last is not None and model.requests < FEW else 0.0

    def message(self, message: Message) -> float:
        """The tokens of a message, with its images."""
        text = self._known.get(message.content)
        if text is None:
            text = self._known[message.content] = self._text(message.content)
        return text + sum(map(image_tokens, message.parts)) if message.parts else text

    def _text(self, content: str) -> float:
        tokens = self._model.tokens(features([Message(Role.USER, content)]))
        if not self._ratio:
            return tokens
        return max(tokens, self._ratio * (count_tokens(content) + TOKENS_PER_MESSAGE))

    def messages(self, messages: Iterable[Message]) -> float:
        """The tokens of several messages."""
        return sum(map(self.message, messages))


class TokenEstimates:
    """The estimates for all models asked so far; a new process starts with stored counts."""

    def __init__(self, contexts: ContextStore) -> None:
        self._contexts = contexts
        self._models: dict[str, ModelEstimate] = {}

    async def of(self, model: str) -> ModelEstimate:
        """The estimate for `model`. Raises StoreUnavailable."""
        if model not in self._models:
            counts = await self._contexts.token_counts(model, limit=COUNTS)
            self._models.setdefault(model, ModelEstimate(ratio_of(counts)))
        return self._models[model]

    async def learn(self, model: str, messages: Sequence[Message], counted: int) -> None:
        """Learn that the provider counted `counted` tokens in a request.

        Ignores requests with images, and counts that measure something else. Raises
        StoreUnavailable.
        """
        tokens = request_tokens(messages)
        if tokens is not None and tokens.measured_by(counted):
            (await self.of(model)).learn(features(messages), counted)


def ratio_of(counts: Sequence[TokenCount]) -> float:
    """The median ratio of the provider's counts to our estimates; 1 if there are none."""
    ratios = [each.counted / each.estimated for each in counts if each.estimated > 0]
    return min(max(statistics.median(ratios), MIN_RATIO), MAX_RATIO) if ratios else 1.0
