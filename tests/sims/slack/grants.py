"""The app's installations: their tokens, and OAuth's pages and methods.

docs.slack.dev/authentication/installing-with-oauth,
docs.slack.dev/authentication/using-token-rotation and
docs.slack.dev/reference/methods/oauth.v2.access. The default workspace has already installed the
app, with `ids.BOT_TOKEN`.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from urllib.parse import urlencode

from tests.sims.slack import ids
from tests.sims.slack.platform import Platform
from tests.sims.slack.values import ApiError, Args, Json

CODE_SECONDS = 600.0  # D: a code "expires after ten minutes"
TOKEN_SECONDS = 43_200.0  # D: `expires_in` 43200


@dataclass(slots=True)
class Grant:
    """A bot token: its installation's workspaces, and why Slack refuses it ("" if it does not)."""

    places: list[Platform]
    expires: float = float("inf")
    refused: str = ""

    def check(self) -> None:
        """Raises ApiError if Slack refuses the token."""
        if self.refused:
            raise ApiError(self.refused)
        if self.expires < time.monotonic():
            raise ApiError("token_expired")


@dataclass(slots=True)
class Code:
    """An OAuth code, and what the person agreed to."""

    places: list[Platform]
    org_wide: bool
    redirect_uri: str
    scopes: str
    user: str
    expires: float = field(default_factory=lambda: time.monotonic() + CODE_SECONDS)
    used: bool = False


@dataclass(slots=True)
class Consent:
    """The next person's decision on the consent page."""

    number: int = 1
    org_wide: bool = False
    denies: bool = False


class Grants:
    """The tokens, codes and refresh tokens of the app."""

    def __init__(self, platforms: dict[int, Platform]) -> None:
        self.platforms = platforms
        self.tokens: dict[str, Grant] = {ids.BOT_TOKEN: Grant([platforms[1]])}
        self.refreshes: dict[str, tuple[Grant, bool]] = {}  # and whether it was used
        self.codes: dict[str, Code] = {}
        self.consent = Consent()
        self.redirect_urls: list[str] = []
        self.rotates = False
        self.token_seconds = TOKEN_SECONDS

    # ── the page ──────────────────────────────────────────────────────────────────────────────
    def authorize(self, query: dict[str, str]) -> str:
        """`GET /oauth/v2/authorize`: where the browser goes once the person has decided.

        Raises ApiError where Slack shows an error page.
        """
        if query.get("client_id") != ids.CLIENT_ID:
            raise ApiError("invalid_client_id")
        target = query.get("redirect_uri") or next(iter(self.redirect_urls), "")
        if not any(target.startswith(known) for known in self.redirect_urls):
            raise ApiError("bad_redirect_uri")
        if self.consent.denies:
            return f"{target}?{urlencode({'error': 'access_denied', 'state': query['state']})}"
        first = self.platforms[self.consent.number]
        places = self._organization(first) if self.consent.org_wide else [first]
        code = uuid.uuid4().hex
        user = ids.of(ids.ALICE, first.home.number)
        self.codes[code] = Code(
            places, self.consent.org_wide, query.get("redirect_uri", ""), query["scope"], user
        )
        return f"{target}?{urlencode({'code': code, 'state': query['state']})}"

    def _organization(self, first: Platform) -> list[Platform]:
        enterprise = first.home.enterprise
        return [one for one in self.platforms.values() if one.home.enterprise == enterprise]

    # ── oauth.v2.access ───────────────────────────────────────────────────────────────────────
    def access(self, args: Args, client: tuple[str, str]) -> Json:
        """Exchange a code or a refresh token. `client` is the app's id and secret."""
        if client[0] != ids.CLIENT_ID:
            raise ApiError("invalid_client_id")
        if client[1] != ids.CLIENT_SECRET:
            raise ApiError("bad_client_secret")
        if args.text("grant_type") == "refresh_token":
            return self._refresh(args.text("refresh_token"))
        code = self.codes.get(args.text("code"))
        if code is None or code.expires < time.monotonic():
            raise ApiError("invalid_code")
        if code.used:
            raise ApiError("code_already_used")
        if code.redirect_uri != args.text("redirect_uri"):
            raise ApiError("bad_redirect_uri")
        code.used = True
        return self._install(code)

    def _install(self, code: Code) -> Json:
        first = code.places[0]
        for place in code.places:
            before = place.home.bot_user
            place.home.bot_number = first.home.number if code.org_wide else place.home.bot_number
            if place.home.bot_user != before:
                place.workspace.change_bot(before)
            place.events.installed, place.events.org_wide = True, code.org_wide
            place.events.scopes, place.revoked = set(code.scopes.split(",")), ""
            place.organization = code.places if code.org_wide else [place]
        return self._answer(Grant(list(code.places)), code.user)

    def _refresh(self, token: str) -> Json:
        grant, used = self.refreshes.get(token, (None, True))
        if grant is None or used or grant.refused:
            raise ApiError("invalid_refresh_token")
        self.refreshes[token] = (grant, True)
        return self._answer(Grant(grant.places), ids.ALICE)

    def _answer(self, grant: Grant, user: str) -> Json:
        first, kind = grant.places[0], "xoxe.xoxb-1" if self.rotates else "xoxb"
        token = f"{kind}-{first.home.number}-{uuid.uuid4().hex}"
        self.tokens[token] = grant
        home, org_wide = first.home, first.events.org_wide
        out: Json = {
            "access_token": token,
            "token_type": "bot",
            "scope": ",".join(sorted(first.events.scopes)),
            "bot_user_id": home.bot_user,
            "app_id": ids.APP,
            "team": None if org_wide else {"id": home.team, "name": home.name},
            "enterprise": {"id": home.enterprise, "name": "Org"} if home.enterprise else None,
            "is_enterprise_install": org_wide,
            "authed_user": {"id": user},
        }
        if self.rotates:
            grant.expires = time.monotonic() + self.token_seconds
            refresh = f"xoxe-1-{uuid.uuid4().hex}"
            self.refreshes[refresh] = (grant, False)
            out |= {"expires_in": int(self.token_seconds), "refresh_token": refresh}
        return out

    # ── the end ───────────────────────────────────────────────────────────────────────────────
    def revoke(self, place: Platform, code: str) -> None:
        """Refuse all of an installation's tokens from now on."""
        for grant in self.tokens.values():
            if place in grant.places:
                grant.refused = code

    def expire(self, place: Platform) -> None:
        """Make an installation's tokens expire now."""
        for grant in self.tokens.values():
            if place in grant.places:
                grant.expires = float("-inf")

    def place_of(self, grant: Grant, args: Args, *, names_team: bool) -> Platform:
        """The workspace for a call with this token.

        With an organization's token, `names_team` methods need `team_id`; an id in another argument
        can also identify the workspace.
        """
        if len(grant.places) == 1 and not grant.places[0].events.org_wide:
            return grant.places[0]
        if team := args.text("team_id"):
            found = [one for one in grant.places if one.home.team == team]
            if not found:
                raise ApiError("team_access_not_granted")
            return found[0]
        if names_team:
            raise ApiError("missing_argument", needed="team_id")
        named = _named(args)
        for place in grant.places:
            if named & (place.workspace.channels.keys() | place.workspace.users.keys()):
                return place
        return grant.places[0]


def _named(args: Args) -> set[str]:
    return {args.text(name) for name in ("channel", "channel_id", "user")}
