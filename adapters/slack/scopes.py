"""The scopes and event subscriptions of the Slack app. A test compares them to the manifests."""

from __future__ import annotations

# Scope → the consequence of its absence.
SCOPES = {
    "app_mentions:read": "mentions do not arrive",
    "assistant:write": "the app is no agent: no agent pane, no status, no suggested prompts",
    "channels:history": "replies in threads of public channels do not arrive",
    "channels:read": "public and private channels cannot be told apart, and rules about a "
    "channel's name (#ops) or its readers (channel:#ops) allow no one anything",
    "chat:write": "nothing can be answered",
    "commands": "slash commands and the message shortcut do not work",
    "files:read": "attached files cannot be read",
    "files:write": "long code and data cannot be sent as a file",
    "groups:history": "messages in private channels do not arrive",
    "groups:read": "private channels are unknown, also to rules about their names and readers",
    "im:history": "direct messages do not arrive",
    "im:read": "direct messages are unknown",
    "im:write": "/export sends no file from a channel, only in direct messages",
    "metadata.message:read": "unfinished replies are not found again after a crash",
    "mpim:history": "messages in group direct messages do not arrive",
    "mpim:read": "group direct messages are unknown",
    "usergroups:read": "rules about user groups (@oncall, group:S0123) allow no one anything",
    "users:read": "the model sees ids instead of people's names, and rules about members, guests, "
    "strangers and workspace-admins allow no one anything",
}
# Scopes that only some rules of threadline.toml need.
FOR_RULES = frozenset({"usergroups:read"})

# Events that change a name or membership on which rules depend.
RENAMES = ("channel_rename", "group_rename")
SUBTEAMS = ("subteam_created", "subteam_members_changed", "subteam_updated")

# Events about the bot's channels. They are logged, so that the operator sees why the bot is silent.
MEMBERSHIP = (
    "channel_archive",
    "channel_deleted",
    "channel_left",
    "channel_unarchive",
    "group_archive",
    "group_deleted",
    "group_left",
    "group_unarchive",
    "member_joined_channel",
    "member_left_channel",
)
# After these events, the bot can no longer write in the channel.
LEAVING = frozenset(
    {
        "channel_archive",
        "channel_deleted",
        "channel_left",
        "group_archive",
        "group_deleted",
        "group_left",
        "member_left_channel",
    }
)
EVENTS = (
    "agent_session_stopped",
    "app_home_opened",
    "app_mention",
    "app_uninstalled",
    *MEMBERSHIP,
    *RENAMES,
    *SUBTEAMS,
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
    "tokens_revoked",
)
