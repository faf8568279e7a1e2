"""The token budgets that models were found to accept."""

from __future__ import annotations

from bot.domain.errors import ContextTooLong


class ContextBudgets:
    """The token budgets that models were found to accept, by model name; kept in memory."""

    def __init__(self) -> None:
        self._budgets: dict[str, int] = {}

    def get(self, model: str, tokens: int) -> int:
        """The budget for a first request in estimated tokens; `tokens` is the setting's."""
        return min(tokens, self._budgets.get(model, tokens))

    def learn(self, model: str, tokens: int, max_tokens: int | None, error: ContextTooLong) -> int:
        """The budget to try after a request of `tokens` estimated tokens was too long.

        If the server names its window, the ratio of its token count to our estimate converts the
        window to a budget, which is remembered; a quarter is left for the answer. Otherwise the
        budget is half of `tokens`.
        """
        half = tokens // 2
        if error.window is None:
            return half
        counted = error.asked if error.asked and error.asked > error.window else None
        ratio = tokens / counted if counted else 1.0
        room = error.window - min(max_tokens or error.window // 4, error.window // 2)
        budget = int(room * min(max(ratio, 0.5), 4.0))
        if budget >= tokens:  # the estimate says that the request would have fit
            budget = half
        self._budgets[model] = min(budget, self._budgets.get(model, budget))
        return budget
