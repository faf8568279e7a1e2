"""What the Slack app must be allowed and subscribed to; the manifests say the same, by a test."""

from __future__ import annotations

# Scope → what fails without it.
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
    "metadata.message:read": "after a crash, replies that were begun are not found again",
    "mpim:history": "messages in group direct messages do not arrive",
    "mpim:read": "group direct messages are unknown",
    "users:read": "the model sees ids instead of people's names",
}

# Where the bot is: said in the log, so that who runs it sees why it fell silent.
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
# With these of them nothing can be written there any more.
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
