"""People and user groups in Slack's responses and events, however odd these are."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.slack.events import Identity
from adapters.slack.payloads import items, mapping
from adapters.slack.people import home_in, is_elsewhere, parse_person
from adapters.slack.user_groups import parse_groups
from bot.domain.policy import Standing
from tests.support.mutations import mutations

ME = Identity("T1", "U0BOT", "B0BOT")
GRID = Identity("T1", "U0BOT", "B0BOT", enterprise="E1")
PERSON: dict[str, Any] = {
    "id": "U1",
    "team_id": "T1",
    "name": "ann",
    "deleted": False,
    "is_admin": True,
    "is_restricted": False,
    "is_ultra_restricted": False,
    "profile": {"display_name": "Ann", "real_name": "Ann Ash"},
}
GRID_PERSON = {"id": "W1", "enterprise_id": "E1", "teams": ["T2", "T3"]}


@pytest.mark.parametrize(
    ("changes", "me", "standing"),
    [
        ({}, ME, Standing.MEMBER),
        ({"is_restricted": True}, ME, Standing.GUEST),
        ({"is_restricted": True, "is_ultra_restricted": True}, ME, Standing.GUEST),
        ({"team_id": "T2"}, ME, Standing.STRANGER),
        ({"team_id": "T2", "is_restricted": True}, ME, Standing.STRANGER),
        ({"is_stranger": True}, ME, Standing.STRANGER),
        ({"team_id": "T2", "enterprise_user": GRID_PERSON}, ME, Standing.STRANGER),
        ({"team_id": "T2", "enterprise_user": GRID_PERSON}, GRID, Standing.MEMBER),
        ({"team_id": "E1"}, GRID, Standing.MEMBER),
        ({"team_id": "T2"}, GRID, Standing.STRANGER),
        ({"team_id": None}, ME, None),
        ({"is_restricted": None}, ME, None),
        ({"deleted": "no"}, ME, None),
    ],
)
def test_standings(changes: dict[str, Any], me: Identity, standing: Standing | None) -> None:
    assert parse_person({**PERSON, **changes}, me).standing is standing


def test_no_odd_answer_gives_a_person_rights() -> None:
    """A guest, a stranger and a member who administers nothing stay what they are, or become
    unknown."""
    guest = {**PERSON, "is_restricted": True, "is_admin": False}
    stranger = {**PERSON, "team_id": "T2"}
    for mutation in mutations({"user": guest}):
        found = parse_person(_user(mutation.payload), ME)
        assert found.standing is not Standing.MEMBER, mutation
        assert not found.is_admin, mutation
    for mutation in mutations({"user": stranger}):
        found = parse_person(_user(mutation.payload), ME)
        assert found.standing in (Standing.STRANGER, None), mutation
        assert not found.is_admin, mutation


def _user(payload: Any) -> dict[str, Any]:
    return dict(mapping(mapping({"answer": payload}, "answer"), "user"))


def test_no_odd_answer_puts_a_person_into_a_group() -> None:
    """A group whose members are not a list does not become complete either."""
    group = {"id": "S1", "handle": "OnCall", "name": "All", "users": ["U2"], "user_count": "1"}
    group |= {"date_delete": 0}
    whole = parse_groups([group])
    assert (whole.handles_of("U2"), whole.of("U2")) == ({"oncall"}, {"S1"})
    assert whole.is_complete
    for mutation in mutations({"usergroups": [group]}):
        found = parse_groups(items(mapping({"answer": mutation.payload}, "answer"), "usergroups"))
        assert found.of("U1") == frozenset(), mutation
        assert found.handles_of("U2") <= {"oncall", *found.handles.values()}
    assert not parse_groups([{**group, "users": None}]).is_complete
    assert not parse_groups([{**group, "users": ["U2", {"id": "U1"}]}]).is_complete
    assert not parse_groups([group, {**group, "id": None}]).is_complete
    assert not parse_groups([group, {**group, "id": "S2", "date_delete": "x"}]).is_complete
    assert parse_groups([group, None]).of("U2") == {"S1"}
    assert not parse_groups([group, None]).is_complete
    cut = {**group, "users": [f"U{n}" for n in range(500)], "user_count": 501}
    assert not parse_groups([cut]).is_complete
    assert parse_groups([{**group, "date_delete": 1_700_000_000}]).handles == {}


@pytest.mark.parametrize(
    ("event", "shared", "home"),
    [
        ({"team": "T1"}, False, "T1"),
        ({"team": "T1"}, True, ""),
        ({"team": "T1"}, None, ""),  # a message from a history
        ({"team": "T2"}, True, "T2"),
        ({"team": "T1", "user_team": "T2", "source_team": "T2"}, False, "T2"),
        ({"team": "T2", "user_team": "T1"}, True, "T1"),
        ({"team": "T1", "user_profile": {"team": "T2"}}, True, "T2"),
        ({}, False, ""),
    ],
)
def test_homes_in_events(event: dict[str, Any], shared: bool | None, home: str) -> None:
    body = {"event": event} | ({} if shared is None else {"is_ext_shared_channel": shared})
    assert home_in(body, ME) == home


def test_who_is_elsewhere() -> None:
    assert [is_elsewhere(home, ME) for home in ("T1", "T2", "")] == [False, True, None]
    assert [is_elsewhere(home, GRID) for home in ("T1", "T2", "E1")] == [False, None, None]
