"""People's actions in the simulated workspace: write, edit, delete, react, join and leave."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from typing import Any

from tests.sims.slack import ids
from tests.sims.slack.extras import react
from tests.sims.slack.files import new_file, remove_file, shown_file, transcribe
from tests.sims.slack.platform import Platform
from tests.sims.slack.render import rich_text, to_stored_text
from tests.sims.slack.streams import clear_status
from tests.sims.slack.values import ApiError, Channel, Group, Json, Message, User
from tests.sims.slack.workspace import new_message_id


class People:
    """The controls that act as a person or as another bot."""

    def __init__(self, slack: Platform) -> None:
        self.slack = slack
        self.workspace = slack.workspace

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

        `text` is as typed (see `render.to_stored_text`), or with `raw` in stored form; `mention`
        prepends the bot's mention. A file is `{"name", "mimetype", "data" (base64), "fields"}`,
        where `fields` change its description; `attachments` and `blocks` accompany the text, and
        `username` is a bot's display name.
        """
        there = self._place(user, channel)
        message = Message(ts=self.workspace.new_ts(), channel=there.id, user=user)
        message.text = self._typed(text, raw)
        if mention:
            message.text = f"<@{self.slack.home.bot_user}> {message.text}"
        self._sign(message, user)
        message.files = [self._file(user, file) for file in files]
        message.subtype = subtype or ("file_share" if files else "")
        message.thread_ts = self._root(there, thread_ts)
        message.attachments, message.username = list(attachments), username
        message.blocks = [*message.blocks, *blocks] if message.text else list(blocks)
        message.unfurls = False  # `unfurl` adds previews
        return self.workspace.post(message).ts

    def _place(self, user: str, channel: str) -> Channel:
        there = self.workspace.channel(channel)
        if user not in there.members:
            raise ApiError("not_in_channel")
        if there.archived:
            raise ApiError("is_archived")
        if there.kind == "im" and not self.slack.messages_tab:
            raise ApiError("messages_tab_read_only")
        return there

    def _typed(self, text: str, raw: bool) -> str:
        if raw:
            return text
        return to_stored_text(text, self.workspace.users.values(), self.workspace.channels.values())

    def _sign(self, message: Message, user: str) -> None:
        author = self.workspace.users[user]
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
        kind, fields = file.get("mimetype", "text/plain"), file.get("fields")
        return shown_file(new_file(self.slack, file["name"], kind, user, data, fields))

    def delete_file(self, file: str) -> None:
        """Delete a file, as its owner."""
        remove_file(self.slack, file)

    def transcribe(self, file: str, words: str, vtt: str = "", status: str = "") -> None:
        """Finish Slack's transcript of recorded speech."""
        transcribe(self.slack, file, words, vtt, status)

    def edit(
        self, channel: str, ts: str, text: str, mention: bool = False, raw: bool = False
    ) -> str:
        """Edit a person's message; returns the edit's ts."""
        message = self.workspace.message(self.workspace.channel(channel), ts)
        before = self.workspace.serialize(message)
        message.text = self._typed(text, raw)
        if mention:
            message.text = f"<@{self.slack.home.bot_user}> {message.text}"
        message.blocks = rich_text(message.text)
        message.edited = {"user": message.user, "ts": self.workspace.new_ts()}
        self.workspace.publish_change(message, "edit", before)
        return str(message.edited["ts"])

    def delete(self, channel: str, ts: str) -> None:
        """Delete a message as its author or, for the bot's messages, as an administrator."""
        self.workspace.remove(self.workspace.message(self.workspace.channel(channel), ts))

    def unfurl(self, channel: str, ts: str, url: str = "https://example.com/") -> None:
        """Add a link preview: `message_changed` without `edited` or another text."""
        message = self.workspace.message(self.workspace.channel(channel), ts)
        before = self.workspace.serialize(message)
        message.attachments = [{"id": 1, "from_url": url, "original_url": url, "title": "Preview"}]
        self.workspace.publish_change(message, "unfurl", before)

    def react(self, user: str, channel: str, ts: str, emoji: str) -> None:
        """Add a reaction."""
        react(self.slack, user, self.workspace.channel(channel), ts, emoji)

    # ── channels ──────────────────────────────────────────────────────────────────────────────
    def add_channel(self, name: str) -> str:
        """Create a public channel with Alice, Bob and the bot; returns its id."""
        number = self.slack.home.number
        people = {ids.of(ids.ALICE, number), ids.of(ids.BOB, number)}
        members = people | {self.slack.home.bot_user}
        channel = Channel(f"C{number}{len(self.workspace.channels):08d}", name, "channel", members)
        self.workspace.channels[channel.id] = channel
        event = self._membership("member_joined_channel", self.slack.home.bot_user, channel)
        self.slack.events.publish(event, channel, self.slack.home.team)
        return channel.id

    def join(self, user: str, channel: str) -> None:
        """Join a channel, or invite the bot."""
        there = self.workspace.channel(channel)
        there.members.add(user)
        event = self._membership("member_joined_channel", user, there)
        self.slack.events.publish(event, there, self.workspace.users[user].team)

    def remove_from_channel(self, channel: str, user: str = "") -> None:
        """Remove a member, by default the bot, from a channel."""
        user = user or self.slack.home.bot_user
        there = self.workspace.channel(channel)
        there.members.discard(user)
        event = self._membership("member_left_channel", user, there)
        self.slack.events.publish(event, there, self.workspace.users[user].team)
        if user == self.slack.home.bot_user:
            kind = "group_left" if there.kind == "group" else "channel_left"
            left: Json = {"type": kind, "channel": there.id, "event_ts": self.workspace.new_ts()}
            self.slack.events.publish(left, there, self.slack.home.team)

    def _membership(self, kind: str, user: str, channel: Channel) -> Json:
        letter = "C" if channel.kind == "channel" else "G"
        event: Json = {"type": kind, "user": user, "channel": channel.id, "channel_type": letter}
        return event | {"team": self.slack.home.team, "event_ts": self.workspace.new_ts()}

    def add_person(self, name: str, channels: Sequence[str], team: str = "") -> str:
        """Add a person who is in these channels; returns their id."""
        team = team or self.slack.home.team
        user = User(
            f"U{self.slack.home.number}{len(self.workspace.users):08d}", name, team, name.title()
        )
        self.workspace.users[user.id] = user
        for channel in channels:
            self.workspace.channel(channel).members.add(user.id)
        return user.id

    def describe_person(self, user: str, **changes: Any) -> None:
        """Change Slack's data about a person without an event: `guest`, `admin`, `deleted`,
        `team` or `enterprise_user`."""
        for name, value in changes.items():
            setattr(self.workspace.users[user], name, value)

    def group(self, handle: str, members: Sequence[str], disabled: bool = False) -> str:
        """Create a user group, change its members or disable it; returns its id."""
        groups = self.workspace.groups
        known = next((group for group in groups.values() if group.handle == handle), None)
        group = known or Group(f"S{self.slack.home.number}{len(groups):08d}", handle)
        before, group.members = group.members, set(members)
        groups[group.id], group.deleted = group, int(time.time()) if disabled else 0
        about: Json = {"subteam_id": group.id, "team_id": self.slack.home.team}
        if known is None or disabled:
            kind = "subteam_created" if known is None else "subteam_updated"
            about = {"subteam": self.workspace.group_info(group, users=True, count=True)}
        else:
            kind = "subteam_members_changed"
            about |= {"added_users": sorted(group.members - before)}
            about |= {"removed_users": sorted(before - group.members)}
        event: Json = {"type": kind, **about, "event_ts": self.workspace.new_ts()}
        self.slack.events.publish(event, None, self.slack.home.team)
        return group.id

    def rename(self, channel: str, name: str) -> None:
        """Rename a channel."""
        there = self.workspace.channel(channel)
        there.name = name
        kind = "group_rename" if there.kind == "group" else "channel_rename"
        about: Json = {"id": there.id, "name": name, "created": 1_700_000_000}
        event: Json = {"type": kind, "channel": about, "event_ts": self.workspace.new_ts()}
        self.slack.events.publish(event, there, self.slack.home.team)

    def make_private(self, channel: str) -> None:
        """Convert a public channel to a private one, which keeps its id."""
        self.workspace.channel(channel).kind = "group"

    def archive(self, channel: str, user: str = "") -> None:
        """Archive a channel."""
        user = user or ids.of(ids.ALICE, self.slack.home.number)
        there = self.workspace.channel(channel)
        there.archived = True
        kind = "group_archive" if there.kind == "group" else "channel_archive"
        event: Json = {"type": kind, "channel": there.id, "user": user}
        self.slack.events.publish(
            event | {"event_ts": self.workspace.new_ts()}, there, self.slack.home.team
        )

    def open_direct(self, user: str) -> str:
        """The id of a person's direct message channel with the bot."""
        return self.workspace.direct(user).id

    # ── the app's home and pane ───────────────────────────────────────────────────────────────
    def open_home(self, user: str, tab: str = "home") -> str:
        """Open the app's home or messages tab; returns the direct message channel."""
        channel = self.workspace.direct(user)
        event: Json = {"type": "app_home_opened", "user": user, "channel": channel.id, "tab": tab}
        self.slack.events.publish(
            event | {"event_ts": self.workspace.new_ts()}, channel, self.slack.home.team
        )
        return channel.id

    def open_agent_pane(self, user: str, view: str = "agent", context: str = "") -> Json:
        """Open the agent pane; returns `channel` and, for `view="assistant"`, its `thread_ts`.

        New apps (`agent_view`) only get `app_home_opened`; the legacy `assistant_view` creates a
        thread and sends `assistant_thread_started`.
        """
        channel = self.open_home(user, "messages")
        if view == "agent":
            return {"channel": channel, "thread_ts": ""}
        root = self.workspace.bot_message(
            ts=self.workspace.new_ts(), channel=channel, text="New Assistant Thread"
        )
        root.subtype = "assistant_app_thread"
        root.thread_ts = root.ts
        self.workspace.post(root)
        self._assistant("assistant_thread_started", user, channel, root.ts, context)
        return {"channel": channel, "thread_ts": root.ts}

    def move_agent_pane(self, user: str, thread_ts: str, context: str) -> None:
        """Switch to another channel while the assistant thread is open."""
        channel = self.workspace.direct(user).id
        self._assistant("assistant_thread_context_changed", user, channel, thread_ts, context)

    def _assistant(self, kind: str, user: str, channel: str, thread_ts: str, context: str) -> None:
        about = {"channel_id": context, "team_id": self.slack.home.team, "enterprise_id": None}
        thread: Json = {"user_id": user, "context": about if context else {}}
        thread |= {"channel_id": channel, "thread_ts": thread_ts}
        event: Json = {
            "type": kind,
            "assistant_thread": thread,
            "event_ts": self.workspace.new_ts(),
        }
        self.slack.events.publish(event, self.workspace.channel(channel), self.slack.home.team)

    def stop_agent(self, user: str, channel: str, thread_ts: str) -> list[str]:
        """Press the stop button, which is shown only while the session is `processing`.

        Slack stops the app's streams in the thread; returns their ts. The status stays.
        """
        session = self.workspace.sessions.get((channel, thread_ts), {})
        if session.get("status") != "processing":
            raise ApiError("no_stop_button: the session is not processing")
        if not self.slack.events.subscribes("agent_session_stopped"):
            raise ApiError("no_stop_button: agent_session_stopped is not subscribed")
        there = self.workspace.channel(channel)
        streams = [m for m in self.workspace.replies(there, thread_ts) if m.streaming]
        for message in streams:
            assert message.stream is not None
            message.stream.stopped = message.stream.by_user = True
        event: Json = {"type": "agent_session_stopped", "user": user, "channel": channel}
        event |= {"thread_ts": thread_ts, "event_ts": self.workspace.new_ts()}
        event["streaming_message_ts"] = [message.ts for message in streams]
        self.slack.events.publish(event, there, self.slack.home.team)
        clear_status(self.slack, there, thread_ts)
        return [message.ts for message in streams]

    def revoke(self, uninstall: bool = False) -> None:
        """Revoke the bot's token, or remove the app with `uninstall`."""
        self.slack.revoked = "account_inactive" if uninstall else "token_revoked"
        self.slack.revoke(self.slack.revoked)
        tokens: Json = {"oauth": [], "bot": [self.slack.home.bot_user]}
        event: Json = {"type": "tokens_revoked", "tokens": tokens, "event_ts": _now()}
        self.slack.events.publish(event, None, self.slack.home.team)
        if uninstall:
            self.slack.events.publish({"type": "app_uninstalled"}, None, self.slack.home.team)
            self.slack.end_installation()


def _now() -> str:
    return f"{time.time():.6f}"
