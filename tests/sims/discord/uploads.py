"""Simulates what people send from Discord's client: long pastes, voice messages, forwards.

As in the client, text over the limit becomes `message.txt`, a voice message has one file and no
text, and a forward contains only the forwarded message.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from tests.sims.discord import constants as c
from tests.sims.discord.actions import Actions, Post
from tests.sims.discord.content import Draft
from tests.sims.discord.http import store_file
from tests.sims.discord.payloads import iso, user_json
from tests.sims.discord.state import Message, ServerState

if TYPE_CHECKING:
    from tests.sims.discord.people import People

JSON = dict[str, Any]
PASTE = "message.txt"
# Of a file that the caller describes; all other fields go into the attachment as they are.
_CONTENT = ("filename", "content_type", "text", "base64", "size")


def store_uploads(state: ServerState, files: list[JSON]) -> list[JSON]:
    """Store `{filename, content_type, text | base64 | size, …}`; a size means zeros.

    Other fields (description, title, flags, waveform, duration_secs) are the attachment's.
    """
    stored = []
    for file in files:
        data: bytes | int = int(file.get("size", 0))
        kind = file.get("content_type", "text/plain")
        if "text" in file:
            data = str(file["text"]).encode()
        elif "base64" in file:
            data = base64.b64decode(file["base64"])
        more = {key: value for key, value in file.items() if key not in _CONTENT}
        stored.append(store_file(state, file["filename"], kind, data) | more)
    return stored


class Uploads:
    """Controls for people who send more than text."""

    def __init__(self, actions: Actions, people: People) -> None:
        self._actions, self._state, self._people = actions, actions.state, people

    def paste(self, user: int, channel: int, text: str, content: str = "", **more: Any) -> int:
        """Paste `text` after `content` and send it; returns the message's id."""
        whole = f"{content} {text}".strip()
        if len(whole) <= c.MAX_CONTENT:
            return self._people.say(user, channel, whole, **more)
        file = {"filename": PASTE, "content_type": "text/plain; charset=utf-8", "text": text}
        return self._people.say(user, channel, content, attachments=[file], **more)

    def voice(self, user: int, channel: int, audio: str, seconds: float = 2.5, **more: Any) -> int:
        """Send a voice message with these bytes (in base64); returns its id."""
        file = {
            "filename": "voice-message.ogg",
            "content_type": "audio/ogg",
            "base64": audio,
            "duration_secs": seconds,
            "waveform": base64.b64encode(bytes(range(0, 256, 8))).decode(),
        }
        flags = c.VOICE_MESSAGE
        return self._people.say(user, channel, attachments=[file], flags=flags, **more)

    def forward(self, user: int, channel: int, message: int) -> int:
        """Forward a message into `channel`; returns the new message's id."""
        source = self._people.message_of(message)
        place = self._state.channels[source.channel]
        guild = {} if place.guild is None else {"guild_id": str(place.guild)}
        ids = {"channel_id": str(source.channel), "message_id": str(source.id)}
        post = Post(
            user,
            Draft("", [], [], [], c.HAS_SNAPSHOT),
            reference={"type": c.FORWARD, **ids, **guild},
            snapshots=(self._snapshot(source),),
        )
        return self._actions.post(self._people.channel_of(channel), post).id

    def _snapshot(self, message: Message) -> JSON:
        """The documented subset of a message; `channel` is for the URLs of its files."""
        shown = message.shown
        return {
            "channel": message.channel,
            "type": message.type,
            "content": shown.content,
            "embeds": shown.embeds,
            "attachments": shown.attachments,
            "components": shown.components,
            "mentions": [user_json(self._state.users[user]) for user in shown.pings.users],
            "mention_roles": [str(role) for role in shown.pings.roles],
            "flags": shown.flags,
            "timestamp": iso(message.at),
            "edited_timestamp": None if message.edited is None else iso(message.edited),
        }
