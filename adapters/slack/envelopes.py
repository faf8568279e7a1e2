"""Entry point for every delivery from Slack: Bolt gets only fields it can read; nothing raises.

Bolt looks into many fields before a listener runs, and raises where one is of another type; such an
event would come again and again, and never be read. This module drops those fields. What a person
asked is still found, and what is of no use is acknowledged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from adapters.slack.payloads import Payload, items, objects, table, text

log = structlog.stdlib.get_logger(__name__)

_NAMED = (str, dict)  # an id, or an object that has it
# What Bolt reads, and the types that it can take (slack_bolt/request/internals.py).
_TYPES: Mapping[str, tuple[type, ...]] = {
    "action_id": (str,),
    "assistant_thread": (dict,),
    "bot_access_token": (str,),
    "callback_id": (str,),
    "channel": _NAMED,
    "channel_id": (str,),
    "command": (str,),
    "enterprise": _NAMED,
    "enterprise_id": (str,),
    "event": (dict,),
    "function": (dict,),
    "function_data": (dict,),
    "function_execution_id": (str,),
    "inputs": (dict,),
    "is_enterprise_install": (bool, str),
    "item": (dict,),
    "message": (dict,),
    "previous_message": (dict,),
    "response_url": (str,),
    "team": _NAMED,
    "team_id": (str,),
    "thread_ts": (str,),
    "trigger_id": (str,),
    "type": (str,),
    "user": _NAMED,
    "user_id": (str,),
    "view": (dict,),
}
_LISTS = frozenset({"authorizations", "actions", "response_urls"})
_DEPTH = 6  # Bolt looks no deeper than event → message → user
_MESSAGE = ("user", "channel", "ts")


async def dispatch(app: AsyncApp, body: Any, headers: Mapping[str, str]) -> BoltResponse:
    """Bolt's answer to a payload whose origin is proven; raises nothing.

    What no listener is for is acknowledged: Bolt would answer 404, and it would come again. Bolt's
    name for payloads that need no signature is "socket_mode".
    """
    try:
        tidy = tidied(body)
        if not _is_listened_to(tidy):
            _note(tidy)
            return BoltResponse(status=200, body="")
        request = AsyncBoltRequest(body=tidy, headers=dict(headers), mode="socket_mode")
        return await app.async_dispatch(request)
    except Exception:
        # The outermost boundary of a delivery: whatever Bolt met, the next delivery is served, and
        # Slack would bring the same again.
        log.exception("a delivery could not be read", shape=shape(body))
        return BoltResponse(status=200, body="")


def _is_listened_to(body: Payload) -> bool:
    """Whether Bolt or a listener answers it, and the fields are there by which Bolt knows it."""
    match text(body, "type"):
        case "event_callback":
            return bool(text(table(body, "event"), "type"))
        case "block_actions":
            return bool(items(body, "actions"))
        case "message_action":
            return bool(text(body, "callback_id"))
        case "url_verification":
            return bool(text(body, "challenge"))
    return bool(text(body, "command"))


def _note(body: Payload) -> None:
    kind = text(body, "type")
    if kind == "app_rate_limited":
        log.warning("Slack drops events: more than 30,000 within an hour")
    elif body.get("ssl_check") is None:
        log.debug("a delivery that is of no use", kind=kind)


def tidied(body: Any) -> dict[str, Any]:
    """`body` without the fields that Bolt could not read; its missing types are found out."""
    if not isinstance(body, Mapping):
        return {}
    tidy = _tidied(body, 0)
    event = tidy.get("event")
    if isinstance(event, dict):
        tidy.setdefault("type", "event_callback")
        if "type" not in event and all(name in event for name in _MESSAGE):
            event["type"] = "message"
    if not tidy.get("actions"):
        tidy.pop("actions", None)
    return tidy


def _tidied(value: Payload, depth: int) -> dict[str, Any]:
    tidy: dict[str, Any] = {}
    for name, one in value.items():
        if name in _LISTS:
            tidy[name] = [_tidied(item, depth + 1) for item in objects(one)]
        elif name not in _TYPES:
            tidy[name] = one
        elif isinstance(one, dict) and dict in _TYPES[name] and depth < _DEPTH:
            tidy[name] = _tidied(one, depth + 1)
        elif isinstance(one, _TYPES[name]):
            tidy[name] = one
    if "actions" in tidy:
        tidy["actions"] = [item for item in tidy["actions"] if text(item, "action_id")]
    return tidy


def shape(value: Any, depth: int = 0) -> Any:
    """The names and types of a payload, for the log: what is in it may be private."""
    if isinstance(value, Mapping) and depth < _DEPTH:
        return {str(name): shape(one, depth + 1) for name, one in list(value.items())[:50]}
    if isinstance(value, list) and depth < _DEPTH:
        return [shape(one, depth + 1) for one in value[:3]]
    return type(value).__name__
