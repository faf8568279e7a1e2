"""`python -m tests.sims.discord --port N --rtt S`: one simulated Discord."""

from tests.sims.discord.sim import DiscordServer
from tests.sims.kit import main

main(DiscordServer)
