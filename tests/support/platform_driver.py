"""Drivers: one interface to play a scenario on any simulated platform.

A `PlatformDriver` speaks as people do and reads the bot's messages, in the words of the design
(mention, thread, reply), so that one scenario runs on Discord and on Slack.
"""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from tests.sims.discord import constants as d
from tests.sims.discord.client import DiscordSim
from tests.sims.kit import SimProcess
from tests.sims.slack import ids as s
from tests.sims.slack.client import SlackSim

Files = Sequence[tuple[str, str, bytes]]
"""Files that a person sends: name, media type and bytes."""


@dataclass(frozen=True, slots=True)
class ThreadRef:
    """A thread: its channel, its id and the question that began it, as ids of the simulator."""

    channel: Any
    id: Any
    question: Any


@dataclass(frozen=True, slots=True)
class Seen:
    """A message of the bot as people see it; `past` has all of its texts, oldest first, and
    `stoppable` says whether the platform itself offers to stop it."""

    id: Any
    text: str
    past: tuple[str, ...]
    times: tuple[float, ...]
    notified: tuple[Any, ...]
    buttons: tuple[str, ...]
    stoppable: bool = False

    @property
    def versions(self) -> int:
        """The number of versions of the message."""
        return len(self.past)

    @property
    def working(self) -> bool:
        """Whether the message can be stopped, which means that it is not complete."""
        return self.stoppable or any("stop" in button for button in self.buttons)

    def button(self, control: str) -> str | None:
        """The id of the button for a control, if it has one."""
        return next((button for button in self.buttons if control in button), None)


class PlatformDriver(Protocol):
    """The operations that a scenario needs."""

    name: str
    speaker: str  # the name by which the model knows the first person
    limit: int
    channels: list[Any]

    @property
    def sim(self) -> SimProcess: ...

    def settings(self) -> Mapping[str, str]: ...
    async def widen(self, channels: int) -> None: ...
    async def mention(
        self, text: str, *, user: str = "alice", channel: Any = None, files: Files = ()
    ) -> ThreadRef: ...
    async def say(
        self, thread: ThreadRef, text: str, *, user: str = "alice", files: Files = ()
    ) -> Any: ...
    async def mention_in(self, thread: ThreadRef, text: str, *, files: Files = ()) -> Any: ...
    async def direct(self, text: str, *, files: Files = ()) -> ThreadRef: ...
    async def redeliver(self, thread: ThreadRef) -> None: ...
    async def question_time(self, thread: ThreadRef) -> float: ...
    async def seen(self, thread: ThreadRef) -> list[Seen]: ...
    async def files(self, thread: ThreadRef) -> list[tuple[str, bytes]]: ...
    async def forbid_files(self) -> None: ...
    async def whispers(self) -> list[str]: ...
    async def count_throttled(self) -> int: ...
    async def signs_of_work(self) -> list[Any]: ...
    async def press(self, thread: ThreadRef, control: str, *, user: str = "alice") -> None: ...
    async def press_stop(self, thread: ThreadRef) -> None: ...
    async def edit(
        self, thread: ThreadRef, message: Any, text: str, *, mention: bool = False
    ) -> None: ...
    async def delete(self, thread: ThreadRef, message: Any) -> None: ...
    async def delete_root(self, thread: ThreadRef) -> None: ...
    async def undo_offer(self, thread: ThreadRef) -> Callable[[], Awaitable[Any]] | None: ...
    async def other_bot(self, text: str) -> ThreadRef: ...
    async def close(self, thread: ThreadRef) -> None: ...


class DiscordDriver:
    """Drives the simulated Discord."""

    name = "discord"
    speaker = "Alice"
    limit = 2_000
    people: Mapping[str, int] = {"alice": d.ALICE, "bob": d.BOB}

    def __init__(self, sim: DiscordSim) -> None:
        self._sim = sim
        self.channels: list[Any] = [d.CHANNEL, d.CHANNEL_2]

    @property
    def sim(self) -> DiscordSim:
        return self._sim

    def settings(self) -> Mapping[str, str]:
        return {
            "DISCORD_TOKEN": d.SIM_TOKEN,
            "DISCORD_API_URL": self.sim.api_url,
            "DISCORD_GATEWAY_URL": self.sim.gateway_url,
        }

    async def widen(self, channels: int) -> None:
        """Threads are channels here."""

    async def mention(
        self,
        text: str,
        *,
        user: str = "alice",
        channel: Any = None,
        files: Files = (),
    ) -> ThreadRef:
        where, more = channel or d.CHANNEL, {"attachments": uploads(files)}
        message = await self.sim.mention(text, user=self.people[user], channel=where, **more)
        return ThreadRef(where, message, message)

    async def say(
        self,
        thread: ThreadRef,
        text: str,
        *,
        user: str = "alice",
        files: Files = (),
    ) -> Any:
        return await self._write(thread, text, user, attachments=uploads(files))

    async def paste(self, text: str, content: str = "", *, channel: Any = None) -> ThreadRef:
        """Mention the bot and paste a text, which the client turns into a file if it is long."""
        where = channel or d.CHANNEL
        message = await self.sim.paste(text, f"<@{d.BOT}> {content}", channel=where)
        return ThreadRef(where, message, message)

    async def voice(self, thread: ThreadRef, audio: bytes, *, user: str = "alice") -> Any:
        """Send a voice message in an existing thread or direct message."""
        return await self.sim.voice(audio, user=self.people[user], channel=thread.id)

    async def forward(self, thread: ThreadRef, message: Any, *, user: str = "alice") -> Any:
        """Forward a message into an existing thread or direct message."""
        return await self.sim.forward(message, user=self.people[user], channel=thread.id)

    async def _write(self, thread: ThreadRef, text: str, user: str = "alice", **more: Any) -> Any:
        """Say something in the thread, or without one, as a reply to the bot's newest message."""

        async def there() -> bool:
            return bool(await self._chain(thread)) or await self._is_there(thread.id)

        await self.sim.until(there, 60)
        chain = await self._chain(thread)
        if not chain:
            with contextlib.suppress(AssertionError):  # the thread was removed at this moment
                return await self.sim.say(self.people[user], thread.id, text, **more)
            chain = await self.sim.until(lambda: self._chain(thread), 60)
        return await self.sim.say(
            self.people[user], thread.channel, text, reply_to=chain[-1]["id"], ping=True, **more
        )

    async def _is_there(self, channel: Any) -> bool:
        with contextlib.suppress(AssertionError):
            return (await self.sim.channel(channel))["deleted"] is None
        return False

    async def _chain(self, thread: ThreadRef) -> list[Any]:
        """The bot's messages in the reply chain that replaces a thread, oldest first."""
        if thread.id != thread.question or await self._is_there(thread.id):
            return []
        ids, own = {thread.question}, []
        for message in await self.sim.messages(thread.channel):
            if message["reply_to"] in ids:
                ids.add(message["id"])
                own += [message] if message["author"] == d.BOT else []
        return own

    async def mention_in(self, thread: ThreadRef, text: str, *, files: Files = ()) -> Any:
        return await self._write(thread, text, mention=True, attachments=uploads(files))

    async def direct(self, text: str, *, files: Files = ()) -> ThreadRef:
        sent = await self.sim.dm(d.ALICE, text, attachments=uploads(files))
        return ThreadRef(sent["channel"], sent["channel"], sent["message"])

    async def redeliver(self, thread: ThreadRef) -> None:
        await self.sim.deliver_again(thread.question)

    async def question_time(self, thread: ThreadRef) -> float:
        return float((await self.sim.message(thread.question))["at"])

    async def seen(self, thread: ThreadRef) -> list[Seen]:
        messages = await self._chain(thread)
        with contextlib.suppress(AssertionError):  # the thread does not exist, or not yet
            messages = messages or await self.sim.messages(thread.id, author=d.BOT)
        return [
            Seen(
                id=message["id"],
                text=message["content"],
                past=tuple(version["content"] for version in message["versions"]),
                times=tuple(version["at"] for version in message["versions"]),
                notified=tuple(message["notified"]),
                buttons=tuple(
                    part["custom_id"]
                    for row in message["components"]
                    for part in row.get("components", [])
                ),
            )
            for message in messages
        ]

    async def files(self, thread: ThreadRef) -> list[tuple[str, bytes]]:
        """The files of the bot's messages, with the names that people see."""
        return [
            (message["attachments"][0]["filename"], await self.sim.file(message))
            for message in await self.sim.messages(thread.id, author=d.BOT)
            if message["attachments"]
        ]

    async def forbid_files(self) -> None:
        await self.sim.set_permissions(d.CHANNEL, deny=("attach_files",))

    async def whispers(self) -> list[str]:
        found = (await self.sim.state())["interactions"]
        answers = [answer["data"] for x in found for answer in x["answers"]]
        return [answer["content"] for answer in answers if answer.get("content")]

    async def count_throttled(self) -> int:
        return int((await self.sim.state())["limited"])

    async def signs_of_work(self) -> list[Any]:
        """Typing indicators that no message has ended: Discord shows one for 10 s."""
        left = []
        for entry in (await self.sim.state())["typing"]:
            posts = await self.sim.messages(entry["channel"], author=d.BOT)
            ended = any(post["at"] >= entry["at"] for post in posts)
            if not ended and entry["at"] > time.time() - 10:
                left.append(entry)
        return left

    async def press_stop(self, thread: ThreadRef) -> None:
        await self.press(thread, "stop")

    async def press(self, thread: ThreadRef, control: str, *, user: str = "alice") -> None:
        message, button = offered(await self.seen(thread), control)
        await self.sim.click(self.people[user], message.id, button)

    async def edit(
        self, thread: ThreadRef, message: Any, text: str, *, mention: bool = False
    ) -> None:
        await self.sim.edit(message, f"<@{d.BOT}> {text}" if mention else text)

    async def delete(self, thread: ThreadRef, message: Any) -> None:
        await self.sim.delete(message)

    async def delete_root(self, thread: ThreadRef) -> None:
        """Delete the thread, since on Discord it does not depend on its first message."""
        await self.sim.delete_thread(thread.id)

    async def undo_offer(self, thread: ThreadRef) -> Callable[[], Awaitable[Any]] | None:
        for message in await self.seen(thread):
            if (button := message.button(":undo:")) is not None:
                return partial(self.sim.click, d.ALICE, message.id, button)
        return None

    async def other_bot(self, text: str) -> ThreadRef:
        """Another bot begins a thread and mentions the bot."""
        message = await self.sim.mention(text, user=d.OTHER_BOT)
        await self.sim.start_thread(d.OTHER_BOT, message, "another bot's")
        return ThreadRef(d.CHANNEL, message, message)

    async def close(self, thread: ThreadRef) -> None:
        """Forbid the bot to write there."""
        await self.sim.set_permissions(d.CHANNEL, deny=("view_channel", "send_messages_in_threads"))


def uploads(files: Files) -> list[dict[str, Any]]:
    """Files in the form that the simulated Discord takes."""
    return [
        {"filename": name, "content_type": kind, "base64": base64.b64encode(data).decode()}
        for name, kind, data in files
    ]


class SlackDriver:
    """Drives the simulated Slack in Socket Mode."""

    name = "slack"
    speaker = "alice"
    limit = 12_000
    people: Mapping[str, str] = {"alice": s.ALICE, "bob": s.BOB}

    def __init__(self, sim: SlackSim) -> None:
        self._sim = sim
        self.channels: list[Any] = [s.GENERAL]

    @property
    def sim(self) -> SlackSim:
        return self._sim

    def settings(self) -> Mapping[str, str]:
        return {
            "SLACK_BOT_TOKEN": s.BOT_TOKEN,
            "SLACK_APP_TOKEN": s.APP_TOKEN,
            "SLACK_API_URL": self.sim.api_url,
        }

    async def widen(self, channels: int) -> None:
        """A channel takes one post per second, however many threads it has."""
        while len(self.channels) < channels:
            self.channels.append(await self.sim.add_channel(f"team-{len(self.channels)}"))

    async def mention(
        self,
        text: str,
        *,
        user: str = "alice",
        channel: Any = None,
        files: Files = (),
    ) -> ThreadRef:
        where = channel or s.GENERAL
        ts = await self.sim.say(self.people[user], where, text, mention=True, files=files)
        return ThreadRef(where, ts, ts)

    async def say(
        self,
        thread: ThreadRef,
        text: str,
        *,
        user: str = "alice",
        files: Files = (),
    ) -> Any:
        return await self.sim.say(
            self.people[user], thread.channel, text, thread_ts=thread.id, files=files
        )

    async def mention_in(self, thread: ThreadRef, text: str, *, files: Files = ()) -> Any:
        return await self.sim.say(
            s.ALICE, thread.channel, text, thread_ts=thread.id, mention=True, files=files
        )

    async def direct(self, text: str, *, files: Files = ()) -> ThreadRef:
        channel = await self.sim.open_direct(s.ALICE)
        ts = await self.sim.say(s.ALICE, channel, text, files=files)
        return ThreadRef(channel, ts, ts)

    async def redeliver(self, thread: ThreadRef) -> None:
        await self.sim.deliver_again(thread.question, same_event_id=False)

    async def question_time(self, thread: ThreadRef) -> float:
        sent = await self.sim.deliveries()
        return float(min(event["sent"] for event in sent if event["ts"] == thread.question))

    async def seen(self, thread: ThreadRef) -> list[Seen]:
        # The last edit may come between the two reads, so a message is done only if both say so.
        processing = await self._processing(thread)
        messages = await self.sim.thread(thread.channel, thread.id)
        processing = processing or await self._processing(thread)
        return [
            Seen(
                stoppable=processing and message is messages[-1],
                id=message["ts"],
                text=without_labels(message),
                past=tuple(version["shown"] for version in message["versions"]),
                times=tuple(version["at"] for version in message["versions"]),
                notified=tuple(message["pings"]),
                buttons=tuple(
                    element["action_id"]
                    for block in message.get("blocks") or []
                    if block["type"] == "actions"
                    for element in block["elements"]
                ),
            )
            for message in messages
            if message.get("bot_id") == s.BOT
        ]

    async def files(self, thread: ThreadRef) -> list[tuple[str, bytes]]:
        """The files of the bot's messages, with the names that people see."""
        return [
            (file["title"], await self.sim.file(file))
            for message in await self.sim.thread(thread.channel, thread.id)
            if message.get("bot_id") == s.BOT
            for file in message.get("files", ())
        ]

    async def forbid_files(self) -> None:
        await self.sim.scopes([scope for scope in s.SCOPES if scope != "files:write"])

    async def whispers(self) -> list[str]:
        return [message["shown"] for message in await self.sim.ephemeral()]

    async def count_throttled(self) -> int:
        return sum((await self.sim.state())["ratelimited"].values())

    async def signs_of_work(self) -> list[Any]:
        state = await self.sim.state()
        return [
            *(status for status in state["statuses"] if status.get("status")),
            *(session for session in state["sessions"] if session["status"] == "processing"),
            *state["streaming"],
        ]

    async def press_stop(self, thread: ThreadRef) -> None:
        await self.press(thread, "stop")

    async def press(self, thread: ThreadRef, control: str, *, user: str = "alice") -> None:
        """Press one of the bot's buttons; for stop, Slack's button where it shows one."""
        if control == "stop" and await self._processing(thread):
            await self.sim.stop_agent(self.people[user], thread.channel, thread.id)
            return
        message, button = offered(await self.seen(thread), control)
        await self.sim.click(self.people[user], thread.channel, message.id, button)

    async def _processing(self, thread: ThreadRef) -> bool:
        return any(
            (session["channel"], session["thread_ts"], session["status"])
            == (thread.channel, thread.id, "processing")
            for session in (await self.sim.state())["sessions"]
        )

    async def edit(
        self, thread: ThreadRef, message: Any, text: str, *, mention: bool = False
    ) -> None:
        await self.sim.edit(thread.channel, message, text, mention=mention)

    async def delete(self, thread: ThreadRef, message: Any) -> None:
        await self.sim.delete(thread.channel, message)

    async def delete_root(self, thread: ThreadRef) -> None:
        """Delete the message that the thread belongs to."""
        await self.sim.delete(thread.channel, thread.id)

    async def undo_offer(self, thread: ThreadRef) -> Callable[[], Awaitable[Any]] | None:
        for message in await self.sim.ephemeral():
            if "threadline_undo" in str(message["blocks"]):
                ts = message["ts"]
                return partial(self.sim.click, s.ALICE, thread.channel, ts, "threadline_undo")
        return None

    async def other_bot(self, text: str) -> ThreadRef:
        """Another bot begins a thread and mentions the bot."""
        ts = await self.sim.say(s.OTHER_BOT_USER, s.GENERAL, text, mention=True)
        return ThreadRef(s.GENERAL, ts, ts)

    async def close(self, thread: ThreadRef) -> None:
        """Forbid the bot to write there."""
        await self.sim.remove_from_channel(thread.channel)


async def ever_said(driver: PlatformDriver, thread: ThreadRef, text: str) -> bool:
    """Whether an existing message contains `text`, or did in an earlier version."""
    return any(text in past for message in await driver.seen(thread) for past in message.past)


async def at_rest(driver: PlatformDriver) -> None:
    """Wait until no sign of work is left; a status is cleared right after the last text is
    shown.

    The limit is below the ten seconds after which Discord removes typing indicators.
    """

    async def nothing_left() -> bool:
        return await driver.signs_of_work() == []

    await driver.sim.until(nothing_left, 8)


def without_labels(message: Mapping[str, Any]) -> str:
    """A Slack message's text without the labels of its buttons."""
    blocks = [block for block in message.get("blocks") or [] if block["type"] == "actions"]
    labels = [element["text"]["text"] for block in blocks for element in block["elements"]]
    lines = str(message["shown"]).split("\n")
    while lines and lines[-1] in labels:
        lines.pop()
    return "\n".join(lines)


def offered(seen: Sequence[Seen], control: str) -> tuple[Seen, str]:
    """The newest message that offers a control, and the id of its button."""
    for message in reversed(seen):
        if (button := message.button(control)) is not None:
            return message, button
    raise AssertionError(f"no message offers {control!r}: {[m.buttons for m in seen]}")
