"""Native streams (chat.*Stream), assistant threads and agent sessions.

A stream ends when it is too old or too long, or when a person stops it; its text stays.
"""

from __future__ import annotations

import time
from typing import Any

from tests.sims.slack.blocks import validate_blocks
from tests.sims.slack.chat import (
    MAX_MARKDOWN,
    metadata,
    own_message,
    resolve_thread,
    writable_channel,
)
from tests.sims.slack.platform import Platform
from tests.sims.slack.values import ApiError, Args, Channel, Json, Message, Stream, invalid

SESSION_STATES = ("active", "processing", "suspended", "closed")
NO_STOP_EVENT = "missing_agent_session_stopped_event_subscription"
_CHUNKS = {"markdown_text", "task_update", "plan_update", "blocks"}
_SHORT = 256  # characters of a task's or plan's title


def _read_text(args: Args, *, needed: bool) -> str:
    """The text in markdown_text or the chunks; other kinds of chunks are only validated."""
    parts = [args.text("markdown_text")] if "markdown_text" in args else []
    chunks: Any = args.json("chunks")
    if chunks is not None and not isinstance(chunks, list):
        raise ApiError("invalid_chunks")
    for chunk in chunks or []:
        if not isinstance(chunk, dict) or chunk.get("type") not in _CHUNKS:
            raise ApiError("invalid_chunks")
        if chunk["type"] == "markdown_text":
            parts.append(str(chunk.get("text", "")))
        if len(str(chunk.get("title", ""))) > _SHORT:
            raise ApiError("msg_too_long")
    if any(len(part) > MAX_MARKDOWN for part in parts):
        raise ApiError("msg_too_long")
    if needed and not chunks and not any(parts):
        raise ApiError("no_text")
    return "".join(parts)


def start(slack: Platform, args: Args) -> Json:
    """chat.startStream: starts a reply; in channels it needs a recipient and their team."""
    channel = writable_channel(slack, args.need("channel"))
    thread = resolve_thread(channel, args.need("thread_ts"))
    if channel.kind != "im":
        _check_recipient(slack, args)
    if not thread:
        raise ApiError("message_not_found")
    text = _read_text(args, needed=False)
    message = slack.workspace.bot_message(
        ts=slack.workspace.new_ts(), channel=channel.id, thread_ts=thread
    )
    message.stream = Stream(time.monotonic(), slack.stream_seconds, text=text)
    slack.workspace.post(message)
    clear_status(slack, channel, thread)
    return {"channel": channel.id, "ts": message.ts}


def _check_recipient(slack: Platform, args: Args) -> None:
    for name in ("recipient_user_id", "recipient_team_id"):
        if not args.text(name):
            raise ApiError(f"missing_{name}")
    user = slack.workspace.users.get(args.text("recipient_user_id"))
    if user is None:
        raise ApiError("user_not_found")
    if user.team != args.text("recipient_team_id"):
        raise ApiError("team_not_found")


def _open_stream(slack: Platform, args: Args) -> tuple[Message, Stream]:
    message = own_message(slack, args, "message_not_owned_by_app")
    if message.stream is None or not message.streaming:
        by_user = message.stream is not None and message.stream.by_user
        raise ApiError("stopped_by_user" if by_user else "message_not_in_streaming_state")
    return message, message.stream


def _extend(slack: Platform, stream: Stream, text: str) -> None:
    if len(stream.text) + len(text) > slack.stream_characters:
        stream.full = True
        raise ApiError("message_not_in_streaming_state")
    stream.text += text


def append(slack: Platform, args: Args) -> Json:
    """chat.appendStream."""
    message, stream = _open_stream(slack, args)
    _extend(slack, stream, _read_text(args, needed=True))
    slack.workspace.record_version(message, "append")
    return {"channel": message.channel, "ts": message.ts}


def stop(slack: Platform, args: Args) -> Json:
    """chat.stopStream: adds the last text, blocks and metadata, and sets the session's status."""
    message, stream = _open_stream(slack, args)
    status = args.text("session_status")
    if status and status not in SESSION_STATES:
        raise invalid("invalid session_status")
    blocks = validate_blocks(args.json("blocks")) if "blocks" in args else []
    kept = metadata(args)
    before = slack.workspace.serialize(message)
    _extend(slack, stream, _read_text(args, needed=False))
    stream.stopped = True
    message.blocks, message.metadata = blocks, kept
    slack.workspace.publish_change(message, "stop", before)
    if status:
        _session(slack, (message.channel, message.thread_ts))["status"] = status
    shown = slack.workspace.serialize(message, metadata=True)
    return {"channel": message.channel, "ts": message.ts, "message": shown}


# ── assistant threads ─────────────────────────────────────────────────────────────────────────
def _thread(slack: Platform, args: Args) -> tuple[Channel, str]:
    channel = slack.workspace.channel(args.need("channel_id"), member=slack.home.bot_user)
    thread = args.need("thread_ts")
    if thread not in channel.messages:
        raise ApiError("thread_not_found")
    return channel, thread


def clear_status(slack: Platform, channel: Channel, thread: str) -> None:
    """Clear the assistant's status, as when the app posts in the thread."""
    slack.workspace.statuses.pop((channel.id, thread), None)


def shown_statuses(slack: Platform) -> dict[tuple[str, str], Json]:
    """The statuses that Slack has not removed after its two minutes."""
    since = time.monotonic() - slack.status_seconds
    return {key: one for key, one in slack.workspace.statuses.items() if one["at"] >= since}


def set_status(slack: Platform, args: Args) -> Json:
    """assistant.threads.setStatus; an empty status clears it.

    Slack removes a status after two minutes without a message.
    """
    channel, thread = _thread(slack, args)
    loading = args.json("loading_messages") or []
    if len(loading) > 10:
        raise invalid("no more than 10 loading_messages")
    clear_status(slack, channel, thread)
    if status := args.text("status"):
        slack.workspace.statuses[channel.id, thread] = {
            "status": status,
            "loading": loading,
            "at": time.monotonic(),
        }
    return {}


def set_title(slack: Platform, args: Args) -> Json:
    """assistant.threads.setTitle."""
    channel, thread = _thread(slack, args)
    _session(slack, (channel.id, thread))["title"] = args.need("title")
    return {}


def set_prompts(slack: Platform, args: Args) -> Json:
    """assistant.threads.setSuggestedPrompts: one to four, each with a title and a message."""
    channel = slack.workspace.channel(args.need("channel_id"), member=slack.home.bot_user)
    prompts = args.json("prompts")
    if not isinstance(prompts, list) or not 1 <= len(prompts) <= 4:
        raise invalid("prompts must have 1 to 4 items")
    if not all(prompt.get("title") and prompt.get("message") for prompt in prompts):
        raise invalid("a prompt needs title and message")
    _session(slack, (channel.id, args.text("thread_ts")))["prompts"] = prompts
    return {}


# ── agent sessions ────────────────────────────────────────────────────────────────────────────
def _session(slack: Platform, key: tuple[str, str]) -> Json:
    return slack.workspace.sessions.setdefault(key, {"status": "", "title": ""})


def set_session_status(slack: Platform, args: Args) -> Json:
    """agents.sessions.setStatus, for agents only; the status stays until the next call.

    Slack does not document the error for other apps.
    """
    if not slack.agent:
        raise ApiError("not_allowed")
    channel, thread = _thread(slack, args)
    if (status := args.need("status")) not in SESSION_STATES:
        raise invalid(f"invalid status: {status}")
    if len(args.text("title")) > 200:
        raise invalid("title must be no more than 200 characters")
    fresh = (channel.id, thread) not in slack.workspace.sessions
    session = _session(slack, (channel.id, thread))
    session["status"] = status
    if fresh:
        session["title"] = args.text("title")
    answer: Json = {"status": status, "agent_status": status, "title": session["title"]}
    if not slack.events.subscribes("agent_session_stopped"):
        answer |= {"warning": NO_STOP_EVENT, "response_metadata": {"warnings": [NO_STOP_EVENT]}}
    return answer


def rename_session(slack: Platform, args: Args) -> Json:
    """agents.sessions.rename."""
    channel, thread = _thread(slack, args)
    if (channel.id, thread) not in slack.workspace.sessions:
        raise ApiError("session_not_found")
    slack.workspace.sessions[channel.id, thread]["title"] = args.need("title")
    return {"title": args.text("title")}
