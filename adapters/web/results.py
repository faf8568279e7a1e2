"""What a concluded turn is to a program: its answer, or an error with our sentence.

Invariant: no word of a provider's error gets out; what it said is in the log, with the turn's id.
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

# By the class of the failure (`Conclusion.error`): which side it is on, and whether to try again.
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
_FAILED = 502  # a key, a model's name, a broken stream: the model's side, whatever it is
_ENDED = {Outcome.STOPPED: 409, Outcome.RESET: 409, Outcome.GONE: 404}


def failure(reply: ReplyRecord) -> HTTPException | None:
    """Why a concluded reply is no whole answer; None when it is one."""
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
    """The assistant's message. Raises the failure where there is none."""
    error = failure(reply)
    if error is not None:
        raise error
    return {
        "id": reply.uid or "",
        "author": "assistant",
        "content": reply.content,
        "created_at": timestamp(reply.concluded_at or reply.created_at),
    }


async def answer_events(talk: ChatService, turn: int) -> AsyncIterator[bytes]:
    """The answer as server-sent events: its words as they come, then `done` or `error`."""
    try:
        async for words in talk.follow(turn):
            yield event({"content": words})
        yield event(answer(await talk.outcome(turn)), "done")
    except HTTPException as error:
        yield event({"error": error.detail, "status": error.status_code}, "error")
    except StoreUnavailable:
        yield event({"error": texts.STORE_DOWN, "status": 503}, "error")
