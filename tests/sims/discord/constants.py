"""Discord's constants, and the ids of the default state.

Limits are those that Discord documents, or else those that third parties report.
"""

from __future__ import annotations

from typing import Final

SIM_TOKEN: Final = "sim-bot-token"

# ── the default state ─────────────────────────────────────────────────────────────────────────────
GUILD: Final = 1_100_000_000_000_000_001  # its id is also the @everyone role's
CHANNEL: Final = 1_100_000_000_000_000_101  # text channel "general"
CHANNEL_2: Final = 1_100_000_000_000_000_102  # text channel "random"
FORUM: Final = 1_100_000_000_000_000_103
VOICE: Final = 1_100_000_000_000_000_104
STAGE: Final = 1_100_000_000_000_000_105
BOT: Final = 1_100_000_000_000_000_201  # the bot's user and the application share this id
APPLICATION: Final = BOT
ALICE: Final = 1_100_000_000_000_000_202
BOB: Final = 1_100_000_000_000_000_203
CAROL: Final = 1_100_000_000_000_000_204
OTHER_BOT: Final = 1_100_000_000_000_000_205
BOT_ROLE: Final = 1_100_000_000_000_000_301  # the bot's managed role
TEAM_ROLE: Final = 1_100_000_000_000_000_302  # an ordinary, mentionable role

# ── kinds of channels and messages ────────────────────────────────────────────────────────────────
TEXT, DM, VOICE_CHANNEL, CATEGORY, NEWS = 0, 1, 2, 4, 5
NEWS_THREAD, PUBLIC_THREAD, PRIVATE_THREAD, STAGE_CHANNEL, FORUM_CHANNEL = 10, 11, 12, 13, 15
THREADS: Final = frozenset({NEWS_THREAD, PUBLIC_THREAD, PRIVATE_THREAD})
KINDS: Final = {
    "category": CATEGORY,
    "text": TEXT,
    "voice": VOICE_CHANNEL,
    "news": NEWS,
    "stage": STAGE_CHANNEL,
    "forum": FORUM_CHANNEL,
}
DEFAULT_MESSAGE, PIN_NOTICE, REPLY = 0, 6, 19
COMMAND_REPLY, THREAD_STARTER, MENU_REPLY = 20, 21, 23
FORWARD = 1  # the type of a message reference; a reply's is 0

# ── message flags ─────────────────────────────────────────────────────────────────────────────────
SUPPRESS_EMBEDS, HAS_THREAD, EPHEMERAL, LOADING = 1 << 2, 1 << 5, 1 << 6, 1 << 7
SUPPRESS_NOTIFICATIONS, COMPONENTS_V2 = 1 << 12, 1 << 15
VOICE_MESSAGE, HAS_SNAPSHOT = 1 << 13, 1 << 14
SENDABLE_FLAGS: Final = SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | COMPONENTS_V2

# ── gateway intents ───────────────────────────────────────────────────────────────────────────────
INTENTS: Final = {
    "guilds": 1 << 0,
    "members": 1 << 1,
    "moderation": 1 << 2,
    "presences": 1 << 8,
    "guild_messages": 1 << 9,
    "guild_reactions": 1 << 10,
    "guild_typing": 1 << 11,
    "dm_messages": 1 << 12,
    "dm_reactions": 1 << 13,
    "dm_typing": 1 << 14,
    "message_content": 1 << 15,
}
ALL_INTENTS: Final = (1 << 17) - 1 | 1 << 20 | 1 << 21 | 1 << 24 | 1 << 25
PRIVILEGED: Final = ("members", "presences", "message_content")
# The "limited" application flags of bots in fewer than 100 guilds.
APPLICATION_FLAGS: Final = {"presences": 1 << 13, "members": 1 << 15, "message_content": 1 << 19}

# ── permissions ───────────────────────────────────────────────────────────────────────────────────
PERMISSIONS: Final = {
    "administrator": 1 << 3,
    "manage_channels": 1 << 4,
    "manage_guild": 1 << 5,
    "add_reactions": 1 << 6,
    "view_channel": 1 << 10,
    "send_messages": 1 << 11,
    "manage_messages": 1 << 13,
    "embed_links": 1 << 14,
    "attach_files": 1 << 15,
    "read_message_history": 1 << 16,
    "mention_everyone": 1 << 17,
    "use_application_commands": 1 << 31,
    "manage_threads": 1 << 34,
    "create_public_threads": 1 << 35,
    "create_private_threads": 1 << 36,
    "send_messages_in_threads": 1 << 38,
}
# The permissions of @everyone in a new guild: all except management permissions.
EVERYONE_MAY: Final = sum(
    bit
    for name, bit in PERMISSIONS.items()
    if name != "administrator" and not name.startswith("manage_")
)

# ── limits ────────────────────────────────────────────────────────────────────────────────────────
# Counted in Unicode code points: Discord's API is Python (discord-api-docs issue 1315).
MAX_CONTENT: Final = 2000
MAX_V2_TEXT: Final = 4000
MAX_COMPONENTS: Final = 40
MAX_CUSTOM_ID: Final = 100
MAX_FILE: Final = 10 * 2**20  # bytes, without a boosted guild
MAX_FILES: Final = 10
MAX_EMBEDS: Final = 10
MAX_EMBED_TOTAL: Final = 6000
MAX_NONCE: Final = 25
MAX_THREAD_NAME: Final = 100
ARCHIVE_MINUTES: Final = (60, 1440, 4320, 10080)
EPOCH_MS: Final = 1_420_070_400_000  # a snowflake counts milliseconds from 2015
