"""Texts that people see while they install the app, and the output of the operator's commands for
it."""

from __future__ import annotations

from collections.abc import Mapping

TITLE = "Install Threadline"
INSTALL = "Threadline answers in your Slack workspace: mention it in a channel, or write to it."
ADD = "Add to Slack"
DONE_TITLE = "Threadline is installed"
OPEN = "Open Slack"
FAILED_TITLE = "Threadline was not installed"
AGAIN = "Start again"

CLOSED = (
    "No workspace may install Threadline here. Its operator can name workspaces in "
    "SLACK_INSTALL_TEAMS."
)
BUSY = "Too many people are installing it at this moment. Try again in a minute."
NOT_READY = "The bot is starting. Try again in a minute."
UNKNOWN = "Slack could not be reached, or did not answer as expected."

FAILURES: Mapping[str, str] = {
    "access_denied": "You declined in Slack, or may not install apps there.",
    "invalid_browser": "This is not the browser in which the installation began, or it took longer "
    "than ten minutes.",
    "invalid_state": "The installation took longer than ten minutes, or was completed before.",
    "missing_code": "Slack's answer has no code.",
    "invalid_code": "Slack refused the code: it may have expired, or the app's client id, secret "
    "or redirect URL is wrong.",
    "no_bot_token": "Slack granted no bot token: the app needs a bot user.",
    "storage_error": "The installation could not be stored.",
}
"""Sentences by the reason that slack_bolt or the vault gives; `UNKNOWN` covers all others."""


def installed(name: str) -> str:
    """The app is installed in the workspace or organization `name`."""
    return f"{name} can use it now. Invite it to a channel, or write to it directly."


def not_allowed(workspace: str) -> str:
    """The workspace is not in the list of allowed ones."""
    return (
        f"The workspace {workspace} is not in SLACK_INSTALL_TEAMS. Ask the operator to add it, and "
        "start again."
    )


WRONG_KEY = (
    "INSTALLATION_KEY decrypts none of the stored Slack installations: set the key that they were "
    "stored with (several keys, separated by commas, if it was replaced), or remove them with "
    "`threadline slack uninstall TEAM`."
)
READ_ONLY = "The Slack installations can only be read here."

# ── commands ──────────────────────────────────────────────────────────────────────────────────
NO_INSTALLATIONS = "No Slack workspace has installed the app."


def no_such_installation(workspace: str) -> str:
    """`threadline slack uninstall` was given an unknown workspace."""
    return f"The app is not installed in {workspace}: `threadline slack installations` lists where."


def uninstalled(name: str) -> str:
    """The app was removed here and at Slack."""
    return f"Removed from {name}; its conversations stay in the database."


def uninstalled_here(name: str, reason: str) -> str:
    """The app was removed here, but Slack refused."""
    return (
        f"Removed {name} here, but not at Slack ({reason}): its administrators can remove the app "
        "in Slack's settings."
    )
