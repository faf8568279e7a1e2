"""chat.*: posts, updates and deletes messages, with Slack's errors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.sims.slack.blocks import validate_blocks
from tests.sims.slack.platform import Platform
from tests.sims.slack.values import ApiError, Args, Channel, Json, Message, invalid

MAX_POST = 40_000  # chat.postMessage truncates longer text
MAX_UPDATE = 4_000  # chat.update refuses more
MAX_MARKDOWN = 12_000  # markdown_text
MAX_METADATA = 16_000  # bytes of JSON, roughly
_TS = re.compile(r"^\d{9,11}\.\d{6}$")


@dataclass(frozen=True, slots=True)
class Content:
    """The content in a call's arguments; None if not given."""

    text: str | None
    blocks: list[Json] | None
    attachments: list[Json] | None
    cut: bool = False


def read_content(args: Args) -> Content:
    """The content of a call, validated like Slack does. Raises ApiError."""
    text = args.text("text") if "text" in args else None
    blocks = validate_blocks(args.json("blocks")) if "blocks" in args else None
    attachments = args.json("attachments")
    if "markdown_text" in args:
        if text is not None or blocks is not None:
            raise ApiError("markdown_text_conflict")
        markdown = args.text("markdown_text")
        if len(markdown) > MAX_MARKDOWN:
            raise ApiError("msg_too_long")
        return Content("", validate_blocks([{"type": "markdown", "text": markdown}]), attachments)
    if attachments and len(attachments) > 100:
        raise ApiError("too_many_attachments")
    return Content(text, blocks, attachments)


def metadata(args: Args) -> Json | None:
    """The metadata of a call, which must have `event_type` and `event_payload`."""
    value = args.json("metadata")
    if value is None:
        return None
    if not isinstance(value, dict) or not {"event_type", "event_payload"} <= set(value):
        raise ApiError("invalid_metadata_format")
    if len(str(value)) > MAX_METADATA:
        raise ApiError("metadata_too_large")
    return value


def writable_channel(slack: Platform, channel_id: str) -> Channel:
    """The channel, if the bot may write there. Raises ApiError."""
    if channel_id.startswith("U"):
        return slack.workspace.direct(channel_id)
    channel = slack.workspace.channels.get(channel_id)
    public = channel is not None and channel.kind == "channel"
    anywhere = public and "chat:write.public" in slack.events.scopes
    channel = slack.workspace.channel(channel_id, member="" if anywhere else slack.home.bot_user)
    if channel.archived:
        raise ApiError("is_archived")
    return channel


def resolve_thread(channel: Channel, thread_ts: str) -> str:
    """The thread of a reply; "", as in Slack, if its root was deleted."""
    if not thread_ts:
        return ""
    if not _TS.match(thread_ts):
        raise invalid("invalid thread_ts")
    root = channel.messages.get(thread_ts)
    if root is None or root.deleted:
        return ""
    if root.is_reply:
        raise ApiError("cannot_reply_to_message")
    return thread_ts


def post_message(slack: Platform, args: Args) -> Json:
    """chat.postMessage; a reply to a deleted message lands in the channel, outside a thread."""
    channel = writable_channel(slack, args.need("channel"))
    wanted = read_content(args)
    if not (wanted.text or wanted.blocks or wanted.attachments):
        raise ApiError("no_text")
    text = wanted.text or ""
    message = slack.workspace.bot_message(
        ts=slack.workspace.new_ts(),
        channel=channel.id,
        text=text[:MAX_POST],
        blocks=wanted.blocks or [],
        attachments=wanted.attachments or [],
        thread_ts=resolve_thread(channel, args.text("thread_ts")),
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
    slack.workspace.statuses.pop((channel.id, message.thread_ts), None)  # a reply clears the status
    answer = _answer(slack, message)
    return answer | _warning("message_truncated") if len(text) > MAX_POST else answer


def _names(args: Args) -> bool:
    return bool(args.flag("link_names")) or args.text("parse") == "full"


def _answer(slack: Platform, message: Message) -> Json:
    shown = slack.workspace.serialize(message, metadata=True)
    return {"channel": message.channel, "ts": message.ts, "message": shown}


def _warning(name: str) -> Json:
    return {"warning": name, "response_metadata": {"warnings": [name]}}


def own_message(slack: Platform, args: Args, refusal: str) -> Message:
    """The bot's message that a call names. Raises ApiError (`refusal`) for another author's."""
    channel = slack.workspace.channel(args.need("channel"), member=slack.home.bot_user)
    message = slack.workspace.message(channel, args.need("ts"))
    if message.user != slack.home.bot_user:
        raise ApiError(refusal)
    return message


def update(slack: Platform, args: Args) -> Json:
    """chat.update; text, blocks and metadata that are not given stay unchanged."""
    message = own_message(slack, args, "cant_update_message")
    if slack.workspace.channels[message.channel].archived:
        raise ApiError("is_inactive")  # Slack's code for "frozen, archived or deleted"
    if message.streaming:
        raise ApiError("streaming_state_conflict")
    wanted = read_content(args)
    if wanted.text is None and wanted.blocks is None and wanted.attachments is None:
        raise ApiError("no_text")
    if len(wanted.text or "") > MAX_UPDATE:
        raise ApiError("msg_too_long")
    kept = metadata(args)
    before = slack.workspace.serialize(message)
    _apply(message, wanted)
    message.metadata = kept if kept is not None else message.metadata
    message.link_names = _names(args)
    message.edited = {"user": slack.home.bot_user, "ts": slack.workspace.new_ts()}
    slack.workspace.publish_change(message, "update", before)
    return _answer(slack, message) | {"text": message.text}


def _apply(message: Message, wanted: Content) -> None:
    """Apply an update: as documented, blocks stay if only the text changes, but a stream's text is
    always replaced.
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
    """chat.delete: only the bot's own messages, and not while one is streaming."""
    message = own_message(slack, args, "cant_delete_message")
    if message.streaming:
        raise ApiError("cant_delete_message")
    slack.workspace.remove(message)
    return {"channel": message.channel, "ts": message.ts}


def post_ephemeral(slack: Platform, args: Args) -> Json:
    """chat.postEphemeral: visible to one member until the next reload, without an event."""
    channel = writable_channel(slack, args.need("channel"))
    user = args.need("user")
    if user not in channel.members:
        raise ApiError("user_not_in_channel")
    wanted = read_content(args)
    if not (wanted.text or wanted.blocks or wanted.attachments):
        raise ApiError("no_text")
    message = post_privately(
        slack, channel, user, wanted, resolve_thread(channel, args.text("thread_ts"))
    )
    return {"message_ts": message.ts}


def post_privately(
    slack: Platform, channel: Channel, user: str, wanted: Content, thread_ts: str = ""
) -> Message:
    """Post an ephemeral message."""
    message = slack.workspace.bot_message(
        ts=slack.workspace.new_ts(),
        channel=channel.id,
        text=wanted.text or "",
        blocks=wanted.blocks or [],
        attachments=wanted.attachments or [],
        thread_ts=thread_ts,
        ephemeral_to=user,
    )
    slack.workspace.record_version(message, "post")
    slack.workspace.ephemerals.append(message)
    return message


def get_permalink(slack: Platform, args: Args) -> Json:
    """chat.getPermalink."""
    channel = slack.workspace.channel(args.need("channel"), member=slack.home.bot_user)
    message = slack.workspace.message(channel, args.need("message_ts"))
    path = f"/archives/{channel.id}/p{message.ts.replace('.', '')}"
    return {"channel": channel.id, "permalink": f"https://{slack.home.domain}.slack.com{path}"}
