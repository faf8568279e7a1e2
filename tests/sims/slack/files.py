"""Files: their descriptions in messages, files.info, uploads and deletions."""

from __future__ import annotations

import asyncio
import time
import uuid

from tests.sims.slack import ids
from tests.sims.slack.blocks import validate_blocks
from tests.sims.slack.chat import resolve_thread, writable_channel
from tests.sims.slack.platform import Platform
from tests.sims.slack.values import ApiError, Args, Channel, Json, invalid

STUB = "check_file_info"  # what a message shows of a file from another workspace


def new_file(
    slack: Platform, name: str, kind: str, user: str, data: bytes | None, fields: Json | None = None
) -> Json:
    """A file as files.info describes it; only the bot's token may download it.

    `fields` change its description; None removes a field.
    """
    file, now = "F" + uuid.uuid4().hex[:9].upper(), int(time.time())
    url, ending = f"{slack.url}/files-pri/{slack.home.team}-{file}", name.rpartition(".")[2]
    info: Json = {"id": file, "created": now, "timestamp": now, "name": name, "title": name}
    info |= {"mimetype": kind, "filetype": ending, "pretty_type": ending.upper(), "user": user}
    info |= {
        "user_team": slack.home.team,
        "editable": False,
        "size": len(data or b""),
        "mode": "hosted",
    }
    info |= {"is_external": False, "external_type": "", "is_public": True}
    info |= {"public_url_shared": False, "display_as_bot": False, "username": ""}
    info |= {"url_private": f"{url}/{name}", "url_private_download": f"{url}/download/{name}"}
    info |= {"media_display_type": "unknown", "permalink": f"{slack.url}/files/{user}/{file}"}
    info |= {"has_rich_preview": False, "file_access": "visible"} | (fields or {})
    slack.files[file] = {key: value for key, value in info.items() if value is not None}
    if data is not None:
        slack.contents[file] = data
    return slack.files[file]


def shown_file(info: Json) -> Json:
    """A file as a message shows it: a stub if access depends on another workspace."""
    if info.get("file_access") != STUB:
        return dict(info)
    return {"id": info["id"], "created": info["created"], "mode": "file_access"} | {
        "file_access": STUB
    }


def info(slack: Platform, args: Args) -> Json:
    """files.info."""
    file = slack.files.get(args.need("file"))
    if file is None or file.get("mode") == "tombstone":
        raise ApiError("file_not_found" if file is None else "file_deleted")
    access = "visible" if file.get("file_access") == STUB else file.get("file_access")
    found = dict(file) | {"file_access": access}
    return {"file": found, "comments": [], "response_metadata": {"next_cursor": ""}}


def remove_file(slack: Platform, file: str) -> None:
    """Delete a file as a person.

    Its messages keep a tombstone; a message with nothing else disappears.
    """
    slack.contents.pop(file, None)
    slack.files[file] = tombstone = {"id": file, "mode": "tombstone"}
    for channel in slack.workspace.channels.values():
        for message in list(channel.messages.values()):
            if not any(one["id"] == file for one in message.files):
                continue
            before = slack.workspace.serialize(message)
            message.files = [tombstone if one["id"] == file else one for one in message.files]
            if message.text or any(one.get("mode") != "tombstone" for one in message.files):
                slack.workspace.publish_change(message, "file", before)
            else:
                slack.workspace.remove(message)
    deleted: Json = {"type": "file_deleted", "file_id": file}
    slack.events.publish(deleted | {"event_ts": slack.workspace.new_ts()}, None, slack.home.team)


def transcribe(slack: Platform, file: str, words: str, vtt: str = "", status: str = "") -> None:
    """Finish Slack's transcript of recorded speech, as shown by files.info.

    With `vtt`, a file has all of it, and the preview only `words`. `status` replaces "complete".
    """
    preview: Json = {"content": words, "has_more": bool(vtt)}
    spoken: Json = {"status": status or "complete", "locale": "en-US"}
    slack.files[file]["transcription"] = spoken | ({} if status else {"preview": preview})
    if vtt:
        track = new_file(slack, f"{file}.vtt", "text/vtt", ids.ALICE, vtt.encode())
        slack.files[file]["vtt"] = track["url_private"]


def upload_url(slack: Platform, args: Args) -> Json:
    """files.getUploadURLExternal."""
    if not slack.uploads.allowed:
        raise ApiError("file_uploads_disabled")
    if (length := args.number("length", 0)) <= 0:
        raise invalid("length must be positive")
    made = new_file(
        slack, args.need("filename"), "application/octet-stream", slack.home.bot_user, None
    )
    made["size"] = length
    return {"upload_url": f"{slack.url}/upload/v1/{made['id']}", "file_id": made["id"]}


def complete_upload(slack: Platform, args: Args) -> Json:
    """files.completeUploadExternal, once per file; shares the file if a channel is given.

    The response has no ts and comes first; the message appears after Slack has scanned the file.
    """
    wanted = args.json("files") or []
    if not isinstance(wanted, list) or not wanted:
        raise invalid("missing required field: files")
    for item in wanted:
        if item.get("id") not in slack.contents or item["id"] in slack.uploads.completed:
            raise ApiError("file_not_found")
    if channel_id := args.text("channel_id"):
        if channel_id.startswith("U"):  # as opposed to chat.postMessage
            raise invalid("input must match regex pattern: ^[CGDZ][A-Z0-9]{8,}$")
        _share(slack, writable_channel(slack, channel_id), wanted, args)
    slack.uploads.completed.update(item["id"] for item in wanted)
    return {"files": [{"id": item["id"], "title": item.get("title", "")} for item in wanted]}


def _share(slack: Platform, channel: Channel, wanted: list[Json], args: Args) -> None:
    """Post the message, possibly with a delay; `initial_comment` overrides `blocks`."""
    text, thread = args.text("initial_comment"), args.text("thread_ts")
    blocks = [] if text else validate_blocks(args.json("blocks") or [])
    resolve_thread(channel, thread)
    for item in wanted:
        slack.files[item["id"]]["title"] = item.get("title") or slack.files[item["id"]]["name"]

    def appear() -> None:
        message = slack.workspace.bot_message(ts=slack.workspace.new_ts(), channel=channel.id)
        message.text, message.blocks = text, blocks
        message.files = [slack.files[item["id"]] for item in wanted]
        message.subtype = "file_share"
        message.thread_ts = resolve_thread(channel, thread)
        slack.workspace.post(message)

    if slack.uploads.seconds:
        asyncio.get_running_loop().call_later(slack.uploads.seconds, appear)
    else:
        appear()


def delete_file(slack: Platform, args: Args) -> Json:
    """files.delete: the bot's files only; messages keep a tombstone in the file's place."""
    file = slack.files.get(args.need("file"))
    if file is None or file.get("mode") == "tombstone":
        raise ApiError("file_not_found" if file is None else "file_deleted")
    if file["user"] != slack.home.bot_user:
        raise ApiError("cant_delete_file")
    slack.contents.pop(file["id"], None)
    kept = {"id": file["id"], "mode": "tombstone"}
    file.clear()
    file.update(kept)
    return {}
