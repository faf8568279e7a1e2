"""Adds routes with the OpenAPI description of their responses, including errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from adapters.web import schemas

_Responses = dict[int | str, dict[str, Any]]

_REF = "#/components/schemas/{model}"
_WAIT = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
_SENTENCES = {
    400: "The body is not JSON.",
    401: "The token is unknown.",
    403: "The request comes from another site, or is not allowed to this user.",
    404: "There is nothing with this id, or it is another user's.",
    409: "It is not possible at this moment; the error says why.",
    413: "The request is too long, for the server or for the model.",
    429: "Too many wrong tokens came, or this user waits for too many answers, or asks too often.",
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
    takes: tuple[type[BaseModel], type[BaseModel]] | None = None,
    gives_bytes: Mapping[str, Any] | None = None,
) -> None:
    """Add a route. `gives` is the schema of its success, which has `status`.

    `refuses` are error statuses in addition to EVERYWHERE; `streams` are other media types of
    the success, with their schemas. `takes` are the schemas of a body as JSON and as a form, which
    the endpoint reads with `adapters.web.uploads.reads`; `gives_bytes` are the media types of a
    success that is not JSON.
    """
    responses = _responses(*refuses)
    if streams is not None:
        responses[status] = {"content": {kind: {"schema": s} for kind, s in streams.items()}}
    if gives_bytes is not None:
        responses[status] = {"description": "The content.", "content": dict(gives_bytes)}
    router.add_api_route(
        path,
        endpoint,
        response_class=Response if gives_bytes is not None else JSONResponse,
        methods=[method],
        response_model=gives,
        status_code=status,
        responses=responses,
        openapi_extra=None if takes is None else {"requestBody": _body(*takes)},
    )


def _body(as_json: type[BaseModel], as_form: type[BaseModel]) -> dict[str, Any]:
    return {
        "required": True,
        "content": {
            kind: {"schema": _ref(model)}
            for kind, model in (("application/json", as_json), ("multipart/form-data", as_form))
        },
    }


def referenced_schemas(*bodies: type[BaseModel]) -> dict[str, Any]:
    """The schemas of errors, and of `bodies` that endpoints read without FastAPI."""
    models: tuple[type[BaseModel], ...] = (*bodies, schemas.Error, schemas.Invalid)
    named: list[tuple[type[BaseModel], Literal["validation"]]] = [
        (model, "validation") for model in models
    ]
    found: dict[str, Any] = models_json_schema(named, ref_template=_REF)[1]["$defs"]
    return found


def _responses(*statuses: int) -> _Responses:
    """The errors, by reference: otherwise FastAPI would build an unused serializer for each
    error of each route, which took half of the startup time."""
    responses: _Responses = {}
    for status in sorted({*EVERYWHERE, *statuses}):
        if status == 422:
            content = _json({"anyOf": [_ref(schemas.Invalid), _ref(schemas.Error)]})
            sentence = "A field is invalid; `detail` names it."
        else:
            content, sentence = _json(_ref(schemas.Error)), _SENTENCES[status]
        responses[status] = {"content": content, "description": sentence}
        if status in (429, 503):
            responses[status]["headers"] = _WAIT
    return responses


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": dict(schema)}}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def field_error(
    place: tuple[str, ...], problem: str, kind: str = "value_error"
) -> RequestValidationError:
    """A 422 for a rule that no schema expresses: field, sentence and kind of rule."""
    return RequestValidationError([{"loc": place, "msg": problem, "type": kind}])
