"""A simulated Discord, as strict as the real one: `python -m tests.sims.discord`.

`DiscordSim` starts it as a process and drives it. The ids are the default world's; a token other
than `SIM_TOKEN` is refused.
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
