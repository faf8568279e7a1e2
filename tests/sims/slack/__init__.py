"""A simulated Slack. `SlackSim` runs and drives it; the constants name its default workspace.

It refuses the requests that Slack refuses. Where Slack documents nothing, it assumes the behavior
that is harder for the client.
"""

from tests.sims.slack.client import SlackSim
from tests.sims.slack.ids import (
    ALICE,
    APP,
    APP_TOKEN,
    BOB,
    BOT,
    BOT_NAME,
    BOT_TOKEN,
    BOT_USER,
    CAROL,
    DM_ALICE,
    GENERAL,
    OTHER_BOT,
    OTHER_BOT_USER,
    OTHER_TEAM,
    PRIVATE,
    RANDOM,
    SCOPES,
    SIGNING_SECRET,
    TEAM,
    TEAM_DOMAIN,
    VERIFICATION_TOKEN,
)

__all__ = [
    "ALICE",
    "APP",
    "APP_TOKEN",
    "BOB",
    "BOT",
    "BOT_NAME",
    "BOT_TOKEN",
    "BOT_USER",
    "CAROL",
    "DM_ALICE",
    "GENERAL",
    "OTHER_BOT",
    "OTHER_BOT_USER",
    "OTHER_TEAM",
    "PRIVATE",
    "RANDOM",
    "SCOPES",
    "SIGNING_SECRET",
    "TEAM",
    "TEAM_DOMAIN",
    "VERIFICATION_TOKEN",
    "SlackSim",
]
