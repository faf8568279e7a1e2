"""Shows one reply on Discord: in a thread, a direct message, or a chain of replies.

A claim is enough to build it, so it works after a restart. The ids of a page's buttons contain its
turn and page number. A message without buttons is identified by its position: the bot sent it after
the question (in a channel: as a reply to it), and the ledger does not list it. Only one turn at a
time works on a conversation, so the message cannot be another turn's page.
"""

from __future__ import annotations

from collections.abc import Sequence

import discord

from adapters.discord import files, threads
from adapters.discord.buttons import PageId, control_view, to_base36
from adapters.discord.errors import ARCHIVED, CANNOT_REFER, NO_PERMISSION
from adapters.discord.events import ReplyMode
from adapters.discord.page_removal import remove_message, unarchive
from adapters.discord.page_search import PageSearch
from adapters.discord.rest import RestApi, deletion_scopes, message_scopes
from adapters.discord.typing_indicator import TypingIndicator
from bot.domain.errors import FilesRefused, Gone, Refused, Throttled
from bot.domain.replies import Action, FileRules, Frame, Priority, Request, Shown, ShownPage
from bot.domain.turns import Claim, PageRecord, Question
from bot.ports.platform import RateLimiter, Renderer
from bot.replies.plan import apply_request, cache_rendering, forget_text, plan_by_edits


class DiscordSurface:
    """`bot.ports.platform.Surface` for Discord."""

    def __init__(
        self, *, claim: Claim, rest: RestApi, renderer: Renderer, rules: FileRules | None = None
    ) -> None:
        self._claim, self._rest, self._renderer = claim, rest, renderer
        self._rules = rules
        self._render = cache_rendering(renderer.render)
        self._key = claim.conversation.key
        self._mode = _reply_mode(claim)
        self._fell_back = False  # the thread could not be created in time
        self._posted: set[int] = set()  # pages that this attempt posted, or may have posted
        self._removals = 0  # messages that this attempt removed
        self._may_refer = True
        self._typing = TypingIndicator(
            rest, channel=lambda: self._channel, wanted=lambda: not self._posted
        )

    @property
    def renderer(self) -> Renderer:
        """The renderer of Discord's Markdown."""
        return self._renderer

    @property
    def says_working(self) -> bool:
        """False: the typing indicator has no stop button."""
        return False

    @property
    def files(self) -> FileRules | None:
        """The configured file rules, unless the channel has recently refused a file."""
        return None if self._key.channel in self._rest.without_files else self._rules

    @property
    def rate_limiter(self) -> RateLimiter:
        """The account's rate limiter."""
        return self._rest.rate_limiter

    # ── opening and closing ───────────────────────────────────────────────────────────────────
    @property
    def _question(self) -> Question:
        return self._claim.questions[-1]

    @property
    def _channel(self) -> str:
        """The channel or thread that contains the reply."""
        if self._mode is ReplyMode.CHAIN:
            return self._key.channel
        return self._key.thread or self._key.channel

    async def open(self) -> None:
        """Create the thread if the reply needs one, and type until the reply shows text.

        Discord hides the typing indicator when a message is posted but not when one is edited, so
        it is not shown if a page exists.
        """
        if self._mode is ReplyMode.THREAD and not await threads.ensure_thread(
            self._rest, self._claim
        ):
            self._mode, self._fell_back = ReplyMode.CHAIN, True
        visible = any(page.message_id is not None for page in self._claim.pages)
        if not visible and self._claim.result is None:
            self._typing.start()

    async def close(self) -> None:
        """Stop typing."""
        await self._typing.stop()

    async def abandon(self) -> None:
        """See the port. Discord lets a typing indicator end after ten seconds."""
        await self._typing.stop()

    # ── recovering ────────────────────────────────────────────────────────────────────────────
    async def recover(self, pages: Sequence[PageRecord]) -> Shown:
        """The ledger's pages, and those posted without their message ids being recorded."""
        found = [
            ShownPage(page.number, page.message_id, page.channel or self._channel, text=None)
            for page in pages
            if page.message_id is not None
        ]
        lost = {page.number for page in pages if page.message_id is None}
        if lost:
            # A leftover may look like a page that was posted.
            left = await self._rest.leftovers.messages_of(self._claim.conversation.id)
            found += await self._find(lost, {page.message_id for page in found} | left)
        return Shown(tuple(sorted(found, key=lambda page: page.number)))

    async def _find(self, lost: set[int], known: set[str]) -> list[ShownPage]:
        in_chain = self._mode is ReplyMode.CHAIN
        found = await self._search(self._channel, in_chain, known).find(lost)
        if not found and self._mode is ReplyMode.THREAD:
            # An earlier attempt may have failed to create the thread that exists now.
            found = await self._search(self._key.channel, True, known).find(lost)
            if found:
                self._mode = ReplyMode.CHAIN
                await threads.abandon_thread(self._rest, self._claim.conversation)
        return [
            ShownPage(number, str(message.id), str(message.channel.id), text=None)
            for number, message in found.items()
        ]

    def _search(self, channel: str, in_chain: bool, known: set[str]) -> PageSearch:
        return PageSearch(
            rest=self._rest, claim=self._claim, channel=channel, in_chain=in_chain, known=known
        )

    # ── showing ───────────────────────────────────────────────────────────────────────────────
    def plan(self, shown: Shown, frame: Frame) -> Request | None:
        """The next request; see `plan_by_edits`."""
        return plan_by_edits(shown, frame, render=self._render, scopes=self._scopes)

    def _scopes(self, action: Action, _page: int) -> tuple[str, ...]:
        deletions = deletion_scopes(self._channel)
        if (
            action is Action.REMOVE
            and self.rate_limiter.delay(*deletions) < self._rest.timeouts.removal
        ):
            return deletions
        return message_scopes(self._channel)  # a page that cannot be deleted now is emptied

    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Send the request; raises FilesRefused if Discord refuses only its file."""
        try:
            return await self._perform_unarchived(request, shown)
        except (Gone, Refused) as error:
            if not files.may_concern_file(request, error):
                raise
            if error.code == NO_PERMISSION:
                self._rest.without_files[self._key.channel] = True
            raise FilesRefused(str(error)) from error

    async def _perform_unarchived(self, request: Request, shown: Shown) -> Shown:
        """Send the request; if the thread is archived, unarchive it and send the request again."""
        try:
            return await self._perform(request, shown)
        except Gone as error:
            if error.code != ARCHIVED or self._mode is ReplyMode.CHAIN:
                raise
            await self._unarchive(request)
            return await self._perform(request, shown)

    async def _perform(self, request: Request, shown: Shown) -> Shown:
        match request.action:
            case Action.POST:
                return await self._post(request, shown)
            case Action.REMOVE:
                return await self._remove(request, shown)
            case _:
                return await self._edit(request, shown)

    async def _post(self, request: Request, shown: Shown) -> Shown:
        repeated = request.page in self._posted
        await self._choose_channel()
        self._posted.add(request.page)
        try:
            message = await self._send(request)
        except Refused as error:
            if error.code != CANNOT_REFER or not self._may_refer:
                raise
            self._may_refer = False
            message = await self._send(request)
        after = apply_request(shown, request, message_id=message, channel=self._channel)
        # Discord responds to a repeated nonce with the first message, whose text may be older.
        return forget_text(after, request.page) if repeated else after

    async def _choose_channel(self) -> None:
        """Before the first page, use the thread if it has since appeared; otherwise abandon it."""
        if not self._fell_back:
            return
        self._fell_back = False
        if await threads.is_cached(self._rest, self._key.thread):
            self._mode = ReplyMode.THREAD
        else:
            await threads.abandon_thread(self._rest, self._claim.conversation)

    async def _send(self, request: Request) -> str:
        return await self._rest.send(
            self._channel,
            request.text,
            nonce=self._nonce(request.page),
            reference=self._reference(),
            view=self._view(request),
            **files.post_params(request),
        )

    async def _edit(self, request: Request, shown: Shown) -> Shown:
        old = next((page for page in shown.pages if page.number == request.page), None)
        channel = old.channel if old is not None else self._channel
        new_controls = old is None or old.text is None or old.controls != request.controls
        view = self._view(request) if new_controls else discord.utils.MISSING
        parts = files.edit_params(request, old)
        await self._rest.edit(
            channel, request.message_id or "0", content=request.text, view=view, **parts
        )
        self._posted.add(request.page)
        return apply_request(shown, request)

    async def _remove(self, request: Request, shown: Shown) -> Shown:
        conversation, message = self._claim.conversation.id, request.message_id or "0"
        await remove_message(self._rest, conversation, self._channel, message)
        self._posted.discard(request.page)
        self._removals += 1
        return apply_request(shown, request)

    async def _unarchive(self, request: Request) -> None:
        """Unarchive the thread; a locked one raises Gone."""
        try:
            await unarchive(self._rest, self._channel, Priority.FINAL)
        except Throttled as error:  # blocks the reply's own scope, since nothing else can be shown
            raise Throttled(error.retry_after, request.scopes[:1]) from error

    # ── a message's parts ─────────────────────────────────────────────────────────────────────
    def _nonce(self, page: int) -> str:
        """A nonce for a page in this attempt, at most 25 characters (documented).

        It changes after a removal: Discord refuses the nonce of a deleted message.
        """
        nonce = f"{to_base36(self._question.message_id)}-{page}-{self._claim.fence.attempt}"
        return f"{nonce}-{self._removals}" if self._removals else nonce

    def _reference(self) -> discord.MessageReference | None:
        if self._mode is not ReplyMode.CHAIN or not self._may_refer:
            return None
        return discord.MessageReference(
            message_id=int(self._question.message_id),
            channel_id=int(self._channel),
            fail_if_not_exists=False,
        )

    def _view(self, request: Request) -> discord.ui.View | None:
        if not request.controls:
            return None
        return control_view(request.controls, PageId(self._claim.fence.turn, request.page))


def _reply_mode(claim: Claim) -> ReplyMode:
    """Where the reply goes: preferably where earlier attempts posted pages."""
    modes = {question.route.get("mode") for question in claim.questions}
    key = claim.conversation.key
    in_channel = any(page.channel == key.channel for page in claim.pages)
    if ReplyMode.CHAIN.value in modes or (key.thread and in_channel):
        return ReplyMode.CHAIN
    return ReplyMode.THREAD if ReplyMode.THREAD.value in modes else ReplyMode.HERE
