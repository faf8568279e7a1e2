"""Reads the messages of a thread before the bot was mentioned in it, or other bots' posts above a
mention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from adapters.slack import content, events, payloads
from adapters.slack.payloads import Payload
from adapters.slack.workspace import Workspace, is_tombstone
from bot.domain.inbox import Address, Incoming

# Messages of an old thread that the model sees.
BACKLOG = 100
# conversations.replies returns the oldest messages first, 1,000 per request at most, so reaching
# the newest ones means reading all.
PAGE_SIZE = 1_000


class BacklogReader:
    """Reads the backlogs of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._me, self._api, self._posts = workspace.me, workspace.api, workspace.posts
        self._names = workspace.names

    async def read(self, incoming: Incoming) -> Sequence[Incoming]:
        """The messages before `incoming`, oldest first.

        Raises a PlatformError.
        """
        if incoming.stands_alone:
            return await self._posts_above(incoming)
        return await self._thread_before(incoming)

    async def _posts_above(self, incoming: Incoming) -> Sequence[Incoming]:
        posts = [{**one, "channel": incoming.channel} for one in await self._posts.above(incoming)]
        names = await self._names(posts)
        return [self._quote_above(one, incoming, names) for one in posts]

    def _quote_above(self, post: Payload, incoming: Incoming, names: Mapping[str, str]) -> Incoming:
        """The quote of a post, with another id: several mentions may follow one post."""
        found = self._quote(post, incoming, names)
        own_id = f"{found.message_id}-{incoming.message_id}"
        return replace(found, key=incoming.key, message_id=own_id)

    async def _thread_before(self, incoming: Incoming) -> Sequence[Incoming]:
        response = await self._api.read_paced(
            "conversations.replies",
            channel=incoming.channel,
            ts=incoming.key.thread,
            latest=incoming.message_id,
            limit=PAGE_SIZE,
        )
        before = [
            message
            for found in response.messages()
            if events.message_ts(message := {**found, "channel": incoming.channel})
            and events.position(events.message_ts(message)) < incoming.position
        ]
        written = [one for one in before if events.is_from_person(one, self._me)][-BACKLOG:]
        root = [m for m in before[:1] if m not in written and self._is_quotable(m, incoming)]
        names = await self._names([*root, *written])
        return [
            *(self._quote(message, incoming, names) for message in root),
            *(self._earlier_message(message, incoming, names) for message in written),
        ]

    def _earlier_message(
        self, message: Payload, incoming: Incoming, names: Mapping[str, str]
    ) -> Incoming:
        kind = incoming.route.get("kind", "")
        workspace = incoming.key.workspace
        return events.message(message, self._me, names, workspace, kind, Address.FOLLOW_UP)

    def _is_quotable(self, root: Payload, incoming: Incoming) -> bool:
        """Whether another bot or a workflow posted the thread's root message, such as an alert."""
        ours = payloads.ident(root, "user") == self._me.user or root.get("bot_id") == self._me.bot
        return (
            events.message_ts(root) == incoming.key.thread and not ours and not is_tombstone(root)
        )

    def _quote(self, root: Payload, incoming: Incoming, names: Mapping[str, str]) -> Incoming:
        """A bot's root message, quoted as if by the person who asks about it."""
        asker = {"user": incoming.author.id, "channel": incoming.channel}
        plain = {**root, **asker, "type": "message", "subtype": "", "bot_id": None}
        message = self._earlier_message(plain, incoming, names)
        return replace(
            message,
            author=incoming.author,
            text=content.quotation(root, names),
            edited_at=None,
            from_bot=True,
        )
