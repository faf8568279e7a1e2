"""The reading methods: conversations.*, users.*, bots, team, auth; paged with Slack's cursors."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from tests.sims.slack import ids
from tests.sims.slack.limits import COMMERCIAL_OBJECTS
from tests.sims.slack.platform import Platform
from tests.sims.slack.values import ApiError, Args, Channel, Json, Message

MAX_LIMIT = 1_000
_HISTORY = {"channel": "channels", "group": "groups", "im": "im", "mpim": "mpim"}
_TYPES = {"channel": "public_channel", "group": "private_channel", "im": "im", "mpim": "mpim"}


def cursor(value: str) -> str:
    """An opaque cursor that continues after `value`."""
    return base64.b64encode(f"next:{value}".encode()).decode()


def _after(args: Args) -> str:
    if not (given := args.text("cursor")):
        return ""
    try:
        return base64.b64decode(given, validate=True).decode().removeprefix("next:")
    except (binascii.Error, UnicodeDecodeError):
        raise ApiError("invalid_cursor") from None


def _limit(slack: Platform, args: Args, default: int) -> int:
    limit = args.number("limit", default)
    if not 1 <= limit <= MAX_LIMIT:
        raise ApiError("invalid_limit")
    return min(limit, COMMERCIAL_OBJECTS) if slack.limits.commercial else limit


def require_scope(slack: Platform, scope: str) -> None:
    """Raises ApiError (`missing_scope`) unless the app has `scope`."""
    if scope not in slack.events.scopes:
        raise ApiError("missing_scope", **slack.scope_error(scope))


def readable_channel(slack: Platform, args: Args, what: str = "history") -> Channel:
    """The channel, if the app may read it. Raises ApiError."""
    channel = slack.workspace.channels.get(args.need("channel"))
    if channel is None:
        raise ApiError("channel_not_found")
    require_scope(slack, f"{_HISTORY[channel.kind]}:{what}")
    if channel.kind == "channel" and what == "read":
        return channel
    return slack.workspace.channel(channel.id, member=slack.home.bot_user)


def _within(messages: Sequence[Message], args: Args) -> list[Message]:
    """The messages between `oldest` and `latest`, which count only with `inclusive`."""
    oldest, latest = args.text("oldest") or "0", args.text("latest") or "9999999999"
    ends = {oldest, latest} if args.flag("inclusive") else set()
    low, high = float(oldest), float(latest)
    return [m for m in messages if low < float(m.ts) < high or m.ts in ends]


def _serialize(slack: Platform, messages: Sequence[Message], args: Args) -> list[Json]:
    with_metadata = bool(args.flag("include_all_metadata"))
    with_metadata &= "metadata.message:read" in slack.events.scopes
    return [slack.workspace.serialize(m, metadata=with_metadata) for m in messages]


def _page(messages: list[Json], next_cursor: str) -> Json:
    page: Json = {"messages": messages, "has_more": bool(next_cursor)}
    return page | {"response_metadata": {"next_cursor": next_cursor}} if next_cursor else page


def _visible(message: Message) -> bool:
    return not message.deleted or message.subtype == "tombstone"


def history(slack: Platform, args: Args) -> Json:
    """conversations.history: top-level messages, newest first."""
    channel = readable_channel(slack, args)
    limit = _limit(slack, args, 100)
    top = [
        m
        for m in channel.messages.values()
        if _visible(m) and (not m.is_reply or m.subtype == "thread_broadcast")
    ]
    chosen = list(reversed(_within(top, args)))
    if before := _after(args):
        chosen = [m for m in chosen if float(m.ts) < float(before)]
    page = chosen[:limit]
    return _page(_serialize(slack, page, args), cursor(page[-1].ts) if len(chosen) > limit else "")


def replies(slack: Platform, args: Args) -> Json:
    """conversations.replies: each page has the root first, then replies, oldest first."""
    channel = readable_channel(slack, args)
    limit = _limit(slack, args, MAX_LIMIT)
    asked = channel.messages.get(args.need("ts"))
    if asked is None or not _visible(asked):
        raise ApiError("thread_not_found")
    root = channel.messages[asked.thread_ts] if asked.is_reply else asked
    chosen = _within(slack.workspace.replies(channel, root.ts), args)
    if after := _after(args):
        chosen = [m for m in chosen if float(m.ts) > float(after)]
    page = chosen[: max(1, limit - 1)]
    next_cursor = cursor(page[-1].ts) if len(chosen) > len(page) else ""
    return _page(_serialize(slack, [root, *page], args), next_cursor)


def info(slack: Platform, args: Args) -> Json:
    """conversations.info."""
    return {"channel": slack.workspace.channel_info(readable_channel(slack, args, "read"))}


def members(slack: Platform, args: Args) -> Json:
    """conversations.members."""
    channel = readable_channel(slack, args, "read")
    return {"members": sorted(channel.members), "response_metadata": {"next_cursor": ""}}


def _channels(slack: Platform, args: Args, channels: list[Channel]) -> Json:
    limit = _limit(slack, args, 100)
    types = (args.text("types") or "public_channel").replace(" ", "").split(",")
    if unknown := set(types) - set(_TYPES.values()):
        raise ApiError("invalid_types", bad=sorted(unknown))
    for kind, name in _TYPES.items():
        if name in types:
            require_scope(slack, f"{_HISTORY[kind]}:read")
    found = [c for c in channels if _TYPES[c.kind] in types and c.id > _after(args)]
    if args.flag("exclude_archived"):
        found = [c for c in found if not c.archived]
    found.sort(key=lambda channel: channel.id)
    more = cursor(found[limit - 1].id) if len(found) > limit else ""
    places = [slack.workspace.channel_info(channel) for channel in found[:limit]]
    return {"channels": places, "response_metadata": {"next_cursor": more}}


def list_channels(slack: Platform, args: Args) -> Json:
    """conversations.list: public channels, and others that the bot is in."""
    every = slack.workspace.channels.values()
    seen = [c for c in every if c.kind == "channel" or slack.home.bot_user in c.members]
    return _channels(slack, args, seen)


def users_conversations(slack: Platform, args: Args) -> Json:
    """users.conversations: the channels of a member, by default the bot."""
    user = args.text("user") or slack.home.bot_user
    every = slack.workspace.channels.values()
    return _channels(slack, args, [c for c in every if {user, slack.home.bot_user} <= c.members])


def open_conversation(slack: Platform, args: Args) -> Json:
    """conversations.open: the direct message channel with one person."""
    if args.text("channel"):
        channel = slack.workspace.channel(args.text("channel"), member=slack.home.bot_user)
    else:
        users = args.need("users").split(",")
        if len(users) > 1:
            raise ApiError("not_enough_users")  # group messages are not simulated
        channel = slack.workspace.direct(users[0])
    full = slack.workspace.channel_info(channel) if args.flag("return_im") else {"id": channel.id}
    return {"channel": full}


def users_info(slack: Platform, args: Args) -> Json:
    """users.info."""
    return {"user": slack.workspace.user_info(args.need("user"))}


def users_list(slack: Platform, args: Args) -> Json:
    """users.list."""
    people = [slack.workspace.user_info(user) for user in sorted(slack.workspace.users)]
    return {"members": people, "response_metadata": {"next_cursor": ""}}


def usergroups_list(slack: Platform, args: Args) -> Json:
    """usergroups.list."""
    if not slack.has_groups:
        raise ApiError("plan_upgrade_required")
    users, count = bool(args.flag("include_users")), bool(args.flag("include_count"))
    return {
        "usergroups": [
            slack.workspace.group_info(group, users=users, count=count)
            for group in slack.workspace.groups.values()
            if not group.deleted or args.flag("include_disabled")
        ]
    }


def bots_info(slack: Platform, args: Args) -> Json:
    """bots.info."""
    for user in slack.workspace.users.values():
        if user.bot_id and user.bot_id == (args.text("bot") or slack.home.bot):
            bot = {"id": user.bot_id, "app_id": user.app_id, "user_id": user.id}
            return {"bot": bot | {"name": user.name, "deleted": False}}
    raise ApiError("bot_not_found")


def team_info(slack: Platform, args: Args) -> Json:
    """team.info."""
    return {"team": {"id": slack.home.team, "name": slack.home.name, "domain": slack.home.domain}}


def auth_test(slack: Platform, args: Args) -> Json:
    """auth.test."""
    return {
        "url": f"https://{slack.home.domain}.slack.com/",
        "team": slack.home.name,
        "team_id": slack.home.team,
        "user": ids.BOT_NAME,
        "user_id": slack.home.bot_user,
        "bot_id": slack.home.bot,
        "is_enterprise_install": slack.events.org_wide,
    } | ({"enterprise_id": slack.home.enterprise} if slack.home.enterprise else {})


def teams_list(slack: Platform, args: Args) -> Json:
    """auth.teams.list: the workspaces that the token's installation has access to."""
    teams = [{"id": each.team, "name": each.name} for each in slack.covered()]
    return {"teams": teams, "response_metadata": {"next_cursor": ""}}
