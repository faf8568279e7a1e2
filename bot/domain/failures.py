"""Reasons why a turn has no complete reply; they are stored, logged and mapped to HTTP codes."""

from __future__ import annotations

from enum import StrEnum


class FailureReason(StrEnum):
    """Why a turn failed or was cut off.

    The values are stored in the database, so they must not change once released.
    """

    # The model failed; one reason for each `ModelError`:
    RATE_LIMITED = "RateLimited"
    OVERLOADED = "Overloaded"
    MODEL_LOADING = "ModelLoading"
    UNREACHABLE = "Unreachable"
    KEY_REFUSED = "KeyRefused"
    NO_CREDIT = "NoCredit"
    UNKNOWN_MODEL = "UnknownModel"
    WRONG_ADDRESS = "WrongAddress"
    CONTEXT_TOO_LONG = "ContextTooLong"
    CONTENT_REFUSED = "ContentRefused"
    CANNOT_SEE = "CannotSee"
    IMAGE_REFUSED = "ImageRefused"
    CUT_OFF = "CutOff"
    TIMED_OUT = "TimedOut"
    MODEL_FAILED = "ModelFailed"
    # The model's stream ended normally, but without a complete answer:
    OUTPUT_LIMIT = "length limit"
    EMPTY_ANSWER = "empty answer"
    # Threadline did not ask the model, or gave up:
    QUEUE_FULL = "queue full"
    BUDGET_SPENT = "budget spent"
    PRICE_UNKNOWN = "price unknown"
    MISSED = "missed"
    TOO_MANY_ATTEMPTS = "too many attempts"
    NOT_ALLOWED = "not allowed"
    ASKER_UNKNOWN = "asker unknown"
    ENDS_PROCESS = "it ends the process"
