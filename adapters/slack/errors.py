"""Failures of Slack, slack_sdk and the network as ours, once, at the edge.

The names are those on the pages of the methods used here (docs.slack.dev/reference/methods). A
name that is not listed is Refused: Slack took the request, and will not take the same one again.
What is no answer of the Web API at all (a proxy's page, an empty body, JSON of another shape, an
exception that slack_sdk did not foresee) is Unsettled: the request may have been carried out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from slack_sdk.errors import SlackApiError

from bot.domain.errors import Gone, PlatformError, Refused, Throttled, Unsettled

# The token is good for nothing any more, if auth.test says the same.
DEAD_TOKEN = frozenset(
    {"account_inactive", "invalid_auth", "not_authed", "token_expired", "token_revoked"}
)
TOKEN_ERRORS = DEAD_TOKEN | frozenset(
    {
        "app_not_found",
        "ekm_access_denied",
        "no_permission",
        "not_allowed_token_type",
        "org_login_required",
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


# What Slack will not show, whatever happens: another text may do. Any other name that is not listed
# here may be Slack's trouble of today (see `SlackSurface.perform`).
CONTENT = frozenset(
    {
        "attachment_payload_limit_exceeded",
        "blocks_limit_exceeded",
        "invalid_arguments",
        "invalid_array_arg",
        "invalid_attachments",
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_metadata_format",
        "invalid_metadata_schema",
        "markdown_text_conflict",
        "metadata_too_large",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
        "too_many_attachments",
    }
)

# docs.slack.dev/apis/web-api/rate-limits: Retry-After comes with every 429, in whole seconds. Where
# it does not, or is no number, we guess that much …
NO_RETRY_AFTER = 3.0
# … and believe it for this long at most: the longest that was reported is below a minute, and one
# try each five minutes costs nothing where it is true.
LONGEST_RETRY_AFTER = 300.0


def translated(error: Exception, scopes: tuple[str, ...] = ()) -> PlatformError:
    """A failure as Throttled (in `scopes`), Gone, Refused or Unsettled."""
    if isinstance(error, PlatformError):
        return error
    if not isinstance(error, SlackApiError):
        said = str(error) or type(error).__name__  # a repr has addresses of objects
        return Unsettled(f"no answer from Slack: {said:.300}")
    name, status, headers = _parts(error)
    if status == 429 or name in THROTTLED:
        return Throttled(seconds_of(headers.get("Retry-After")), scopes)
    if status >= 500 or name in UNSETTLED or not name:
        return Unsettled(f"Slack failed: {name or status}")
    return Gone(name) if name in GONE else Refused(name)


def seconds_of(retry_after: str | None) -> float:
    """How long to wait, by the value of a Retry-After header."""
    try:
        seconds = float(retry_after or "nan")
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):
        return NO_RETRY_AFTER
    return min(max(1.0, seconds), LONGEST_RETRY_AFTER)


def _parts(error: SlackApiError) -> tuple[str, int, Mapping[str, str]]:
    """Slack's word for it, the HTTP status, and the headers.

    slack_sdk gives its own response, or aiohttp's when the body was no JSON.
    """
    response: Any = error.response
    status = getattr(response, "status_code", None) or getattr(response, "status", None) or 0
    data = getattr(response, "data", None)
    name = data.get("error") if isinstance(data, dict) else ""
    headers = getattr(response, "headers", None) or {}
    return name if isinstance(name, str) else "", int(status), headers
