"""The entry point for every delivery from Slack. Nothing here raises.

Bolt reads many fields before it calls a listener, and raises if one has an unexpected type; Slack
would then redeliver the event, and it would never be read. This module drops such fields, so that
a person's question is still found, and acknowledges deliveries that have no listener.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from adapters.slack.payloads import Payload, items, mapping, objects, text

log = structlog.stdlib.get_logger(__name__)

DROPPED = "app_rate_limited"
_NAMED = (str, dict)  # an id, or an object that contains one
# The fields that Bolt reads, and the types that it accepts (slack_bolt/request/internals.py).
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
_MAX_DEPTH = 6  # Bolt reads no deeper than event → message → user
_MESSAGE = ("user", "channel", "ts")


async def dispatch(
    app: AsyncApp,
    body: Any,
    headers: Mapping[str, str],
    on_dropped: Callable[[], None] = lambda: None,
) -> BoltResponse:
    """Bolt's response to a payload that is known to come from Slack.

    A payload without a listener is acknowledged: Bolt would answer 404, and Slack would redeliver
    it. The mode "socket_mode" makes Bolt skip the signature check. `on_dropped` is called if Slack
    says that it drops events, as it does once a minute then.
    """
    try:
        payload = sanitize(body)
        if not _has_listener(payload):
            _log_ignored(payload)
            if text(payload, "type") == DROPPED:
                on_dropped()
            return BoltResponse(status=200, body="")
        request = AsyncBoltRequest(body=payload, headers=dict(headers), mode="socket_mode")
        return await app.async_dispatch(request)
    except Exception:
        # The outermost boundary of a delivery: one unreadable payload must not affect the next,
        # and a redelivery would fail the same way.
        log.exception("cannot read a delivery", types=field_types(body))
        return BoltResponse(status=200, body="")


def _has_listener(body: Payload) -> bool:
    """Whether Bolt or a listener handles `body`, and the fields that Bolt routes by are present."""
    match text(body, "type"):
        case "event_callback":
            return bool(text(mapping(body, "event"), "type"))
        case "block_actions":
            return bool(items(body, "actions"))
        case "view_submission":
            return bool(text(mapping(body, "view"), "callback_id"))
        case "message_action":
            return bool(text(body, "callback_id"))
        case "url_verification":
            return bool(text(body, "challenge"))
    return bool(text(body, "command"))


def _log_ignored(body: Payload) -> None:
    kind = text(body, "type")
    if kind == DROPPED:
        log.warning("Slack drops events: more than 30,000 within an hour")
    elif body.get("ssl_check") is None:
        log.debug("ignored a delivery", kind=kind)


def sanitize(body: Any) -> dict[str, Any]:
    """`body` without the fields that Bolt cannot read, and with missing types inferred."""
    if not isinstance(body, Mapping):
        return {}
    payload = _sanitize(body, 0)
    event = payload.get("event")
    if isinstance(event, dict):
        payload.setdefault("type", "event_callback")
        if "type" not in event and all(name in event for name in _MESSAGE):
            event["type"] = "message"
    view = payload.get("view")
    if isinstance(view, dict):
        view.setdefault("type", "modal")  # Bolt reads it of every submission
    if not payload.get("actions"):
        payload.pop("actions", None)
    return payload


def _sanitize(value: Payload, depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, one in value.items():
        if name in _LISTS:
            result[name] = [_sanitize(item, depth + 1) for item in objects(one)]
        elif name not in _TYPES:
            result[name] = one
        elif isinstance(one, dict) and dict in _TYPES[name] and depth < _MAX_DEPTH:
            result[name] = _sanitize(one, depth + 1)
        elif isinstance(one, _TYPES[name]):
            result[name] = one
    if "actions" in result:
        result["actions"] = [item for item in result["actions"] if text(item, "action_id")]
    return result


def field_types(value: Any, depth: int = 0) -> Any:
    """A payload's field names and types, for the log: its values may be private."""
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        return {str(name): field_types(one, depth + 1) for name, one in list(value.items())[:50]}
    if isinstance(value, list) and depth < _MAX_DEPTH:
        return [field_types(one, depth + 1) for one in value[:3]]
    return type(value).__name__
