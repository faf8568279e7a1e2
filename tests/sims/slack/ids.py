"""The ids and secrets of the default workspace, shared by tests and simulators."""

BOT_TOKEN = "xoxb-threadline-bot"
APP_TOKEN = "xapp-1-A0THREADLN-threadline"
SIGNING_SECRET = "0123456789abcdef0123456789abcdef"
VERIFICATION_TOKEN = "legacy-verification-token"

APP = "A0THREADLN"
TEAM = "T0HOME0001"
TEAM_DOMAIN = "home"
OTHER_TEAM = "T0GUEST001"  # connected to #general by Slack Connect

BOT_USER = "U0BOT00001"
BOT = "B0BOT00001"
BOT_NAME = "threadline"

ALICE = "U0ALICE001"
BOB = "U0BOB00001"
CAROL = "U0CAROL001"  # of OTHER_TEAM
ONCALL = "S0ONCALL01"  # a user group, @oncall, without members
OTHER_BOT_USER = "U0OTHRBOT1"
OTHER_BOT = "B0OTHRBOT1"
OTHER_APP = "A0OTHERAPP"

GENERAL = "C0GENERAL1"  # public, shared with OTHER_TEAM
RANDOM = "C0RANDOM01"  # public, the bot is not a member
PRIVATE = "C0PRIVATE1"  # private, the bot is a member
DM_ALICE = "D0ALICE001"

# The scopes in the project's manifests; the control `scopes` changes them.
SCOPES = (
    "app_mentions:read",
    "assistant:write",
    "channels:history",
    "channels:read",
    "chat:write",
    "commands",
    "files:read",
    "files:write",
    "groups:history",
    "groups:read",
    "im:history",
    "im:read",
    "im:write",
    "metadata.message:read",
    "mpim:history",
    "mpim:read",
    "reactions:read",
    "reactions:write",
    "team:read",
    "usergroups:read",
    "users:read",
)

# The app's credentials for OAuth.
CLIENT_ID = "1234567890.1234567890"
CLIENT_SECRET = "fedcba9876543210fedcba9876543210"
ENTERPRISE = "E0ORG00001"


def of(id_: str, number: int) -> str:
    """The id that corresponds to `id_` in workspace `number`."""
    return id_[:-1] + str(number)
