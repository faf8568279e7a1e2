"""`SlackSim`: a simulated Slack in a separate process, with a method for every control."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Sequence
from typing import Any, Self, cast

from adapters.slack import manifest_path
from tests.sims.kit import Sim, SimProcess
from tests.sims.slack import ids
from tests.sims.slack.values import Json

Upload = tuple[str, str, bytes] | tuple[str, str, bytes, Json]


class SlackSim(SimProcess):
    """Drives a simulated Slack. An action that Slack would not allow raises AssertionError.

    `api_url` is for `AsyncWebClient(base_url=…)`. Unless noted otherwise, times are in seconds, ids
    are those of `tests.sims.slack`, and a ts is a string as in Slack.
    """

    def __init__(self, *, port: int = 0, rtt: float = 0.0, apart: bool = False) -> None:
        super().__init__("tests.sims.slack", port=port, rtt=rtt, apart=apart)
        self.number = 1

    def within(self, number: int) -> Self:
        """The same simulator, with its actions in another workspace (`add_workspace`)."""
        other = copy.copy(self)
        other.number = number
        return other

    async def call(self, name: str, /, **body: Any) -> Any:
        """Use a control, in this workspace."""
        where = {"in_workspace": self.number} if self.number != 1 else {}
        return await super().call(name, **where, **body)

    async def __aenter__(self) -> Self:
        """Start the simulator, with the app configured by the project's manifest."""
        await super().__aenter__()
        await self.manifest(json.loads(manifest_path("socket").read_text()))
        return self

    def new_server(self) -> Sim:
        """See `SimProcess.new_server`."""
        from tests.sims.slack.sim import SlackServer  # a client alone needs no server

        return SlackServer(rtt=self.rtt)

    @property
    def api_url(self) -> str:
        """The Web API's base URL, with a trailing slash."""
        return f"{self.url}/api/"

    # ── people ────────────────────────────────────────────────────────────────────────────────
    async def say(
        self,
        user: str,
        channel: str,
        text: str,
        *,
        thread_ts: str = "",
        mention: bool = False,
        files: Sequence[Upload] = (),
        subtype: str = "",
        raw: bool = False,
        attachments: Sequence[Json] = (),
        blocks: Sequence[Json] = (),
        username: str = "",
    ) -> str:
        """Write a message; returns its ts. A file is (name, mimetype, bytes), and maybe fields
        that change its description: `{"mode": "snippet"}`; None removes one.

        `text` is as typed: `@alice`, `#random`, links and `&` are marked up and escaped like in
        Slack, unless `raw`. `mention` prepends the bot's mention; `attachments` and `blocks`
        accompany the text, and `username` is the name under which a bot posts.
        """
        sent = [
            {"name": name, "mimetype": kind, "data": base64.b64encode(data).decode()}
            | {"fields": fields[0] if fields else {}}
            for name, kind, data, *fields in files
        ]
        ts = await self.call(
            "say",
            user=user,
            channel=channel,
            text=text,
            thread_ts=thread_ts,
            mention=mention,
            files=sent,
            subtype=subtype,
            raw=raw,
            attachments=list(attachments),
            blocks=list(blocks),
            username=username,
        )
        return cast(str, ts)

    async def edit(
        self, channel: str, ts: str, text: str, *, mention: bool = False, raw: bool = False
    ) -> str:
        """Edit a person's message; returns the edit's ts."""
        edited = await self.call(
            "edit", channel=channel, ts=ts, text=text, mention=mention, raw=raw
        )
        return cast(str, edited)

    async def delete(self, channel: str, ts: str) -> None:
        """Delete a message as its author or, for the bot's messages, as an administrator."""
        await self.call("delete", channel=channel, ts=ts)

    async def delete_file(self, file: str) -> None:
        """Delete a person's file by its id: message_changed with a tombstone."""
        await self.call("delete_file", file=file)

    async def transcribe(
        self, file: str, words: str = "", *, vtt: str = "", status: str = ""
    ) -> None:
        """Finish a file's transcript; `vtt` adds a file with all of it. `status`: how it ends."""
        await self.call("transcribe", file=file, words=words, vtt=vtt, status=status)

    async def unfurl(self, channel: str, ts: str, url: str = "https://example.com/") -> None:
        """Add a link preview: message_changed without an edit."""
        await self.call("unfurl", channel=channel, ts=ts, url=url)

    async def react(self, user: str, channel: str, ts: str, emoji: str) -> None:
        """Add a reaction."""
        await self.call("react", user=user, channel=channel, ts=ts, emoji=emoji)

    async def add_channel(self, name: str) -> str:
        """Create a public channel with Alice, Bob and the bot; returns its id."""
        return cast(str, await self.call("add_channel", name=name))

    async def join(self, user: str, channel: str) -> None:
        """Join a channel, or invite the bot with `BOT_USER`."""
        await self.call("join", user=user, channel=channel)

    async def remove_from_channel(self, channel: str, user: str = "") -> None:
        """Remove a member, by default the bot."""
        await self.call("remove_from_channel", channel=channel, user=user)

    async def guest(self, user: str) -> None:
        """Make a person a guest, who sees only the channels that they are in."""
        await self.describe_person(user, guest=True)

    async def add_person(self, name: str, channels: Sequence[str] = (), *, team: str = "") -> str:
        """Add a person who is in these channels; returns their id."""
        added = await self.call("add_person", name=name, channels=list(channels), team=team)
        return cast(str, added)

    async def describe_person(self, user: str, **changes: Any) -> None:
        """Change Slack's data about a person without an event: `guest`, `admin`, `deleted`,
        `team` or `enterprise_user`."""
        await self.call("describe_person", user=user, **changes)

    async def group(self, handle: str, members: Sequence[str], *, disabled: bool = False) -> str:
        """Create a user group, change its members or disable it: subteam_*; returns its id."""
        made = await self.call("group", handle=handle, members=list(members), disabled=disabled)
        return cast(str, made)

    async def make_private(self, channel: str) -> None:
        """Convert a public channel to a private one."""
        await self.call("make_private", channel=channel)

    async def rename(self, channel: str, name: str) -> None:
        """Rename a channel: channel_rename or group_rename."""
        await self.call("rename", channel=channel, name=name)

    async def workspace(self, *, has_groups: bool = True, enterprise: str = "") -> None:
        """Set whether the plan has user groups, and the Enterprise Grid organization's id."""
        await self.call("workspace", has_groups=has_groups, enterprise=enterprise)

    async def archive(self, channel: str) -> None:
        """Archive a channel."""
        await self.call("archive", channel=channel)

    async def open_direct(self, user: str) -> str:
        """The id of a person's direct message channel with the bot."""
        return cast(str, await self.call("open_direct", user=user))

    async def open_home(self, user: str, tab: str = "home") -> str:
        """Open the app's home (or `messages`) tab; returns the direct message channel."""
        return cast(str, await self.call("open_home", user=user, tab=tab))

    async def open_agent_pane(
        self, user: str, *, view: str = "agent", context: str = ""
    ) -> tuple[str, str]:
        """Open the agent pane; returns (channel, thread_ts), "" unless `view="assistant"`."""
        pane = await self.call("open_agent_pane", user=user, view=view, context=context)
        return pane["channel"], pane["thread_ts"]

    async def move_agent_pane(self, user: str, thread_ts: str, context: str) -> None:
        """Switch to another channel: assistant_thread_context_changed."""
        await self.call("move_agent_pane", user=user, thread_ts=thread_ts, context=context)

    async def stop_agent(self, user: str, channel: str, thread_ts: str) -> list[str]:
        """Press stop in a processing session; returns the ts of the streams that Slack stopped."""
        stopped = await self.call("stop_agent", user=user, channel=channel, thread_ts=thread_ts)
        return cast(list[str], stopped)

    async def revoke(self, *, uninstall: bool = False) -> None:
        """Revoke the bot's token, or remove the app with `uninstall`."""
        await self.call("revoke", uninstall=uninstall)

    # ── interactions ──────────────────────────────────────────────────────────────────────────
    async def slash(
        self, user: str, channel: str, command: str, text: str = "", *, thread_ts: str = ""
    ) -> Json:
        """Use a slash command; returns `acked`, `error`, `payload` and `hook` (for `responses`)."""
        result = await self.call(
            "slash", user=user, channel=channel, command=command, text=text, thread_ts=thread_ts
        )
        return cast(Json, result)

    async def shortcut(
        self, user: str, callback_id: str, *, channel: str = "", message_ts: str = ""
    ) -> Json:
        """Use a message shortcut (a global one without `message_ts`); returns what `slash` does."""
        result = await self.call(
            "shortcut", user=user, callback_id=callback_id, channel=channel, message_ts=message_ts
        )
        return cast(Json, result)

    async def click(
        self, user: str, channel: str, ts: str, action_id: str, value: str | None = None
    ) -> Json:
        """Press a button or choose an option of a message; returns the same as `slash`."""
        result = await self.call(
            "click", user=user, channel=channel, ts=ts, action_id=action_id, value=value
        )
        return cast(Json, result)

    async def view_submit(self, user: str, view_id: str, values: Json) -> Json:
        """Submit an open modal (`state()["views"]`); returns the same as `slash`."""
        return cast(Json, await self.call("view_submit", user=user, view_id=view_id, values=values))

    async def responses(self, hook: str) -> list[Json]:
        """All responses to one interaction so far, with `via`: ack or response_url."""
        return cast(list[Json], await self.call("responses", hook=hook))

    # ── installations ─────────────────────────────────────────────────────────────────────────
    async def add_workspace(self, number: int, *, enterprise: str = "") -> Self:
        """Add a workspace that has not installed the app; returns the simulator within it."""
        await self.call("add_workspace", number=number, enterprise=enterprise)
        return self.within(number)

    async def consent(
        self, number: int = 1, *, org_wide: bool = False, denies: bool = False
    ) -> None:
        """Decide what the next person does on Slack's page.

        They install the app in this workspace or in all of its organization, or decline.
        """
        await self.call("consent", number=number, org_wide=org_wide, denies=denies)

    async def oauth(self, **changes: Any) -> None:
        """Configure OAuth: `redirect_urls`, `rotates`, `token_seconds`, and whether the default
        workspace has the app `installed`."""
        await self.call("oauth", **changes)

    async def expire_tokens(self, number: int = 1) -> None:
        """Let a workspace's tokens expire now."""
        await self.call("expire_tokens", number=number)

    # ── the app's configuration ───────────────────────────────────────────────────────────────
    async def subscribe(self, events: Sequence[str] | None) -> None:
        """The bot events the app subscribes to; None for all."""
        await self.call("subscribe", events=None if events is None else list(events))

    async def scopes(self, scopes: Sequence[str]) -> None:
        """The bot token's scopes."""
        await self.call("scopes", scopes=list(scopes))

    async def commands(
        self, commands: Sequence[str] | None, shortcuts: Sequence[str] | None = None
    ) -> None:
        """The registered slash commands and shortcuts; None allows any."""
        await self.call(
            "commands",
            commands=None if commands is None else list(commands),
            shortcuts=None if shortcuts is None else list(shortcuts),
        )

    async def manifest(self, manifest: Json) -> None:
        """Configure the app from a manifest: events, scopes, commands, tabs, Socket Mode."""
        await self.call("manifest", manifest=manifest)

    async def set_http(
        self, events_url: str, signing_secret: str = ids.SIGNING_SECRET, **urls: str
    ) -> bool:
        """Deliver over signed HTTP; returns whether the URL passed `url_verification`.

        `interactivity_url` and `commands_url` default to `events_url`.
        """
        verified = await self.call(
            "set_http", events_url=events_url, signing_secret=signing_secret, **urls
        )
        return cast(bool, verified)

    async def set_socket(self) -> None:
        """Deliver by Socket Mode again."""
        await self.call("set_socket")

    async def delivery(
        self,
        *,
        ack_seconds: float | None = None,
        retry_scale: float | None = None,
        given_up: str | None = None,
    ) -> None:
        """Configure deliveries.

        Settings: the acknowledgement timeout (default 3), the factor on the retry delays (1), and a
        pattern for the text of events that are not delivered again ("": none).
        """
        await self.call(
            "delivery", ack_seconds=ack_seconds, retry_scale=retry_scale, given_up=given_up
        )

    async def limits(self, **changes: Any) -> None:
        """Set `enabled`, `scale`, `commercial` or `events_per_hour`; resets all rate limits."""
        await self.call("limits", **changes)

    async def randomize(self, seed: int | None) -> Json:
        """Choose undocumented limits at random within the reported ranges; returns them."""
        return cast(Json, await self.call("randomize", seed=seed))

    async def throttle(
        self,
        method: str,
        seconds: float,
        *,
        channel: str = "",
        says: str | None = None,
        in_body: bool = False,
    ) -> None:
        """Throttle one method for `seconds`, everywhere or in one channel; 0 ends it.

        `says` replaces the Retry-After header ("": none), which otherwise has the seconds left;
        `in_body` responds `ratelimited` with HTTP 200.
        """
        await self.call(
            "throttle", method=method, seconds=seconds, channel=channel, says=says, in_body=in_body
        )

    async def streams(self, *, seconds: float | None = None, characters: int | None = None) -> None:
        """Set when Slack ends a native stream (default 300 s, 11,500 characters)."""
        await self.call("streams", seconds=seconds, characters=characters)

    async def status_seconds(self, seconds: float) -> None:
        """Set after how long Slack removes the words under a thread (default: two minutes)."""
        await self.call("status_seconds", seconds=seconds)

    async def blocks(self, *, unknown: list[str]) -> None:
        """Refuse messages with blocks of these types."""
        await self.call("blocks", unknown=unknown)

    async def agent(self, declared: bool) -> None:
        """Set whether the app is declared as an agent, which may have sessions."""
        await self.call("agent", declared=declared)

    async def uploads(self, *, seconds: float | None = None, allowed: bool | None = None) -> None:
        """Set how long a shared file takes to appear, and whether uploads are allowed."""
        await self.call("uploads", seconds=seconds, allowed=allowed)

    async def downloads(
        self,
        how: str = "",
        *,
        times: int = 1_000,
        seconds: float = 0.01,
        to: str = "",
        match: str = "",
    ) -> None:
        """Make the next downloads fail (see `DownloadFaults`); without `how` they work again."""
        await self.call("downloads", how=how, times=times, seconds=seconds, to=to, match=match)

    async def mentions(
        self, *, first: bool | None = None, files: bool | None = None, gap: float | None = None
    ) -> None:
        """Set whether app_mention comes first and has files, and the gap between the events."""
        await self.call("mentions", first=first, files=files, gap=gap)

    async def file(self, file: Json) -> bytes:
        """The content of a message's file."""
        headers = {"Authorization": f"Bearer {ids.BOT_TOKEN}"}
        async with self._session.get(file["url_private"], headers=headers) as response:
            return await response.read()

    # ── connections ───────────────────────────────────────────────────────────────────────────
    async def connected(self, count: int = 1) -> None:
        """Wait until that many Socket Mode connections are open."""

        async def enough() -> bool:
            return len((await self.state())["connections"]) >= count

        await self.until(enough)

    async def disconnect(
        self, reason: str = "refresh_requested", *, grace: float = 10.0, number: int | None = None
    ) -> int:
        """Send `disconnect` frames; without "warning" the connection closes after `grace`."""
        asked = await self.call("disconnect", reason=reason, grace=grace, number=number)
        return cast(int, asked)

    async def drop(self) -> int:
        """Abort every connection."""
        return cast(int, await self.call("drop"))

    async def offline(self) -> None:
        """Deliver nothing and refuse Socket Mode until `online`; the Web API keeps working."""
        await self.call("offline")

    async def online(self) -> None:
        """Undo `offline`."""
        await self.call("online")

    async def frame(self, data: str, *, binary: bool = False, cut: bool = False) -> int:
        """Send a raw Socket Mode frame, truncated if `cut`."""
        return cast(int, await self.call("frame", data=data, binary=binary, cut=cut))

    async def links(
        self,
        *,
        hello: str | None = None,
        stalls: bool | None = None,
        turns_away: str | None = None,
    ) -> None:
        """Set the first frame of connections ("": none), make them never answer (`stalls`), or
        close each one with this reason after its hello (`turns_away`)."""
        await self.call("links", hello=hello, stalls=stalls, turns_away=turns_away)

    async def deliver_again(self, ts: str, *, same_event_id: bool = True) -> int:
        """Redeliver the events of a message; returns their number."""
        return cast(int, await self.call("deliver_again", ts=ts, same_event_id=same_event_id))

    async def inject(self, kind: str, payloads: Sequence[Any]) -> list[Json]:
        """Deliver raw payloads, each once; returns the attempts, with `acked` and `reason`.

        `kind` is events_api, interactive or slash_commands.
        """
        return cast(list[Json], await self.call("inject", kind=kind, payloads=list(payloads)))

    async def inject_frames(self, frames: Sequence[Any]) -> int:
        """Send raw frames over Socket Mode; returns how many are acknowledged."""
        return cast(int, await self.call("inject_frames", frames=list(frames)))

    # ── observation ───────────────────────────────────────────────────────────────────────────
    async def channel(self, channel: str) -> list[Json]:
        """The current top-level messages, oldest first, each with `replies` and `versions`."""
        return cast(list[Json], await self.call("channel", channel=channel))

    async def thread(self, channel: str, ts: str) -> list[Json]:
        """A root and its replies as they are now, each with `shown`, `pings`, `versions` …"""
        return cast(list[Json], await self.call("thread", channel=channel, ts=ts))

    async def ephemeral(self, user: str = "") -> list[Json]:
        """All ephemeral messages, or one person's."""
        return cast(list[Json], await self.call("ephemeral", user=user))

    async def deliveries(self) -> list[Json]:
        """Every delivery attempt: kind, event, event_id, ts, attempt, sent, acked, reason."""
        return cast(list[Json], await self.call("deliveries"))

    async def state(self) -> Json:
        """Connections, lost events, 429s by method, statuses, open streams, deletions."""
        return cast(Json, await self.call("state"))
