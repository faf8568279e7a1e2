"""From Slack's event payloads to `Incoming`: pure. What is no question and no history is None.

The key against answering twice is (workspace, channel, ts): a mention comes as `app_mention` and
as `message`, and both give the same value but for what only `message` knows (the channel's kind).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.slack import text as slack_text
from bot.domain import Address, Author, ConversationKey, Incoming, Visibility

PLATFORM = "slack"
# Subtypes of what people say; every other subtype reports something. "" is a plain message.
SAID = frozenset({"", "file_share", "thread_broadcast", "me_message"})
SLACKBOT = "USLACKBOT"  # has no bot_id
DIRECT = "im"

Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the bot is in one workspace, as auth.test says."""

    team: str
    user: str
    bot: str = ""


def workspace_of(body: Payload, default: str) -> str:
    """The installation's workspace: `event.team` is the author's, in Slack Connect another one."""
    authorizations = body.get("authorizations") or [{}]
    return str(authorizations[0].get("team_id") or default)


def is_said(event: Payload, me: Identity) -> bool:
    """Whether a `message` or `app_mention` event is something that a person said.

    Modern bots have a `bot_id` and no subtype, so the `bot_id` decides.
    """
    return (
        event.get("type") in ("message", "app_mention")
        and event.get("subtype", "") in SAID
        and not event.get("bot_id")
        and not event.get("hidden")
        and event.get("user") not in (None, "", me.user, SLACKBOT)
        and bool(event.get("channel") and event.get("ts"))
    )


def people_in(event: Payload) -> tuple[str, ...]:
    """The users whose names the text needs: its author and those it mentions."""
    return tuple(dict.fromkeys((event["user"], *slack_text.people(_stored_text(event)))))


def read(
    body: Payload, me: Identity, names: Mapping[str, str], kind: str | None = None
) -> Incoming | None:
    """The event as a message to the bot; None when it is none of our business.

    `names` are people's by id, as far as they are known. `kind` is the channel's (`channel`,
    `group`, `im`, `mpim`) where the event itself does not say: app_mention never does.
    """
    event = body.get("event") or {}
    if not is_said(event, me):
        return None
    kind = str(event.get("channel_type") or kind or "")
    address = address_of(event, kind, me)
    if address is None:
        return None
    return message(event, me, names, workspace_of(body, me.team), kind, address)


def message(
    event: Payload,
    me: Identity,
    names: Mapping[str, str],
    workspace: str,
    kind: str,
    address: Address,
) -> Incoming:
    """A person's message as `Incoming`, whatever it is for."""
    channel, ts, user = str(event["channel"]), str(event["ts"]), str(event["user"])
    thread = str(event.get("thread_ts") or ts)
    return Incoming(
        key=ConversationKey(PLATFORM, workspace, channel, thread),
        channel=channel,
        message_id=ts,
        position=position(ts),
        author=Author(user, names.get(user) or user),
        text=slack_text.for_model(_stored_text(event), names, me.user),
        address=address,
        sent_at=position(ts) / 1e6,
        visibility=Visibility.PUBLIC if kind == "channel" else Visibility.PRIVATE,
        route=_route(event, channel, thread, kind),
        unusable=_unusable(event.get("files") or ()),
        in_old_thread=address is Address.MENTION and thread != ts,
        edited_at=float(edited_ts(event)) if edited_ts(event) else None,
    )


def edited_ts(message: Payload) -> str:
    """When a message was edited last, as Slack says it; "" when it never was, or is a bot's."""
    if message.get("bot_id"):
        return ""
    return str((message.get("edited") or {}).get("ts") or "")


def position(ts: str) -> int:
    """A `ts` ("1700000000.000123") in microseconds; exact, where a float would not be."""
    seconds, _, micros = ts.partition(".")
    return int(seconds) * 1_000_000 + int((micros + "000000")[:6])


def _stored_text(event: Payload) -> str:
    """The text; `blocks` only where it is empty: both carry the same words."""
    return str(event.get("text") or "") or slack_text.of_blocks(event.get("blocks"))


def address_of(event: Payload, kind: str, me: Identity) -> Address | None:
    """How what a person said addresses the bot; None in a channel when it does not at all."""
    if kind == DIRECT:
        return Address.DIRECT
    text = _stored_text(event)
    if event["type"] == "app_mention" or me.user in slack_text.people(text):
        return Address.MENTION
    if event.get("thread_ts") in (None, "", event["ts"]):
        return None  # people talk to each other
    return Address.ASIDE if slack_text.calls_others(text, me.user) else Address.FOLLOW_UP


def _route(event: Payload, channel: str, thread: str, kind: str) -> dict[str, str]:
    """What a reply needs; native streams want the user's own team, in Slack Connect another one."""
    team = event.get("user_team") or event.get("source_team") or event.get("team") or ""
    return {
        "channel": channel,
        "thread_ts": thread,
        "user": str(event["user"]),
        "team": str(team),
        "kind": kind,
    }


def _unusable(files: Iterable[Payload]) -> tuple[str, ...]:
    return tuple(_file_kind(file) for file in files)


def _file_kind(file: Payload) -> str:
    mimetype = str(file.get("mimetype") or "")
    if file.get("subtype") == "slack_audio" or mimetype.startswith("audio/"):
        return "voice message"
    return "image" if mimetype.startswith("image/") else "file"
