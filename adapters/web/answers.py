"""A concluded turn's result for a program: the answer, or an error with our sentence.

Invariant: a provider's words never reach the client; the log has them, with the turn's id.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping

from fastapi import HTTPException

from adapters.web.chat import ChatService
from adapters.web.limits import RETRY_SECONDS
from adapters.web.serializers import timestamp
from adapters.web.sse import event
from bot.domain import texts
from bot.domain.errors import StoreUnavailable
from bot.domain.failures import FailureReason
from bot.domain.records import ReplyRecord
from bot.domain.turns import Outcome
from bot.turns.display import sentence_of

# Which side a failure is on, and whether to try again.
_STATUSES: Mapping[FailureReason | None, int] = {
    FailureReason.RATE_LIMITED: 503,
    FailureReason.OVERLOADED: 503,
    FailureReason.MODEL_LOADING: 503,
    FailureReason.UNREACHABLE: 503,
    FailureReason.QUEUE_FULL: 503,
    FailureReason.BUDGET_SPENT: 429,
    FailureReason.ASKER_UNKNOWN: 503,
    FailureReason.NOT_ALLOWED: 403,
    FailureReason.TIMED_OUT: 504,
    FailureReason.CONTEXT_TOO_LONG: 413,
    FailureReason.CONTENT_REFUSED: 422,
    FailureReason.CANNOT_SEE: 422,
    FailureReason.IMAGE_REFUSED: 422,
}
_FAILED = 502  # the model failed in any other way: key, model name, broken stream
_ENDED = {Outcome.STOPPED: 409, Outcome.RESET: 409, Outcome.GONE: 404}


# Ids of answers that leave no message, such as the hint after an empty question.
_NO_MESSAGE = uuid.UUID("0b8f4c54-9a06-4a5e-8b7d-8d1f0f0a6c11")


def http_error(reply: ReplyRecord) -> HTTPException | None:
    """The error for a concluded reply, or None if it is a complete answer."""
    outcome = reply.outcome
    if outcome is Outcome.ANSWERED or (outcome is Outcome.STOPPED and reply.content):
        return None
    status = _ENDED.get(outcome) if outcome else None
    if status is None:
        status = _STATUSES.get(reply.failure, _FAILED)
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
    return HTTPException(status, _sentence(reply), headers)


def _sentence(reply: ReplyRecord) -> str:
    return sentence_of(reply.display, reply.content) or texts.INTERNAL


def answer_or_raise(reply: ReplyRecord) -> dict[str, str]:
    """The assistant's message. Raises the reply's failure if there is no answer."""
    error = http_error(reply)
    if error is not None:
        raise error
    return {
        "id": reply.uid or str(uuid.uuid5(_NO_MESSAGE, str(reply.turn))),
        "author": "assistant",
        "content": reply.content,
        "created_at": timestamp(reply.concluded_at or reply.created_at),
    }


async def answer_events(chat: ChatService, turn: int) -> AsyncIterator[bytes]:
    """The answer as server-sent events: text as it streams, then `done` or `error`."""
    try:
        async for words in chat.follow(turn):
            yield event({"content": words})
        yield event(answer_or_raise(await chat.outcome(turn)), "done")
    except HTTPException as error:
        yield event({"error": error.detail, "status": error.status_code}, "error")
    except StoreUnavailable:
        yield event({"error": texts.STORE_DOWN, "status": 503}, "error")
