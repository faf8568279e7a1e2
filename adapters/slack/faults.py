"""Failures of Slack, slack_sdk and the network as ours, once, at the edge.

The names are those on the pages of the methods used here (docs.slack.dev/reference/methods). A
name that is not listed is Refused: Slack took the request, and will not take the same one again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slack_sdk.errors import SlackApiError

from bot.errors import Gone, PlatformError, Refused, Throttled, Unsettled

TOKEN_ERRORS = frozenset(
    {
        "account_inactive",
        "app_not_found",
        "ekm_access_denied",
        "invalid_auth",
        "no_permission",
        "not_allowed_token_type",
        "not_authed",
        "org_login_required",
        "token_expired",
        "token_revoked",
        "two_factor_setup_required",
    }
)
GONE = TOKEN_ERRORS | {
    "access_denied",
    "cannot_reply_to_message",
    "cant_delete_message",
    "cant_update_message",
    "channel_is_archived",
    "channel_not_found",
    "edit_window_closed",
    "invalid_channel",
    "is_archived",
    "is_inactive",
    "message_not_found",
    "messages_tab_disabled",
    "missing_scope",
    "not_in_channel",
    "restricted_action",
    "restricted_action_non_threadable_channel",
    "restricted_action_read_only_channel",
    "restricted_action_thread_locked",
    "restricted_action_thread_only_channel",
    "team_access_not_granted",
    "thread_not_found",
    "user_not_in_channel",
}
UNSETTLED = frozenset(
    {
        "fatal_error",
        "internal_error",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
        "upstream_error",
    }
)
THROTTLED = frozenset({"message_limit_exceeded", "rate_limited", "ratelimited"})


def translated(error: Exception, scopes: tuple[str, ...] = ()) -> PlatformError:
    """A failure as Throttled (in `scopes`), Gone, Refused or Unsettled."""
    if not isinstance(error, SlackApiError):
        return Unsettled(f"no answer from Slack: {error!r}")
    name, status, headers = _parts(error)
    if status == 429 or name in THROTTLED:
        return Throttled(_seconds(headers.get("Retry-After")), scopes)
    if status >= 500 or name in UNSETTLED or not name:
        return Unsettled(f"Slack failed: {name or status}")
    return Gone(name) if name in GONE else Refused(name)


def _parts(error: SlackApiError) -> tuple[str, int, Mapping[str, str]]:
    """Slack's word for it, the HTTP status, and the headers.

    slack_sdk gives its own response, or aiohttp's when the body was no JSON.
    """
    response: Any = error.response
    status = getattr(response, "status_code", None) or getattr(response, "status", None) or 0
    data = getattr(response, "data", None)
    name = str(data.get("error") or "") if isinstance(data, dict) else ""
    return name, int(status), getattr(response, "headers", None) or {}


def _seconds(value: str | None) -> float:
    try:
        return max(1.0, float(value or 1.0))
    except ValueError:
        return 1.0
