"""The scopes and event subscriptions of the Slack app. A test compares them to the manifests."""

from __future__ import annotations

# Scope → the consequence of its absence.
SCOPES = {
    "app_mentions:read": "mentions do not arrive",
    "assistant:write": "the app is no agent: no agent pane, no status, no suggested prompts",
    "channels:history": "replies in threads of public channels do not arrive",
    "channels:read": "public and private channels cannot be told apart",
    "chat:write": "nothing can be answered",
    "commands": "slash commands and the message shortcut do not work",
    "files:read": "attached files cannot be read",
    "files:write": "long code and data cannot be sent as a file",
    "groups:history": "messages in private channels do not arrive",
    "groups:read": "private channels are unknown",
    "im:history": "direct messages do not arrive",
    "im:read": "direct messages are unknown",
    "metadata.message:read": "unfinished replies are not found again after a crash",
    "mpim:history": "messages in group direct messages do not arrive",
    "mpim:read": "group direct messages are unknown",
    "users:read": "the model sees ids instead of people's names",
}

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
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
    "tokens_revoked",
)
