"""Finds the largest request to each model, in its provider's tokens.

The operator's settings take precedence, then the model's window, then its refusals.
"""

from __future__ import annotations

from bot.domain.errors import ContextTooLong, ImageRefused
from bot.ports.model import ChatModel

MAX_UNASKED_TOKENS = 32_000
"""The largest request to a model with a large window, unless the operator sets a number: each turn
of a conversation pays for the whole request."""

UNKNOWN_WINDOW_TOKENS = 16_000
"""The budget of a model whose window is unknown: local servers often have windows of this size."""

MAX_ANSWER_TOKENS = 16_384
"""Room for the answer in a large window: the longest answer of OpenAI's GPT-4o models."""

MIN_TOKENS = 256
"""The smallest budget, as for CONTEXT_TOKENS: enough for a question and a few sentences."""

MAX_IMAGES = 20
"""Images in one request, unless a server accepts fewer. According to Anthropic's guide "Vision",
with more than 20 images each must be smaller than ours are."""


def room_for_answer(window: int, max_output: int | None) -> int:
    """The part of a model's window that is reserved for the answer."""
    if max_output is not None:
        return min(max_output, window // 2)
    return min(window // 4, MAX_ANSWER_TOKENS)


def first_model(name: str) -> str:
    """The name of the model that a chain asks first."""
    return name.partition(",")[0]


class ContextBudgets:
    """The budgets of models. What refusals reveal about a model is kept in memory.

    `context_tokens` and `max_output_tokens` are the settings of these names; None means not set.
    """

    def __init__(
        self, *, context_tokens: int | None = None, max_output_tokens: int | None = None
    ) -> None:
        self._context_tokens, self._max_output_tokens = context_tokens, max_output_tokens
        self._windows: dict[str, int] = {}
        self._images: dict[str, int] = {}

    def get(self, model: ChatModel) -> int:
        """The budget for a first request to `model`; for a chain, its first model's budget."""
        facts, learned = model.facts, self._windows.get(first_model(model.name))
        cap = facts.context_tokens or self._context_tokens
        budget = cap or UNKNOWN_WINDOW_TOKENS
        if facts.window is not None:
            budget = facts.window - room_for_answer(facts.window, self._max_output_tokens)
            if cap is not None:
                budget = min(budget, cap)
            elif not facts.is_configured:
                budget = min(budget, MAX_UNASKED_TOKENS)
        if learned is not None:
            budget = min(budget, learned - room_for_answer(learned, self._max_output_tokens))
        return max(budget, MIN_TOKENS)

    def learn(self, model: ChatModel, tokens: float, error: ContextTooLong) -> int:
        """The budget to try after a request, expected to have `tokens` tokens, was too long.

        If the server names its window, the window is remembered for that model. If the server also
        counted the request, the budget corrects the error of our estimate. Otherwise the budget is
        half of the request.
        """
        half = int(tokens / 2)
        if error.window is None:
            return half
        name = error.model or first_model(model.name)
        self._windows[name] = min(error.window, self._windows.get(name, error.window))
        budget = float(error.window - room_for_answer(error.window, self._max_output_tokens))
        if error.asked and error.asked > error.window:
            budget *= min(max(tokens / error.asked, 0.3), 3.0)
        if budget >= tokens:  # by our estimate, the request would have fitted
            return half
        return max(int(budget), min(MIN_TOKENS, half))

    @staticmethod
    def is_of_first(model: ChatModel, refusing: str) -> bool:
        """Whether the refusing model (`refusing`; "" if unknown) is the one that is asked first."""
        return refusing in ("", model.name, first_model(model.name))

    def max_images(self, model: ChatModel) -> int:
        """The most images to send to `model`."""
        return self._images.get(first_model(model.name), MAX_IMAGES)

    def learn_images(self, model: ChatModel, error: ImageRefused) -> None:
        """Record that a server accepts at most as many images as the error says."""
        if error.limit is not None:
            self._images[error.model or first_model(model.name)] = max(error.limit, 1)
