"""Converts Slack's event payloads to `Incoming`. Pure.

Never raises, even if fields are missing or malformed, and reads as much of a person's message as
possible.

(workspace, channel, ts) identifies a message. Slack sends a mention both as `app_mention` and as
`message`; both yield the same value, except that only `message` always includes the channel's kind
and the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.slack import content, payloads
from adapters.slack import text as slack_text
from adapters.slack.attachments import attachments
from adapters.slack.payloads import Payload, ident, mapping
from adapters.slack.payloads import text as text_at
from bot.domain.conversations import Author, ConversationKey, Visibility
from bot.domain.inbox import Address, Incoming

PLATFORM = "slack"
# The subtypes of people's messages; every other subtype is a report. "" is a plain message.
PERSON_SUBTYPES = frozenset({"", "file_share", "thread_broadcast", "me_message"})
BOT_SUBTYPES = PERSON_SUBTYPES | {"bot_message"}
SLACKBOT = "USLACKBOT"  # has no bot_id
DIRECT = "im"
KINDS = frozenset({"channel", "group", "im", "mpim"})


@dataclass(frozen=True, slots=True)
class Identity:
    """The bot's ids and name in one workspace, and the workspace's host, from auth.test.

    `enterprise` is the workspace's Enterprise Grid organization; "" without one. If the app is
    installed in a whole organization (`is_org`), `team` is also the organization's id: a channel
    may be in several of its workspaces, and a conversation's key must not depend on who writes.
    """

    team: str
    user: str
    bot: str = ""
    name: str = ""
    host: str = ""  # TEAM.slack.com
    enterprise: str = ""
    is_org: bool = False


def subtype(event: Payload) -> str:
    """The event's subtype; "" for a plain message."""
    return text_at(event, "subtype")


def message_ts(event: Payload) -> str:
    """The message's ts, or the event's, which is the same for a new message."""
    found = payloads.ts(event)
    if found or subtype(event) not in PERSON_SUBTYPES or text_at(event, "type") != "message":
        return found
    return payloads.ts(event, "event_ts")


def is_from_person(event: Payload, me: Identity) -> bool:
    """Whether a `message` or `app_mention` event is a message that a person wrote.

    Modern bots post with a `bot_id` and no subtype, so the `bot_id` decides.
    """
    return (
        text_at(event, "type") in ("message", "app_mention")
        and subtype(event) in PERSON_SUBTYPES
        and not event.get("bot_id")
        and not event.get("hidden")
        and ident(event, "user") not in ("", me.user, SLACKBOT)
        and bool(ident(event, "channel") and message_ts(event))
    )


def is_mention(event: Payload) -> bool:
    """Whether this is the `app_mention` event, which accompanies the message's own event."""
    return text_at(event, "type") == "app_mention"


def ids_in(event: Payload, me: Identity) -> tuple[str, ...]:
    """The ids whose names the message's text needs, the author's first."""
    return tuple(dict.fromkeys((ident(event, "user"), *content.ids_in(event, me.user))))


def channel_kind(event: Payload) -> str:
    """The channel's kind from the event; "" if the event lacks it, as app_mention does.

    Recognizes a direct message anyway, because its channel's id begins with D.
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
    """A person's message as `Incoming`."""
    channel, ts, user = ident(event, "channel"), message_ts(event), ident(event, "user")
    thread = thread_of(event)
    has_text = bool(slack_text.for_model(content.author_text(event), names, me.user))
    return Incoming(
        key=ConversationKey(PLATFORM, workspace, channel, thread),
        channel=channel,
        message_id=ts,
        position=position(ts),
        author=Author(user, slack_text.name(names.get(user) or "") or user),
        text=content.message_text(event, names, me.user),
        address=address,
        sent_at=position(ts) / 1e6,
        visibility=Visibility.PUBLIC if kind == "channel" else Visibility.PRIVATE,
        route=_route(event, channel, thread, kind),
        attachments=attachments(event, has_text=has_text),
        in_old_thread=address is Address.MENTION and thread != ts,
        stands_alone=address is Address.MENTION and thread == ts and not _forwards(event),
        edited_at=float(edited_ts(event)) if edited_ts(event) else None,
    )


def _forwards(event: Payload) -> bool:
    """Whether the message shares another one, which is then its subject."""
    return any(one.get("is_share") is True for one in payloads.items(event, "attachments"))


def is_from_other_bot(event: Payload, me: Identity) -> bool:
    """Whether another app, a webhook or a workflow posted this message."""
    is_bots = bool(event.get("bot_id")) or subtype(event) == "bot_message"
    ours = ident(event, "user") == me.user or (bool(me.bot) and event.get("bot_id") == me.bot)
    return is_bots and not ours and subtype(event) in BOT_SUBTYPES and not event.get("hidden")


def thread_of(event: Payload) -> str:
    """The ts of the thread's root message; the message's own ts outside threads."""
    return payloads.ts(event, "thread_ts") or message_ts(event)


def edited_ts(message: Payload) -> str:
    """The ts of a message's last edit; "" if it was never edited, or a bot wrote it."""
    return "" if message.get("bot_id") else payloads.ts(mapping(message, "edited"))


def history(data: Payload) -> list[Payload]:
    """The messages on a page of history, except those without a valid ts."""
    return [
        _without_invalid_reply(message)
        for message in payloads.items(data, "messages")
        if payloads.ts(message)
    ]


def _without_invalid_reply(message: Payload) -> Payload:
    if "latest_reply" not in message or payloads.ts(message, "latest_reply"):
        return message
    return {name: value for name, value in message.items() if name != "latest_reply"}


def position(ts: str) -> int:
    """A `ts` ("1700000000.000123") in microseconds, without a float's rounding."""
    seconds, _, micros = ts.partition(".")
    return int(seconds) * 1_000_000 + int((micros + "000000")[:6])


def address_of(event: Payload, kind: str, me: Identity) -> Address | None:
    """How a person's message addresses the bot; None if it does not."""
    if kind == DIRECT:
        return Address.DIRECT
    text = content.author_text(event)  # mentions in forwarded or quoted text do not count
    if text_at(event, "type") == "app_mention" or me.user in slack_text.mentioned_users(text):
        return Address.MENTION
    if thread_of(event) == message_ts(event):
        return None  # people talking to each other
    return Address.ASIDE if slack_text.mentions_others(text, me.user) else Address.FOLLOW_UP


def addresses_no_one(event: Payload, me: Identity) -> bool:
    """Whether a message is outside threads and mentions neither the bot nor anyone else."""
    text = content.author_text(event)
    mentioned = me.user in slack_text.mentioned_users(text)
    outside = thread_of(event) == message_ts(event)
    return outside and not mentioned and not slack_text.mentions_others(text, me.user)


def _route(event: Payload, channel: str, thread: str, kind: str) -> dict[str, str]:
    """The data that tells a reply where to go.

    Native streams need the user's own team, which can be another one in Slack Connect.
    """
    teams = (ident(event, key) for key in ("user_team", "source_team", "team"))
    return {
        "channel": channel,
        "thread_ts": thread,
        "user": ident(event, "user"),
        "team": next(filter(None, teams), ""),
        "kind": kind,
    }
