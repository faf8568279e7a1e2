"""Determines a delivery's installation. Pure; never raises.

Slack names one installation with each event (`authorizations[0]`). In a Slack Connect channel, the
app may be installed on both sides, and Slack may name either one, so the event's own content counts
first. https://docs.slack.dev/apis/events-api/#authorizations
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapters.slack import content, events, payloads
from adapters.slack import text as slack_text
from adapters.slack.payloads import Payload, ident, items, mapping

REMOVALS = frozenset({"app_uninstalled", "tokens_revoked"})


def workspaces_in(body: Payload) -> Sequence[str]:
    """The workspaces and organizations whose installation may be meant, most likely first.

    A removal means only one: a workspace's own installation may end while its organization's
    continues.
    """
    named = tuple(dict.fromkeys(filter(None, _workspaces_in(body))))
    return named[:1] if kind_of_event(body) in REMOVALS else named


def kind_of_event(body: Payload) -> str:
    """The type of an event; "" for other deliveries."""
    return payloads.text(mapping(body, "event"), "type")


def _workspaces_in(body: Payload) -> Iterator[str]:
    authorizations = items(body, "authorizations")
    if authorizations:
        yield from _installation(authorizations[0])
    # A modal opened in another workspace of a Slack Connect channel.
    yield ident(mapping(body, "view"), "app_installed_team_id")
    team, enterprise = mapping(body, "team"), mapping(body, "enterprise")
    yield from _installation(
        {
            "team_id": ident(body, "team_id") or ident(team, "id"),
            "enterprise_id": ident(body, "enterprise_id")
            or ident(enterprise, "id")
            or ident(team, "enterprise_id"),
            "is_enterprise_install": body.get("is_enterprise_install"),
        }
    )
    yield ident(body, "context_team_id")
    yield ident(body, "context_enterprise_id")
    user = mapping(body, "user")  # interactions with an app of an organization have no team
    yield ident(user, "team_id")


def _installation(named: Payload) -> tuple[str, str]:
    team, enterprise = ident(named, "team_id"), ident(named, "enterprise_id")
    is_org = named.get("is_enterprise_install") in (True, "true")
    return (enterprise, team) if is_org else (team, enterprise)


def is_shared(body: Payload) -> bool:
    """Whether the event is from a channel that several organizations share."""
    return body.get("is_ext_shared_channel") is True


def author_of_pressed(body: Payload) -> str:
    """The author of the message whose button was pressed; "" for other deliveries."""
    return ident(mapping(body, "message"), "user") if payloads.items(body, "actions") else ""


def mentioned_in(body: Payload) -> Sequence[str]:
    """The people and bots that a message mentions."""
    message = _message(body)
    found = slack_text.mentioned_users(content.author_text(message)) if message else ()
    return tuple(dict.fromkeys(found))


def thread_in(body: Payload) -> tuple[str, str]:
    """An event's channel and thread; "" for each that it lacks."""
    event, message = mapping(body, "event"), _message(body)
    thread = events.thread_of(message) if message else payloads.ts(event, "thread_ts")
    return ident(event, "channel"), thread


def _message(body: Payload) -> Payload:
    """An event's message, as it is after an edit or was before a deletion."""
    event = mapping(body, "event")
    if payloads.text(event, "type") not in ("message", "app_mention"):
        return {}
    return mapping(event, "message") or mapping(event, "previous_message") or event
