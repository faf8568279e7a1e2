"""Reactions, views, and the methods for app-level tokens."""

from __future__ import annotations

import time
import uuid

from tests.sims.slack import ids
from tests.sims.slack.blocks import MAX_BLOCKS
from tests.sims.slack.platform import Platform
from tests.sims.slack.values import ApiError, Args, Channel, Json, Message, invalid

MAX_VIEW_BLOCKS = 2 * MAX_BLOCKS


# ── app-level ─────────────────────────────────────────────────────────────────────────────────
def connections_open(slack: Platform, args: Args) -> Json:
    """apps.connections.open: the address of one Socket Mode connection."""
    if not slack.sockets.enabled:
        raise ApiError("socket_mode_not_enabled")
    ticket = slack.sockets.ticket()
    url = slack.url.replace("http://", "ws://")
    return {"url": f"{url}/link/?ticket={ticket}&app_id={ids.APP}"}


def authorizations(slack: Platform, args: Args) -> Json:
    """apps.event.authorizations.list: the only installation."""
    args.need("event_context")
    one = {
        "enterprise_id": None,
        "team_id": slack.home.team,
        "user_id": slack.home.bot_user,
        "is_bot": True,
    }
    return {"authorizations": [one | {"is_enterprise_install": slack.events.org_wide}]}


# ── reactions ─────────────────────────────────────────────────────────────────────────────────
def reaction_event(
    slack: Platform, kind: str, user: str, channel: Channel, message: Message, name: str
) -> None:
    """Publish `reaction_added` or `reaction_removed`."""
    item = {"type": "message", "channel": channel.id, "ts": message.ts}
    event: Json = {"type": kind, "user": user, "reaction": name, "item": item}
    event |= {"item_user": message.user, "event_ts": slack.workspace.new_ts()}
    slack.events.publish(event, channel, slack.workspace.users[user].team)


def react(slack: Platform, user: str, channel: Channel, ts: str, name: str) -> None:
    """Add a reaction by `user`. Raises ApiError (`already_reacted`)."""
    message = slack.workspace.message(channel, ts)
    users = message.reactions.setdefault(name, [])
    if user in users:
        raise ApiError("already_reacted")
    users.append(user)
    reaction_event(slack, "reaction_added", user, channel, message, name)


def reactions_add(slack: Platform, args: Args) -> Json:
    """reactions.add."""
    channel = slack.workspace.channel(args.need("channel"), member=slack.home.bot_user)
    react(slack, slack.home.bot_user, channel, args.need("timestamp"), args.need("name").strip(":"))
    return {}


def reactions_remove(slack: Platform, args: Args) -> Json:
    """reactions.remove."""
    channel = slack.workspace.channel(args.need("channel"), member=slack.home.bot_user)
    message = slack.workspace.message(channel, args.need("timestamp"))
    name = args.need("name").strip(":")
    if slack.home.bot_user not in message.reactions.get(name, []):
        raise ApiError("no_reaction")
    message.reactions[name].remove(slack.home.bot_user)
    if not message.reactions[name]:
        del message.reactions[name]
    reaction_event(slack, "reaction_removed", slack.home.bot_user, channel, message, name)
    return {}


# ── views ─────────────────────────────────────────────────────────────────────────────────────
def _view(slack: Platform, args: Args, kind: str) -> Json:
    view = args.json("view")
    if not isinstance(view, dict) or view.get("type") != kind:
        raise invalid(f"view must have the type {kind}")
    if len(view.get("blocks") or []) > MAX_VIEW_BLOCKS:
        raise invalid(f"no more than {MAX_VIEW_BLOCKS} items allowed")
    if kind == "modal":
        _check_modal(view)
    return view | {"team_id": slack.home.team, "app_id": ids.APP, "bot_id": slack.home.bot}


def _check_modal(view: Json) -> None:
    """docs.slack.dev/reference/views/modal-views; …/blocks/input-block."""
    if not view.get("title"):
        raise invalid("missing required field: title")
    for key in ("title", "submit", "close"):
        text = view.get(key)
        if text is not None and (text.get("type") != "plain_text" or len(text["text"]) > 24):
            raise invalid(f"{key} must be plain_text of at most 24 characters")
    for key, most in (("private_metadata", 3_000), ("callback_id", 255)):
        if len(str(view.get(key) or "")) > most:
            raise invalid(f"{key} must be less than {most + 1} characters")
    inputs = [block for block in view.get("blocks") or [] if block.get("type") == "input"]
    if inputs and not view.get("submit"):
        raise invalid("missing required field: submit")
    for block in inputs:
        _check_input(block)


def _check_input(block: Json) -> None:
    element, label = block.get("element") or {}, block.get("label") or {}
    if label.get("type") != "plain_text" or not 0 < len(label.get("text", "")) <= 2_000:
        raise invalid("label must be plain_text of 1 to 2000 characters")
    hint = (element.get("placeholder") or {}).get("text", "")
    if element.get("type") != "plain_text_input" or len(hint) > 150:
        raise invalid("element must be a plain_text_input with a short placeholder")
    if not 1 <= element.get("max_length", 3_000) <= 3_000:
        raise invalid("max_length must be 1 to 3000")


def views_open(slack: Platform, args: Args) -> Json:
    """views.open: a trigger opens one view within three seconds."""
    trigger = slack.triggers.get(args.need("trigger_id"))
    if trigger is None:
        raise ApiError("invalid_trigger_id")
    if trigger.used:
        raise ApiError("exchanged_trigger_id")
    if trigger.expires < time.monotonic():
        raise ApiError("expired_trigger_id")
    view = _view(slack, args, "modal")
    trigger.used = True
    view |= {"id": "V" + uuid.uuid4().hex[:9].upper(), "state": {"values": {}}}
    slack.views[view["id"]] = view | {"opened_by": trigger.user}
    return {"view": view}


def views_update(slack: Platform, args: Args) -> Json:
    """views.update."""
    if args.need("view_id") not in slack.views:
        raise ApiError("not_found")
    slack.views[args.text("view_id")] |= _view(slack, args, "modal")
    return {"view": slack.views[args.text("view_id")]}


def views_publish(slack: Platform, args: Args) -> Json:
    """views.publish: a person's home tab."""
    if args.need("user_id") not in slack.workspace.users:
        raise ApiError("user_not_found")
    view = _view(slack, args, "home")
    slack.homes[args.text("user_id")] = view
    return {"view": view}
