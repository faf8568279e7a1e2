"""A simulated Discord, as strict as the real one: `python -m tests.sims.discord`.

`DiscordSim` starts it as a process and controls it. The ids are those of the default state; the
simulator refuses any token but `SIM_TOKEN`.
"""

from tests.sims.discord.client import DiscordSim
from tests.sims.discord.constants import (
    ALICE,
    APPLICATION,
    BOB,
    BOT,
    BOT_ROLE,
    CAROL,
    CHANNEL,
    CHANNEL_2,
    FORUM,
    GUILD,
    OTHER_BOT,
    SIM_TOKEN,
    STAGE,
    TEAM_ROLE,
    VOICE,
)

__all__ = [
    "ALICE",
    "APPLICATION",
    "BOB",
    "BOT",
    "BOT_ROLE",
    "CAROL",
    "CHANNEL",
    "CHANNEL_2",
    "FORUM",
    "GUILD",
    "OTHER_BOT",
    "SIM_TOKEN",
    "STAGE",
    "TEAM_ROLE",
    "VOICE",
    "DiscordSim",
]
