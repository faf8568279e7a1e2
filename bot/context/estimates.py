"""Estimates of a request's tokens, corrected by what each model's provider counts.

The estimate of `bot.domain.tokens` is too high or too low by a factor that depends on the tokenizer
and on the script: Chinese takes from 0.7 to 3 tokens a character. So each model has a weight for
each class of characters, which begins as `bot.domain.tokens` has it, times the ratio of stored
counts, and is then fitted to every counted request by recursive least squares.
See docs/decisions/2026-11-29-requests-keep-their-beginning.md for what was measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from bot.domain.context import TokenCount
from bot.domain.conversations import Message
from bot.domain.tokens import (
    ASCII_CHARACTERS_PER_TOKEN,
    ASTRAL_TOKENS,
    TOKENS_PER_MESSAGE,
    image_tokens,
    message_tokens,
)
from bot.ports.context import ContextStore

Features = tuple[int, int, int, int, int, int]
"""How many ASCII letters and blanks, other ASCII characters, characters of two, three and four
bytes in UTF-8, and messages."""

_ASCII = 1 / ASCII_CHARACTERS_PER_TOKEN
_PRIOR = (_ASCII, _ASCII, 1.0, 1.0, float(ASTRAL_TOKENS), float(TOKENS_PER_MESSAGE))

_LETTERS = bytes(range(ord("A"), ord("Z") + 1)) + bytes(range(ord("a"), ord("z") + 1)) + b" "
_ASCII_BYTES, _CONTINUING_BYTES = bytes(range(0x80)), bytes(range(0x80, 0xC0))
_FIRST_OF_TWO, _FIRST_OF_THREE = bytes(range(0xC0, 0xE0)), bytes(range(0xE0, 0xF0))

COUNTS = 20
"""Stored counts of a model from which a new process begins."""

FEW = 10
"""A conversation's last count is the lower limit until a model has as many counted requests."""

MIN_RATIO, MAX_RATIO = 0.3, 3.0
"""Tokenizers are within these: a count beyond them is not one of the whole request."""

_UNCERTAINTY = 0.5
"""The standard deviation of a weight before the first count, relative to it."""

_DRIFT = 0.01
"""How much a weight may change from one request to the next, relative to its beginning: prose and
tables have the same characters and take different numbers of tokens."""

_NOISE = 0.01
"""The standard deviation of a count that the classes do not explain, relative to it."""


def features(messages: Iterable[Message]) -> Features:
    """What a request's tokens are estimated from; images are not in it."""
    letters = ascii_count = two = three = four = count = 0
    for message in messages:
        data, count = message.content.encode("utf-8", "replace"), count + 1
        rest = data.translate(None, _ASCII_BYTES)
        letters += len(data) - len(data.translate(None, _LETTERS))
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
    return letters, ascii_count - letters, two, three, four, count


class ModelEstimate:
    """The weights of one model. `ratio` is the provider's count by our estimate, as stored."""

    def __init__(self, ratio: float = 1.0) -> None:
        self._weights = [weight * ratio for weight in _PRIOR]
        self._least = [weight * MIN_RATIO / 2 for weight in _PRIOR]
        self._most = [weight * MAX_RATIO * 2 for weight in _PRIOR]
        size = range(len(_PRIOR))
        self._covariance = [
            [(_UNCERTAINTY * _PRIOR[i]) ** 2 if i == j else 0.0 for j in size] for i in size
        ]
        self.requests = 0

    def tokens(self, found: Features) -> float:
        """The expected count."""
        return sum(map(float.__mul__, self._weights, map(float, found)))

    def learn(self, found: Features, counted: int) -> None:
        """Fit the weights to one more counted request (a step of recursive least squares)."""
        covariance = self._covariance
        for i, weight in enumerate(_PRIOR):
            covariance[i][i] += (_DRIFT * weight) ** 2
        spread = [sum(map(float.__mul__, row, map(float, found))) for row in covariance]
        variance = sum(map(float.__mul__, spread, map(float, found))) + (_NOISE * counted) ** 2
        step = (counted - self.tokens(found)) / variance
        self._weights = [
            min(max(weight + step * each, least), most)
            for weight, each, least, most in zip(
                self._weights, spread, self._least, self._most, strict=True
            )
        ]
        self._covariance = [
            [cell - one * other / variance for cell, other in zip(row, spread, strict=True)]
            for row, one in zip(covariance, spread, strict=True)
        ]
        self.requests += 1


class RequestEstimate:
    """Estimates the parts of one conversation's next request to a model."""

    def __init__(self, model: ModelEstimate, last: TokenCount | None = None) -> None:
        self._model = model
        self._ratio = ratio_of([last]) if last is not None and model.requests < FEW else 0.0

    def message(self, message: Message) -> float:
        """A message's tokens, with its images."""
        text = self._model.tokens(features((message,)))
        images = sum(map(image_tokens, message.parts))
        if self._ratio:
            text = max(text, self._ratio * (message_tokens(message) - images))
        return text + images

    def messages(self, messages: Iterable[Message]) -> float:
        """The tokens of several messages."""
        return sum(map(self.message, messages))


class TokenEstimates:
    """The estimates of all models that were asked; a new process begins with stored counts."""

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
        """The provider counted `counted` tokens in a request; one with images tells nothing.

        Raises StoreUnavailable.
        """
        estimated = sum(map(message_tokens, messages))
        sane = MIN_RATIO * estimated <= counted <= MAX_RATIO * estimated
        if sane and not any(message.parts for message in messages):
            (await self.of(model)).learn(features(messages), counted)


def ratio_of(counts: Sequence[TokenCount]) -> float:
    """The median ratio of the provider's counts to our estimates; 1 without any."""
    ratios = [each.counted / each.estimated for each in counts if each.estimated > 0]
    return min(max(statistics.median(ratios), MIN_RATIO), MAX_RATIO) if ratios else 1.0
