"""The workspaces in an Enterprise Grid organization that installed the app as a whole.

With an organization's token, methods that list channels or groups must name one workspace:
https://docs.slack.dev/enterprise-grid/developing-for-enterprise-grid
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cachetools import TTLCache

from adapters.slack.api import WebApi
from adapters.slack.events import Identity
from adapters.slack.payloads import ident
from bot.domain.errors import Unsettled
from bot.ports.clock import Clock

FRESH_SECONDS = 3_600.0
PAGE, MAX_PAGES = 100, 20
"""How many workspaces one request lists, and the most requests."""


class OrganizationTeams:
    """One installation's workspaces. `arguments` raises a PlatformError."""

    def __init__(self, *, me: Identity, api: WebApi, clock: Clock) -> None:
        self._me, self._api = me, api
        self._known: TTLCache[str, Sequence[Mapping[str, Any]]] = TTLCache(
            1, FRESH_SECONDS, clock.monotonic
        )

    async def arguments(self) -> Sequence[Mapping[str, Any]]:
        """The sets of arguments to add to a request, which must be sent once with each."""
        if not self._me.is_org:
            return ({},)
        known = self._known.get(self._me.team)
        if known is None:
            known = [{"team_id": team} for team in await self._list()]
            self._known[self._me.team] = known
        return known

    async def _list(self) -> Sequence[str]:
        found: list[str] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            response = await self._api.read_paced("auth.teams.list", limit=PAGE, cursor=cursor)
            found.extend(ident(team, "id") for team in response.items("teams"))
            if (cursor := response.next_cursor) is None:
                break
        if not found or not all(found):
            # Without a workspace's groups and channels, a rule that blocks someone would not apply.
            raise Unsettled("Slack's list of workspaces cannot be read")
        return found
