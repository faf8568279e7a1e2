"""chat.*: posting, updating and deleting messages, with the refusals that Slack gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.sims.slack import ids
from tests.sims.slack.blocks import checked
from tests.sims.slack.platform import Platform
from tests.sims.slack.values import Args, Channel, Json, Message, Refused, invalid
from tests.sims.slack.workspace import bot_message

MAX_POST = 40_000  # chat.postMessage cuts the text here
MAX_UPDATE = 4_000  # chat.update refuses more
MAX_MARKDOWN = 12_000  # markdown_text
MAX_METADATA = 16_000  # bytes of JSON, roughly
_TS = re.compile(r"^\d{9,11}\.\d{6}$")


@dataclass(frozen=True, slots=True)
class Content:
    """What a call wants shown; None is "not given"."""

    text: str | None
    blocks: list[Json] | None
    attachments: list[Json] | None
    cut: bool = False


def content(args: Args) -> Content:
    """The content of a call, checked as Slack does; raises Refused."""
    text = args.text("text") if "text" in args else None
    blocks = checked(args.json("blocks")) if "blocks" in args else None
    attachments = args.json("attachments")
    if "markdown_text" in args:
        if text is not None or blocks is not None:
            raise Refused("markdown_text_conflict")
        markdown = args.text("markdown_text")
        if len(markdown) > MAX_MARKDOWN:
            raise Refused("msg_too_long")
        return Content("", checked([{"type": "markdown", "text": markdown}]), attachments)
    if attachments and len(attachments) > 100:
        raise Refused("too_many_attachments")
    return Content(text, blocks, attachments)


def metadata(args: Args) -> Json | None:
    """The metadata of a call; it needs `event_type` and `event_payload`."""
    value = args.json("metadata")
    if value is None:
        return None
    if not isinstance(value, dict) or not {"event_type", "event_payload"} <= set(value):
        raise Refused("invalid_metadata_format")
    if len(str(value)) > MAX_METADATA:
        raise Refused("metadata_too_large")
    return value


def writable(slack: Platform, channel_id: str) -> Channel:
    """The channel, when the bot may write there."""
    if channel_id.startswith("U"):
        return slack.workspace.direct(channel_id)
    channel = slack.workspace.channels.get(channel_id)
    public = channel is not None and channel.kind == "channel"
    anywhere = public and "chat:write.public" in slack.events.scopes
    channel = slack.workspace.channel(channel_id, member="" if anywhere else ids.BOT_USER)
    if channel.archived:
        raise Refused("is_archived")
    return channel


def thread_of(channel: Channel, thread_ts: str) -> str:
    """Where a reply goes: the thread, or nowhere ("") when its root is gone, as Slack does."""
    if not thread_ts:
        return ""
    if not _TS.match(thread_ts):
        raise invalid("invalid thread_ts")
    root = channel.messages.get(thread_ts)
    if root is None or root.deleted:
        return ""
    if root.is_reply:
        raise Refused("cannot_reply_to_message")
    return thread_ts


def post_message(slack: Platform, args: Args) -> Json:
    """chat.postMessage; the reply to a deleted message goes into the channel, unthreaded."""
    channel = writable(slack, args.need("channel"))
    wanted = content(args)
    if not (wanted.text or wanted.blocks or wanted.attachments):
        raise Refused("no_text")
    text = wanted.text or ""
    message = bot_message(
        ts=slack.workspace.new_ts(),
        channel=channel.id,
        text=text[:MAX_POST],
        blocks=wanted.blocks or [],
        attachments=wanted.attachments or [],
        thread_ts=thread_of(channel, args.text("thread_ts")),
        metadata=metadata(args),
        client_msg_id=args.text("client_msg_id"),
    )
    if message.is_reply and args.flag("reply_broadcast"):
        message.subtype = "thread_broadcast"
    message.unfurls = not (
        args.flag("unfurl_links") is False and args.flag("unfurl_media") is False
    )
    message.link_names = _names(args)
    slack.workspace.post(message)
    slack.workspace.statuses.pop((channel.id, message.thread_ts), None)  # a reply clears it
    answer = _answer(slack, message)
    return answer | _warning("message_truncated") if len(text) > MAX_POST else answer


def _names(args: Args) -> bool:
    return bool(args.flag("link_names")) or args.text("parse") == "full"


def _answer(slack: Platform, message: Message) -> Json:
    shown = slack.workspace.public(message, metadata=True)
    return {"channel": message.channel, "ts": message.ts, "message": shown}


def _warning(name: str) -> Json:
    return {"warning": name, "response_metadata": {"warnings": [name]}}


def own(slack: Platform, args: Args, refusal: str) -> Message:
    """The bot's own message that a call is about."""
    channel = slack.workspace.channel(args.need("channel"), member=ids.BOT_USER)
    message = slack.workspace.message(channel, args.need("ts"))
    if message.user != ids.BOT_USER:
        raise Refused(refusal)
    return message


def update(slack: Platform, args: Args) -> Json:
    """chat.update: text, blocks and metadata that are not given stay as they are."""
    message = own(slack, args, "cant_update_message")
    if slack.workspace.channels[message.channel].archived:
        raise Refused("is_inactive")  # its words for "frozen, archived or deleted"
    if message.streaming:
        raise Refused("streaming_state_conflict")
    wanted = content(args)
    if wanted.text is None and wanted.blocks is None and wanted.attachments is None:
        raise Refused("no_text")
    if len(wanted.text or "") > MAX_UPDATE:
        raise Refused("msg_too_long")
    kept = metadata(args)
    before = slack.workspace.public(message)
    _apply(message, wanted)
    message.metadata = kept if kept is not None else message.metadata
    message.link_names = _names(args)
    message.edited = {"user": ids.BOT_USER, "ts": slack.workspace.new_ts()}
    slack.workspace.changed(message, "update", before)
    return _answer(slack, message) | {"text": message.text}


def _apply(message: Message, wanted: Content) -> None:
    """Blocks given before stay when only the text changes, as Slack documents; a stream's own
    text is replaced by whatever an update brings.
    """
    message.stream = None if message.stream is None else _closed(message)
    if wanted.text is not None:
        message.text = wanted.text
    if wanted.blocks is not None:
        message.blocks = wanted.blocks
    if wanted.attachments is not None:
        message.attachments = wanted.attachments


def _closed(message: Message) -> Any:
    assert message.stream is not None
    message.stream.text, message.stream.stopped = "", True
    return message.stream


def delete(slack: Platform, args: Args) -> Json:
    """chat.delete: the bot's own messages only, and none while it streams."""
    message = own(slack, args, "cant_delete_message")
    if message.streaming:
        raise Refused("cant_delete_message")
    slack.workspace.remove(message)
    return {"channel": message.channel, "ts": message.ts}


def post_ephemeral(slack: Platform, args: Args) -> Json:
    """chat.postEphemeral: seen by one member, gone with the next reload, no event."""
    channel = writable(slack, args.need("channel"))
    user = args.need("user")
    if user not in channel.members:
        raise Refused("user_not_in_channel")
    wanted = content(args)
    if not (wanted.text or wanted.blocks or wanted.attachments):
        raise Refused("no_text")
    message = whisper(slack, channel, user, wanted, thread_of(channel, args.text("thread_ts")))
    return {"message_ts": message.ts}


def whisper(
    slack: Platform, channel: Channel, user: str, wanted: Content, thread_ts: str = ""
) -> Message:
    """An ephemeral message."""
    message = bot_message(
        ts=slack.workspace.new_ts(),
        channel=channel.id,
        text=wanted.text or "",
        blocks=wanted.blocks or [],
        attachments=wanted.attachments or [],
        thread_ts=thread_ts,
        ephemeral_to=user,
    )
    slack.workspace.keep(message, "post")
    slack.workspace.ephemerals.append(message)
    return message


def get_permalink(slack: Platform, args: Args) -> Json:
    """chat.getPermalink."""
    channel = slack.workspace.channel(args.need("channel"), member=ids.BOT_USER)
    message = slack.workspace.message(channel, args.need("message_ts"))
    path = f"/archives/{channel.id}/p{message.ts.replace('.', '')}"
    return {"channel": channel.id, "permalink": f"https://{ids.TEAM_DOMAIN}.slack.com{path}"}
