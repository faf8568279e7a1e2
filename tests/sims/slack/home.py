"""The ids of one workspace, and of the bot in it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.sims.slack import ids


@dataclass(slots=True)
class Home:
    """Workspace `number`; its ids are the default workspace's (1) with another last digit.

    In an organization that installed the app as a whole, all workspaces share one bot.
    """

    number: int = 1
    enterprise: str = ""
    bot_number: int = 0

    @property
    def team(self) -> str:
        """The workspace's id."""
        return ids.of(ids.TEAM, self.number)

    @property
    def name(self) -> str:
        """The workspace's name."""
        return "Home" if self.number == 1 else f"Home {self.number}"

    @property
    def domain(self) -> str:
        """The workspace's subdomain."""
        return ids.TEAM_DOMAIN + ("" if self.number == 1 else str(self.number))

    @property
    def bot_user(self) -> str:
        """The bot's user there."""
        return ids.of(ids.BOT_USER, self.bot_number or self.number)

    @property
    def bot(self) -> str:
        """The bot's id there."""
        return ids.of(ids.BOT, self.bot_number or self.number)
