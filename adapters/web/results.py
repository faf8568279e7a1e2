"""The result of a concluded turn for a program: the answer, or an error with our sentence.

Invariant: a provider's words never reach the client; the log has them, with the turn's id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from fastapi import HTTPException

from adapters.web.chat import ChatService
from adapters.web.limits import RETRY_SECONDS
from adapters.web.serializers import timestamp
from adapters.web.sse import event
from bot.domain import texts
from bot.domain.errors import StoreUnavailable
from bot.domain.records import ReplyRecord
from bot.domain.turns import Outcome

# HTTP status by the reason of the failure.
_STATUSES: Mapping[str | None, int] = {
    "RateLimited": 503,
    "Overloaded": 503,
    "ModelLoading": 503,
    "Unreachable": 503,
    "queue full": 503,
    "TimedOut": 504,
    "ContextTooLong": 413,
    "ContentRefused": 422,
}
_FAILED = 502  # the model failed in any other way: key, model name, broken stream
_ENDED = {Outcome.STOPPED: 409, Outcome.RESET: 409, Outcome.GONE: 404}


def failure(reply: ReplyRecord) -> HTTPException | None:
    """The error of a concluded reply, or None if it is a complete answer."""
    outcome = reply.outcome
    if outcome is Outcome.ANSWERED or (outcome is Outcome.STOPPED and reply.content):
        return None
    status = _ENDED.get(outcome) if outcome else None
    if status is None:
        status = _STATUSES.get(reply.error, _FAILED)
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
    return HTTPException(status, _sentence(reply), headers)


def _sentence(reply: ReplyRecord) -> str:
    return texts.last_sentence(reply.display) or texts.INTERNAL


def answer(reply: ReplyRecord) -> dict[str, str]:
    """The assistant's message. Raises the reply's failure if there is no answer."""
    error = failure(reply)
    if error is not None:
        raise error
    return {
        "id": reply.uid or "",
        "author": "assistant",
        "content": reply.content,
        "created_at": timestamp(reply.concluded_at or reply.created_at),
    }


async def answer_events(chat: ChatService, turn: int) -> AsyncIterator[bytes]:
    """The answer as server-sent events: text as it streams, then `done` or `error`."""
    try:
        async for words in chat.follow(turn):
            yield event({"content": words})
        yield event(answer(await chat.outcome(turn)), "done")
    except HTTPException as error:
        yield event({"error": error.detail, "status": error.status_code}, "error")
    except StoreUnavailable:
        yield event({"error": texts.STORE_DOWN, "status": 503}, "error")
