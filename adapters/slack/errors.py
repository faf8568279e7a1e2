"""Translates failures in Slack, slack_sdk and the network to `bot.domain.errors`.

The error codes are those that docs.slack.dev/reference/methods lists for the methods used here. An
unlisted code becomes Refused: Slack received the request and would refuse it again. Anything that
is not a Web API response (a proxy's page, an empty body, unexpected JSON, an exception inside
slack_sdk) becomes Unsettled: Slack may have carried out the request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from slack_sdk.errors import SlackApiError

from adapters.slack import payloads
from bot.domain.errors import Gone, PlatformError, Refused, Throttled, Unsettled

# The token is no longer valid, if auth.test agrees.
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
# Slack refuses this content for good; different text may be accepted. Any other unlisted code may
# be a temporary problem at Slack (see `SlackSurface.perform`).
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

# docs.slack.dev/apis/web-api/rate-limits: every 429 carries Retry-After in whole seconds. This is
# the default if the header is missing or no number, in seconds.
DEFAULT_RETRY_AFTER = 3.0
# The upper limit in seconds: the longest reported value is below a minute, and one attempt every
# five minutes does no harm if a longer one is real.
MAX_RETRY_AFTER = 300.0
MAX_REASON = 300
"""Characters of Slack's reason for a refusal, for the log."""


def translate_error(error: Exception, scopes: tuple[str, ...] = ()) -> PlatformError:
    """`error` as Throttled (in `scopes`), Gone, Refused or Unsettled."""
    if isinstance(error, PlatformError):
        return error
    if not isinstance(error, SlackApiError):
        reason = str(error) or type(error).__name__  # a repr has addresses of objects
        return Unsettled(f"no answer from Slack: {reason:.300}")
    name, status, headers = _parts(error)
    if status == 429 or name in THROTTLED:
        return Throttled(parse_retry_after(headers.get("Retry-After")), scopes)
    if status >= 500 or name in UNSETTLED or not name:
        return Unsettled(f"Slack failed: {name or status}", code=name)
    if name in GONE:
        return Gone(code=name)
    return Refused(": ".join(filter(None, (name, _reason(error)))), code=name)


def parse_retry_after(retry_after: str | None) -> float:
    """The wait in seconds from a Retry-After header's value."""
    try:
        seconds = float(retry_after or "nan")
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):
        return DEFAULT_RETRY_AFTER
    return min(max(1.0, seconds), MAX_RETRY_AFTER)


def status_of(error: SlackApiError) -> int | None:
    """The HTTP status of a refusal; None if the response has none."""
    return _parts(error)[1] or None


def _reason(error: SlackApiError) -> str:
    """What Slack says about a refusal, such as which block is invalid; "" if it says nothing."""
    data = getattr(error.response, "data", None)
    found = payloads.mapping(data if isinstance(data, dict) else {}, "response_metadata")
    messages = found.get("messages")
    said = [one for one in messages if isinstance(one, str)] if isinstance(messages, list) else []
    return "; ".join(said)[:MAX_REASON]


def _parts(error: SlackApiError) -> tuple[str, int, Mapping[str, str]]:
    """Slack's error code, the HTTP status, and the headers.

    The error holds slack_sdk's own response, or aiohttp's if the body was not JSON.
    """
    response: Any = error.response
    status = getattr(response, "status_code", None) or getattr(response, "status", None) or 0
    data = getattr(response, "data", None)
    name = data.get("error") if isinstance(data, dict) else ""
    headers = getattr(response, "headers", None) or {}
    return name if isinstance(name, str) else "", int(status), headers
