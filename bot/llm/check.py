"""What `doctor` says about a model: a turn's own request is made, and nothing is raised."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Any, cast

import structlog

from bot.domain.conversations import Message, Role
from bot.domain.errors import (
    ContextTooLong,
    KeyRefused,
    ModelError,
    ModelLoading,
    NoCredit,
    Overloaded,
    RateLimited,
    TimedOut,
    UnknownModel,
    Unreachable,
    WrongAddress,
)
from bot.domain.health import Finding, Verdict
from bot.domain.model import ChatRequest
from bot.ports.model import ChatModel

log = structlog.stdlib.get_logger(__name__)

QUESTION = Message(role=Role.USER, content="Answer with the word: ready")
_ALONE = ChatRequest(messages=(QUESTION,))


async def try_model(
    model: ChatModel,
    probe: ChatRequest | None,
    *,
    key: str,
    address: str,
    learned: Callable[[], Iterable[str]],
) -> Finding:
    """Ask `model` for one word. `key` and `address` are the names of its settings.

    `probe` is what a turn would send. The answer is read to its end, because some failures come
    there.
    """
    begun = time.monotonic()
    first: float | None = None
    try:
        async with aclosing(cast(Any, model.stream(probe or _ALONE))) as deltas:
            async for delta in deltas:
                if first is None and not delta.loading:
                    first = time.monotonic() - begun
    except ModelError as error:
        kind = type(error).__name__
        log.warning("the model failed its check", model=model.name, error=kind, said=error.said)
        return Finding(
            model.name, Verdict.FAILED, f"{kind} ({error})", _advice(error, key, address)
        )
    ways = ", ".join(learned())
    asked = f"; it must be asked {ways}" if ways else ""
    return Finding(model.name, Verdict.OK, f"answers after {first or 0.0:.1f} s{asked}")


def _advice(error: ModelError, key: str, address: str) -> str:
    if isinstance(error, NoCredit):
        return f"The account of {key} has no credit left: look at it at the provider."
    if isinstance(error, KeyRefused):
        return f"Check {key}: the key must be valid, have credit and be allowed to use the model."
    if isinstance(error, UnknownModel):
        return f"Check the model's name in LLM, and {address} if it is set."
    if isinstance(error, WrongAddress):
        return f"No model server answers there: check {address}, which mostly ends in /v1."
    if isinstance(error, ContextTooLong):
        return "The system prompt and MAX_OUTPUT_TOKENS are more than the model takes."
    if isinstance(error, RateLimited):
        return "The account's rate limit is used up: wait, or raise it at the provider."
    if isinstance(error, Unreachable):
        at = f" at {error.address}" if error.address else ""
        return f"Nothing answers{at}: is the server running? Check the network, and {address}."
    if isinstance(error, ModelLoading):
        return "The server is still loading the model: try again in a minute."
    if isinstance(error, Overloaded | TimedOut):
        return f"The server does not answer: check the network, and {address} if it is set."
    return "The log has the provider's own words."
