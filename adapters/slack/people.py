"""Reads people from users.info and from events; pure.

Invariant: only clear evidence makes someone a member. `is_stranger` alone is not enough: Slack
omits it for people from other workspaces who share a channel with the bot, so the home workspace
decides (https://docs.slack.dev/reference/objects/user-object). Workspaces in the same Enterprise
Grid organization are not strangers to each other.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.slack import payloads
from adapters.slack import text as slack_text
from adapters.slack.events import Identity
from adapters.slack.payloads import Payload, ident, mapping
from bot.domain.policy import Standing

_FLAGS = ("deleted", "is_restricted", "is_ultra_restricted", "is_stranger")
_ADMIN_FLAGS = ("is_admin", "is_owner", "is_primary_owner")


@dataclass(frozen=True, slots=True)
class Person:
    """A person; `standing` is None if Slack's answer leaves it open."""

    name: str
    standing: Standing | None
    is_admin: bool
    is_deleted: bool


def parse_person(user: Payload, me: Identity) -> Person:
    """A person from the `user` of users.info."""
    standing = _standing(user, me)
    return Person(
        name=_name(user),
        standing=standing,
        is_admin=standing is Standing.MEMBER and _administers(user, me),
        is_deleted=user.get("deleted") is True,
    )


def _administers(user: Payload, me: Identity) -> bool:
    """Whether a member administers the workspace, or the organization if the app is installed in
    all of it."""
    if me.is_org:
        described = mapping(user, "enterprise_user")
        return any(described.get(flag) is True for flag in ("is_admin", "is_owner"))
    return me.team in _workspaces(user) and any(user.get(flag) is True for flag in _ADMIN_FLAGS)


def is_stranger(person: Person) -> bool:
    """Whether a person belongs to another organization."""
    return person.standing is Standing.STRANGER


def _standing(user: Payload, me: Identity) -> Standing | None:
    flags = {name: user.get(name, False) for name in _FLAGS}
    if not all(isinstance(flag, bool) for flag in flags.values()) or not _workspaces(user):
        return None
    if flags["is_stranger"] or not _is_ours(user, me):
        return Standing.STRANGER
    if "is_restricted" not in user:  # only of strangers and deleted people
        return None
    is_guest = flags["is_restricted"] or flags["is_ultra_restricted"]
    return Standing.GUEST if is_guest else Standing.MEMBER


def _is_ours(user: Payload, me: Identity) -> bool:
    """Whether the person belongs to our workspace, or to its Enterprise Grid organization."""
    homes = {*_workspaces(user), ident(mapping(user, "enterprise_user"), "enterprise_id")}
    return me.team in homes or (bool(me.enterprise) and me.enterprise in homes)


def _workspaces(user: Payload) -> frozenset[str]:
    """The ids of the person's workspaces: several in Enterprise Grid."""
    teams = mapping(user, "enterprise_user").get("teams")
    listed = teams if isinstance(teams, list) else []
    found = (ident(user, "team_id"), *(team for team in listed if isinstance(team, str)))
    return frozenset(filter(None, found))


def _name(user: Payload) -> str:
    profile = mapping(user, "profile")
    names = (
        payloads.text(profile, "display_name"),
        payloads.text(profile, "real_name"),
        payloads.text(user, "name"),
    )
    return next(filter(None, map(slack_text.name, names)), "")


def home_in(body: Payload, me: Identity) -> str:
    """The home workspace of a message's author according to its event; "" if the event does not
    say.

    In a Slack Connect channel, `team` alone does not prove that the author belongs to our
    organization.
    """
    event = mapping(body, "event")
    profile = ident(mapping(event, "user_profile"), "team")
    found = next(
        filter(None, (ident(event, "user_team"), profile, ident(event, "source_team"))), ""
    )
    team = ident(event, "team")
    is_proof = team != me.team or body.get("is_ext_shared_channel") is False
    return found or (team if is_proof else "")


def is_elsewhere(home: str, me: Identity) -> bool | None:
    """Whether someone whose home is the workspace `home` is a stranger; None if that stays open.

    Within Enterprise Grid another workspace may belong to the same organization.
    """
    if home == me.team:
        return False
    return True if home and not me.enterprise else None
