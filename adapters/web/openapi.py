"""Adds routes with the OpenAPI description of their responses, including errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError

from adapters.web.models import Error, Invalid

_Responses = dict[int | str, dict[str, Any]]

_WAIT = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
_SENTENCES = {
    400: "The body is no JSON.",
    401: "The token is unknown.",
    403: "The request comes from another site, or is not allowed to this user.",
    404: "There is no such thing among this user's own.",
    409: "It cannot be done at this moment; the sentence says why.",
    413: "The request is too long, for the server or for the model.",
    429: "Too many field_error tokens came, or this user waits for too many answers at once.",
    502: "The model failed.",
    503: "The model or the database cannot be reached now.",
    504: "The model took too long.",
}
EVERYWHERE = (400, 401, 403, 413, 422, 429, 503)
ASKING = (404, 409, 502, 504)
"""Additional errors of routes that ask a model."""


def add_route(
    router: APIRouter,
    method: str,
    path: str,
    endpoint: Callable[..., Any],
    *,
    gives: Any = None,
    status: int = 200,
    refuses: tuple[int, ...] = (),
    streams: Mapping[str, Any] | None = None,
) -> None:
    """Add a route. `gives` is the schema of its success, which has `status`.

    `refuses` are error statuses in addition to EVERYWHERE; `streams` are other media types of
    the success, with their schemas.
    """
    described = _responses(*refuses)
    if streams is not None:
        described[status] = {"content": {kind: {"schema": s} for kind, s in streams.items()}}
    router.add_api_route(
        path,
        endpoint,
        methods=[method],
        response_model=gives,
        status_code=status,
        responses=described,
    )


def _responses(*statuses: int) -> _Responses:
    described: _Responses = {}
    for status in sorted({*EVERYWHERE, *statuses}):
        if status == 422:
            described[422] = {
                "model": Invalid | Error,
                "description": "A field is field_error; which.",
            }
            continue
        described[status] = {"model": Error, "description": _SENTENCES[status]}
        if status in (429, 503):
            described[status]["headers"] = _WAIT
    return described


def field_error(
    place: tuple[str, ...], problem: str, kind: str = "value_error"
) -> RequestValidationError:
    """A 422 for a rule that no schema expresses: field, sentence and kind of rule."""
    return RequestValidationError([{"loc": place, "msg": problem, "type": kind}])
