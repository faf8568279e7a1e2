"""What `doctor` says about a model: one real, short answer is asked for, and nothing is raised."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Any, cast

from bot.domain import ChatRequest, Finding, Message, Role, Verdict
from bot.errors import KeyRefused, ModelError, Overloaded, RateLimited, TimedOut, UnknownModel
from bot.ports import ChatModel

# Enough for one word; a reasoning model may use all of it up, which is an answer too.
_QUESTION = ChatRequest(
    messages=(Message(role=Role.USER, content="Answer with the word: ready"),), max_tokens=16
)


async def try_model(model: ChatModel, *, key: str, address: str) -> Finding:
    """Ask `model` for one word. `key` and `address` are the names of its settings."""
    begun = time.monotonic()
    try:
        async with aclosing(cast(Any, model.stream(_QUESTION))) as deltas:
            async for _ in deltas:
                break
    except ModelError as error:
        kind = type(error).__name__
        return Finding(
            model.name, Verdict.FAILED, f"{kind} ({error})", _advice(error, key, address)
        )
    took = time.monotonic() - begun
    return Finding(model.name, Verdict.OK, f"answers after {took:.1f} s")


def _advice(error: ModelError, key: str, address: str) -> str:
    if isinstance(error, KeyRefused):
        return f"Check {key}: the key must be valid, have credit and be allowed to use the model."
    if isinstance(error, UnknownModel):
        return f"Check the model's name in LLM, and {address} if it is set."
    if isinstance(error, RateLimited):
        return "The account's rate limit is used up: wait, or raise it at the provider."
    if isinstance(error, Overloaded | TimedOut):
        return f"The server does not answer: check the network, and {address} if it is set."
    return "The log has the provider's own words."
