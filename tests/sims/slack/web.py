"""The Web API: each method's token, scope, arguments and rate limit.

Arguments that slack_sdk 3.47 does not know for a method are refused, although Slack often ignores
them: `unfurl_links` in chat.update has no effect, so a client should not send it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.sims.slack import chat, extras, files, ids, reads, streams
from tests.sims.slack.grants import Grants
from tests.sims.slack.platform import Platform
from tests.sims.slack.values import ApiError, Args, Json, invalid

_ALWAYS = {"team_id"}  # Bolt's client sends it with every call
_ICON = "icon_emoji icon_url username "
_SHOWN = "text blocks attachments as_user link_names parse markdown_text metadata "


@dataclass(frozen=True, slots=True)
class Method:
    """A Web API method; `scope` is "" if none is needed or the method checks scopes itself."""

    does: Callable[[Platform, Args], Json]
    scope: str
    tier: int
    accepts: str
    app_level: bool = False


METHODS = {
    "auth.test": Method(reads.auth_test, "", 4, ""),
    "apps.connections.open": Method(extras.connections_open, "", 2, "", app_level=True),
    "apps.event.authorizations.list": Method(
        extras.authorizations, "", 4, "event_context cursor limit", app_level=True
    ),
    "chat.postMessage": Method(
        chat.post_message,
        "chat:write",
        4,
        _SHOWN + _ICON + "channel thread_ts reply_broadcast unfurl_links unfurl_media "
        "container_id mrkdwn client_msg_id",
    ),
    "chat.update": Method(
        chat.update, "chat:write", 3, _SHOWN + "channel ts file_ids reply_broadcast"
    ),
    "chat.delete": Method(chat.delete, "chat:write", 3, "channel ts as_user"),
    "chat.postEphemeral": Method(
        chat.post_ephemeral,
        "chat:write",
        4,
        _SHOWN.replace("metadata ", "") + _ICON + "channel user thread_ts",
    ),
    "chat.getPermalink": Method(chat.get_permalink, "", 4, "channel message_ts"),
    "chat.startStream": Method(
        streams.start,
        "chat:write",
        2,
        _ICON + "channel thread_ts markdown_text recipient_team_id recipient_user_id chunks "
        "task_display_mode",
    ),
    "chat.appendStream": Method(streams.append, "chat:write", 4, "channel ts markdown_text chunks"),
    "chat.stopStream": Method(
        streams.stop,
        "chat:write",
        2,
        "channel ts markdown_text blocks metadata chunks session_status",
    ),
    "assistant.threads.setStatus": Method(
        streams.set_status,
        "assistant:write",
        3,
        _ICON + "channel_id thread_ts status loading_messages",
    ),
    "assistant.threads.setTitle": Method(
        streams.set_title, "assistant:write", 3, "channel_id thread_ts title"
    ),
    "assistant.threads.setSuggestedPrompts": Method(
        streams.set_prompts, "assistant:write", 3, "channel_id thread_ts title prompts"
    ),
    "agents.sessions.setStatus": Method(
        streams.set_session_status,
        "chat:write",
        3,
        _ICON + "channel_id status thread_ts title initiator_user_id",
    ),
    "agents.sessions.rename": Method(
        streams.rename_session, "chat:write", 3, "channel_id title thread_ts"
    ),
    "auth.teams.list": Method(reads.teams_list, "", 2, "cursor include_icon limit"),
    "conversations.history": Method(
        reads.history,
        "",
        3,
        "channel cursor inclusive include_all_metadata latest limit oldest",
    ),
    "conversations.replies": Method(
        reads.replies,
        "",
        3,
        "channel ts cursor inclusive include_all_metadata latest limit oldest",
    ),
    "conversations.info": Method(reads.info, "", 3, "channel include_locale include_num_members"),
    "conversations.members": Method(reads.members, "", 4, "channel cursor limit"),
    "conversations.list": Method(
        reads.list_channels, "", 2, "cursor exclude_archived limit team_id types"
    ),
    "conversations.open": Method(reads.open_conversation, "im:write", 3, "channel return_im users"),
    "users.conversations": Method(
        reads.users_conversations, "", 3, "cursor exclude_archived limit team_id types user"
    ),
    "users.info": Method(reads.users_info, "users:read", 4, "user include_locale"),
    "users.list": Method(reads.users_list, "users:read", 2, "cursor limit include_locale team_id"),
    "usergroups.list": Method(
        reads.usergroups_list,
        "usergroups:read",
        2,
        "include_count include_disabled include_users team_id",
    ),
    "bots.info": Method(reads.bots_info, "users:read", 3, "bot team_id"),
    "team.info": Method(
        reads.team_info, "team:read", 3, "team domain include_slackbot_availability"
    ),
    "reactions.add": Method(extras.reactions_add, "reactions:write", 3, "channel name timestamp"),
    "reactions.remove": Method(
        extras.reactions_remove,
        "reactions:write",
        2,
        "name channel file file_comment timestamp",
    ),
    "views.open": Method(extras.views_open, "", 4, "trigger_id interactivity_pointer view"),
    "views.update": Method(extras.views_update, "", 4, "view external_id view_id hash"),
    "views.publish": Method(extras.views_publish, "", 4, "user_id view hash"),
    "files.getUploadURLExternal": Method(
        files.upload_url, "files:write", 4, "filename length alt_txt snippet_type"
    ),
    "files.completeUploadExternal": Method(
        files.complete_upload,
        "files:write",
        4,
        "files channel_id channels initial_comment thread_ts blocks",
    ),
    "files.delete": Method(files.delete_file, "files:write", 3, "file"),
    "files.info": Method(files.info, "files:read", 4, "file count cursor limit page"),
}


# With an organization's token they need a team_id:
# docs.slack.dev/enterprise-grid/developing-for-enterprise-grid
NAMES_TEAM = frozenset(
    {"conversations.list", "team.info", "usergroups.list", "users.conversations", "users.list"}
)
# Methods that do not accept JSON, according to their documentation.
FORMS_ONLY = frozenset({"files.getUploadURLExternal"})


def call(grants: Grants, name: str, token: str, values: Json) -> Json:
    """Execute one call. Raises ApiError."""
    if (method := METHODS.get(name)) is None:
        raise ApiError("unknown_method", req_method=name)
    args = Args(values)
    slack = _authenticate(grants, name, method, token, args)
    channel = args.text("channel") or args.text("channel_id")
    slack.limits.take(name, method.tier, channel)
    if method.scope and method.scope not in slack.events.scopes:
        raise ApiError("missing_scope", **slack.scope_error(method.scope))
    unknown = set(args.values) - set(method.accepts.split()) - _ALWAYS
    if unknown:
        raise invalid(*(f"unknown argument: {key}" for key in sorted(unknown)))
    _require_known_blocks(slack, args)
    return method.does(slack, args)


def _require_known_blocks(slack: Platform, args: Args) -> None:
    """Refuse the block types that this workspace does not know."""
    blocks = args.json("blocks") if slack.unknown_blocks and "blocks" in args else []
    for number, block in enumerate(blocks):
        if block.get("type") in slack.unknown_blocks:
            messages = [
                f"[ERROR] unsupported type: {block['type']} [json-pointer:/blocks/{number}]"
            ]
            raise ApiError("invalid_blocks", response_metadata={"messages": messages})


def _authenticate(grants: Grants, name: str, method: Method, token: str, args: Args) -> Platform:
    """The workspace of the call. Raises ApiError."""
    if not token:
        raise ApiError("not_authed")
    grant = grants.tokens.get(token)
    if grant is None and token != ids.APP_TOKEN:
        raise ApiError("invalid_auth")
    if (grant is None) != method.app_level:
        raise ApiError("not_allowed_token_type")
    if grant is None:
        return grants.platforms[1]
    grant.check()
    return grants.place_of(grant, args, names_team=name in NAMES_TEAM)


def accepted_scopes(name: str) -> str:
    """The X-Accepted-OAuth-Scopes header of a method."""
    return METHODS[name].scope if name in METHODS else ""
