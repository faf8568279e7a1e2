"""From Slack's event payloads to `Incoming`: pure. What is no question and no history is None.

Nothing here raises, whatever a payload lacks or has instead; what a person said is taken as far as
it can be understood.

The key against answering twice is (workspace, channel, ts): a mention comes as `app_mention` and
as `message`, and both give the same value but for what only `message` knows (the channel's kind).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.slack import content, payloads
from adapters.slack import text as slack_text
from adapters.slack.payloads import Payload, ident, table
from adapters.slack.payloads import text as text_at
from bot.domain.conversations import Author, ConversationKey, Visibility
from bot.domain.inbox import Address, Incoming

PLATFORM = "slack"
# Subtypes of what people say; every other subtype reports something. "" is a plain message.
SAID = frozenset({"", "file_share", "thread_broadcast", "me_message"})
SLACKBOT = "USLACKBOT"  # has no bot_id
DIRECT = "im"
KINDS = frozenset({"channel", "group", "im", "mpim"})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the bot is in one workspace, as auth.test says."""

    team: str
    user: str
    bot: str = ""
    name: str = ""


def workspace_of(body: Payload, default: str) -> str:
    """The installation's workspace: `event.team` is the author's, in Slack Connect another one."""
    authorizations = payloads.items(body, "authorizations")
    return (ident(authorizations[0], "team_id") if authorizations else "") or default


def subtype(event: Payload) -> str:
    """Its subtype; "" is a plain message."""
    return text_at(event, "subtype")


def ts_of(event: Payload) -> str:
    """The message's ts; of a new message the event's own time is the same."""
    found = payloads.ts(event)
    if found or subtype(event) not in SAID or text_at(event, "type") != "message":
        return found
    return payloads.ts(event, "event_ts")


def is_said(event: Payload, me: Identity) -> bool:
    """Whether a `message` or `app_mention` event is something that a person said.

    Modern bots have a `bot_id` and no subtype, so the `bot_id` decides.
    """
    return (
        text_at(event, "type") in ("message", "app_mention")
        and subtype(event) in SAID
        and not event.get("bot_id")
        and not event.get("hidden")
        and ident(event, "user") not in ("", me.user, SLACKBOT)
        and bool(ident(event, "channel") and ts_of(event))
    )


def ids_in(event: Payload, me: Identity) -> tuple[str, ...]:
    """The people and channels whose names the text needs; its author first."""
    return tuple(dict.fromkeys((ident(event, "user"), *content.ids_in(event, me.user))))


def read(
    body: Payload, me: Identity, names: Mapping[str, str], kind: str | None = None
) -> Incoming | None:
    """The event as a message to the bot; None when it is none of our business.

    `names` are people's by id, as far as they are known. `kind` is the channel's (`channel`,
    `group`, `im`, `mpim`) where the event itself does not say: app_mention never does.
    """
    event = table(body, "event")
    if not is_said(event, me):
        return None
    kind = channel_kind(event) or kind or ""
    address = address_of(event, kind, me)
    if address is None:
        return None
    return message(event, me, names, workspace_of(body, me.team), kind, address)


def channel_kind(event: Payload) -> str:
    """What the event says of its channel; "" when it does not, as app_mention.

    The id of a direct message begins with D, so one is known whatever the event lacks.
    """
    if ident(event, "channel").startswith("D"):
        return DIRECT
    kind = text_at(event, "channel_type")
    return kind if kind in KINDS else ""


def message(
    event: Payload,
    me: Identity,
    names: Mapping[str, str],
    workspace: str,
    kind: str,
    address: Address,
) -> Incoming:
    """A person's message as `Incoming`, whatever it is for."""
    channel, ts, user = ident(event, "channel"), ts_of(event), ident(event, "user")
    thread = thread_of(event)
    return Incoming(
        key=ConversationKey(PLATFORM, workspace, channel, thread),
        channel=channel,
        message_id=ts,
        position=position(ts),
        author=Author(user, slack_text.name(names.get(user) or "") or user),
        text=content.said(event, names, me.user),
        address=address,
        sent_at=position(ts) / 1e6,
        visibility=Visibility.PUBLIC if kind == "channel" else Visibility.PRIVATE,
        route=_route(event, channel, thread, kind),
        unusable=tuple(content.unusable(event)),
        in_old_thread=address is Address.MENTION and thread != ts,
        edited_at=float(edited_ts(event)) if edited_ts(event) else None,
    )


def thread_of(event: Payload) -> str:
    """The ts of the message that its thread is under; its own, outside threads."""
    return payloads.ts(event, "thread_ts") or ts_of(event)


def edited_ts(message: Payload) -> str:
    """When a message was edited last, as Slack says it; "" when it never was, or is a bot's."""
    return "" if message.get("bot_id") else payloads.ts(table(message, "edited"))


def history(data: Payload) -> list[Payload]:
    """The messages of a page of history; one without a place in the order costs only itself."""
    return [
        _with_known_reply(message)
        for message in payloads.items(data, "messages")
        if payloads.ts(message)
    ]


def _with_known_reply(message: Payload) -> Payload:
    if "latest_reply" not in message or payloads.ts(message, "latest_reply"):
        return message
    return {name: value for name, value in message.items() if name != "latest_reply"}


def position(ts: str) -> int:
    """A `ts` ("1700000000.000123") in microseconds; exact, where a float would not be."""
    seconds, _, micros = ts.partition(".")
    return int(seconds) * 1_000_000 + int((micros + "000000")[:6])


def address_of(event: Payload, kind: str, me: Identity) -> Address | None:
    """How what a person said addresses the bot; None in a channel when it does not at all."""
    if kind == DIRECT:
        return Address.DIRECT
    text = content.own(event)  # what is forwarded or quoted calls no one
    if text_at(event, "type") == "app_mention" or me.user in slack_text.people(text):
        return Address.MENTION
    if thread_of(event) == ts_of(event):
        return None  # people talk to each other
    return Address.ASIDE if slack_text.calls_others(text, me.user) else Address.FOLLOW_UP


def _route(event: Payload, channel: str, thread: str, kind: str) -> dict[str, str]:
    """What a reply needs; native streams want the user's own team, in Slack Connect another one."""
    teams = (ident(event, key) for key in ("user_team", "source_team", "team"))
    return {
        "channel": channel,
        "thread_ts": thread,
        "user": ident(event, "user"),
        "team": next(filter(None, teams), ""),
        "kind": kind,
    }
