"""What people do in the simulated workspace: write, edit, delete, react, come and go."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence

from tests.sims.slack import ids
from tests.sims.slack.extras import new_file, react
from tests.sims.slack.platform import Platform
from tests.sims.slack.render import rich_text, typed
from tests.sims.slack.streams import clear_status
from tests.sims.slack.values import Channel, Json, Message, Refused
from tests.sims.slack.workspace import bot_message, new_message_id


class People:
    """The controls that act as a person (or as another bot)."""

    def __init__(self, slack: Platform) -> None:
        self.slack = slack
        self.world = slack.workspace

    # ── writing ───────────────────────────────────────────────────────────────────────────────
    def say(
        self,
        user: str,
        channel: str,
        text: str,
        thread_ts: str = "",
        mention: bool = False,
        files: Sequence[Json] = (),
        subtype: str = "",
        raw: bool = False,
        attachments: Sequence[Json] = (),
        blocks: Sequence[Json] = (),
        username: str = "",
    ) -> str:
        """Write a message; returns its ts.

        `text` is what is typed (see `render.typed`), or with `raw` what events carry; `mention`
        puts the bot's mention before it. A file is `{"name", "mimetype", "data" (base64)}`;
        `attachments` and `blocks` come beside the text, `username` is what a bot calls itself.
        """
        there = self._place(user, channel)
        message = Message(ts=self.world.new_ts(), channel=there.id, user=user)
        message.text = self._typed(text, raw)
        if mention:
            message.text = f"<@{ids.BOT_USER}> {message.text}"
        self._sign(message, user)
        message.files = [self._file(user, file) for file in files]
        message.subtype = subtype or ("file_share" if files else "")
        message.thread_ts = self._root(there, thread_ts)
        message.attachments, message.username = list(attachments), username
        message.blocks = [*message.blocks, *blocks] if message.text else list(blocks)
        message.unfurls = False  # previews come by `unfurl`
        return self.world.post(message).ts

    def _place(self, user: str, channel: str) -> Channel:
        there = self.world.channel(channel)
        if user not in there.members:
            raise Refused("not_in_channel")
        if there.archived:
            raise Refused("is_archived")
        if there.kind == "im" and not self.slack.messages_tab:
            raise Refused("messages_tab_read_only")
        return there

    def _typed(self, text: str, raw: bool) -> str:
        if raw:
            return text
        return typed(text, self.world.users.values(), self.world.channels.values())

    def _sign(self, message: Message, user: str) -> None:
        author = self.world.users[user]
        message.team, message.bot_id, message.app_id = author.team, author.bot_id, author.app_id
        if not author.bot_id:
            message.client_msg_id = new_message_id()
            message.blocks = rich_text(message.text)

    def _root(self, channel: Channel, thread_ts: str) -> str:
        if not thread_ts:
            return ""
        root = channel.messages[thread_ts]
        return root.thread_ts if root.is_reply else root.ts

    def _file(self, user: str, file: Json) -> Json:
        data = base64.b64decode(file.get("data", ""))
        return new_file(self.slack, file["name"], file.get("mimetype", "text/plain"), user, data)

    def edit(
        self, channel: str, ts: str, text: str, mention: bool = False, raw: bool = False
    ) -> str:
        """Edit a person's message; returns the edit's ts."""
        message = self.world.message(self.world.channel(channel), ts)
        before = self.world.public(message)
        message.text = self._typed(text, raw)
        if mention:
            message.text = f"<@{ids.BOT_USER}> {message.text}"
        message.blocks = rich_text(message.text)
        message.edited = {"user": message.user, "ts": self.world.new_ts()}
        self.world.changed(message, "edit", before)
        return str(message.edited["ts"])

    def delete(self, channel: str, ts: str) -> None:
        """Delete a message as its author or, the bot's, as an administrator."""
        self.world.remove(self.world.message(self.world.channel(channel), ts))

    def unfurl(self, channel: str, ts: str, url: str = "https://example.com/") -> None:
        """A link's preview arrives: `message_changed` without `edited` or another text."""
        message = self.world.message(self.world.channel(channel), ts)
        before = self.world.public(message)
        message.attachments = [{"id": 1, "from_url": url, "original_url": url, "title": "Preview"}]
        self.world.changed(message, "unfurl", before)

    def react(self, user: str, channel: str, ts: str, emoji: str) -> None:
        """Add a reaction."""
        react(self.slack, user, self.world.channel(channel), ts, emoji)

    # ── coming and going ──────────────────────────────────────────────────────────────────────
    def add_channel(self, name: str) -> str:
        """A new public channel with Alice, Bob and the bot in it; returns its id."""
        members = {ids.ALICE, ids.BOB, ids.BOT_USER}
        channel = Channel(f"C1{len(self.world.channels):08d}", name, "channel", members)
        self.world.channels[channel.id] = channel
        event = self._membership("member_joined_channel", ids.BOT_USER, channel)
        self.slack.events.publish(event, channel, ids.TEAM)
        return channel.id

    def join(self, user: str, channel: str) -> None:
        """A person, or by invitation the bot, joins a channel."""
        there = self.world.channel(channel)
        there.members.add(user)
        event = self._membership("member_joined_channel", user, there)
        self.slack.events.publish(event, there, self.world.users[user].team)

    def remove_from_channel(self, channel: str, user: str = ids.BOT_USER) -> None:
        """Somebody, by default the bot, is removed from a channel."""
        there = self.world.channel(channel)
        there.members.discard(user)
        event = self._membership("member_left_channel", user, there)
        self.slack.events.publish(event, there, self.world.users[user].team)
        if user == ids.BOT_USER:
            kind = "group_left" if there.kind == "group" else "channel_left"
            left: Json = {"type": kind, "channel": there.id, "event_ts": self.world.new_ts()}
            self.slack.events.publish(left, there, ids.TEAM)

    def _membership(self, kind: str, user: str, channel: Channel) -> Json:
        letter = "C" if channel.kind == "channel" else "G"
        event: Json = {"type": kind, "user": user, "channel": channel.id, "channel_type": letter}
        return event | {"team": ids.TEAM, "event_ts": self.world.new_ts()}

    def archive(self, channel: str, user: str = ids.ALICE) -> None:
        """Archive a channel."""
        there = self.world.channel(channel)
        there.archived = True
        kind = "group_archive" if there.kind == "group" else "channel_archive"
        event: Json = {"type": kind, "channel": there.id, "user": user}
        self.slack.events.publish(event | {"event_ts": self.world.new_ts()}, there, ids.TEAM)

    def open_direct(self, user: str) -> str:
        """The id of a person's direct message channel with the bot."""
        return self.world.direct(user).id

    # ── the app's own places ──────────────────────────────────────────────────────────────────
    def open_home(self, user: str, tab: str = "home") -> str:
        """Open the app's home or messages tab; returns the direct message channel."""
        channel = self.world.direct(user)
        event: Json = {"type": "app_home_opened", "user": user, "channel": channel.id, "tab": tab}
        self.slack.events.publish(event | {"event_ts": self.world.new_ts()}, channel, ids.TEAM)
        return channel.id

    def open_agent_pane(self, user: str, view: str = "agent", context: str = "") -> Json:
        """Open the agent pane; returns `channel` and, for `view="assistant"`, its `thread_ts`.

        New apps (`agent_view`) get `app_home_opened` only; the legacy `assistant_view` makes a
        thread of its own and sends `assistant_thread_started`.
        """
        channel = self.open_home(user, "messages")
        if view == "agent":
            return {"channel": channel, "thread_ts": ""}
        root = bot_message(ts=self.world.new_ts(), channel=channel, text="New Assistant Thread")
        root.subtype = "assistant_app_thread"
        root.thread_ts = root.ts
        self.world.post(root)
        self._assistant("assistant_thread_started", user, channel, root.ts, context)
        return {"channel": channel, "thread_ts": root.ts}

    def move_agent_pane(self, user: str, thread_ts: str, context: str) -> None:
        """The person looks at another channel while the assistant thread is open."""
        channel = self.world.direct(user).id
        self._assistant("assistant_thread_context_changed", user, channel, thread_ts, context)

    def _assistant(self, kind: str, user: str, channel: str, thread_ts: str, context: str) -> None:
        about = {"channel_id": context, "team_id": ids.TEAM, "enterprise_id": None}
        thread: Json = {"user_id": user, "context": about if context else {}}
        thread |= {"channel_id": channel, "thread_ts": thread_ts}
        event: Json = {"type": kind, "assistant_thread": thread, "event_ts": self.world.new_ts()}
        self.slack.events.publish(event, self.world.channel(channel), ids.TEAM)

    def stop_agent(self, user: str, channel: str, thread_ts: str) -> list[str]:
        """Press the stop button, which is shown while the session is `processing` only.

        Slack stops the app's streams there, whose ts are returned; the status stays.
        """
        session = self.world.sessions.get((channel, thread_ts), {})
        if session.get("status") != "processing":
            raise Refused("no_stop_button: the session is not processing")
        if not self.slack.events.subscribes("agent_session_stopped"):
            raise Refused("no_stop_button: agent_session_stopped is not subscribed")
        there = self.world.channel(channel)
        streams = [m for m in self.world.replies(there, thread_ts) if m.streaming]
        for message in streams:
            assert message.stream is not None
            message.stream.stopped = message.stream.by_user = True
        event: Json = {"type": "agent_session_stopped", "user": user, "channel": channel}
        event |= {"thread_ts": thread_ts, "event_ts": self.world.new_ts()}
        event["streaming_message_ts"] = [message.ts for message in streams]
        self.slack.events.publish(event, there, ids.TEAM)
        clear_status(self.slack, there, thread_ts)
        return [message.ts for message in streams]

    def revoke(self, uninstall: bool = False) -> None:
        """Revoke the bot's token, with `uninstall` by removing the app."""
        self.slack.revoked = "account_inactive" if uninstall else "token_revoked"
        tokens: Json = {"oauth": [], "bot": [ids.BOT_USER]}
        event: Json = {"type": "tokens_revoked", "tokens": tokens, "event_ts": _now()}
        self.slack.events.publish(event, None, ids.TEAM)
        if uninstall:
            self.slack.events.publish({"type": "app_uninstalled"}, None, ids.TEAM)


def _now() -> str:
    return f"{time.time():.6f}"
