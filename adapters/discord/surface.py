"""Where one reply is shown on Discord: a thread, a direct message, or a chain of replies.

Built from a claim alone, so that it works after a restart. A page is known again by the turn and
page in its buttons' ids; one without buttons by where it is: it is ours, it stands after the
question (in a channel: it replies to it), and the ledger knows nothing of it. One turn at a time
works on a conversation, so there is no other whose page that could be.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import discord
import structlog

from adapters.discord import files, threads
from adapters.discord import rest as w
from adapters.discord.buttons import Identity, control_view, packed
from adapters.discord.events import Mode
from adapters.discord.page_search import Search
from adapters.discord.rest import RestApi, attempt, code_of
from bot.domain import texts
from bot.domain.errors import FilesRefused, Gone, PlatformError, Refused, Throttled
from bot.domain.replies import Action, FileRules, Frame, Priority, Request, Shown, ShownPage
from bot.domain.turns import Claim, PageRecord, Question
from bot.ports.platform import RateLimiter, Renderer
from bot.replies.plan import carried_out, forgotten, plan_by_edits, remembering

log = structlog.stdlib.get_logger(__name__)

TYPING_SECONDS = 8.0  # a sign of typing is shown for ten


class DiscordSurface:
    """`bot.ports.Surface` for Discord."""

    def __init__(
        self, *, claim: Claim, wire: RestApi, renderer: Renderer, rules: FileRules | None = None
    ) -> None:
        self._claim, self._wire, self._renderer = claim, wire, renderer
        self._rules = rules
        self._render = remembering(renderer.render)
        self._key = claim.conversation.key
        self._mode = _mode(claim)
        self._fell_back = False  # the thread could not be had in time
        self._posted: set[int] = set()  # pages that this attempt posted, or may have posted
        self._removals = 0  # messages that this attempt removed
        self._refers = True
        self._typing: asyncio.Task[None] | None = None

    @property
    def renderer(self) -> Renderer:
        """Discord's form of Markdown."""
        return self._renderer

    @property
    def says_working(self) -> bool:
        """No: typing has no button."""
        return False

    @property
    def files(self) -> FileRules | None:
        """As the settings say, where no file was refused lately."""
        return None if self._key.channel in self._wire.without_files else self._rules

    @property
    def rate_limiter(self) -> RateLimiter:
        """The budget of the account."""
        return self._wire.rate_limiter

    # ── the place ─────────────────────────────────────────────────────────────────────────────
    @property
    def _question(self) -> Question:
        return self._claim.questions[-1]

    @property
    def _place(self) -> str:
        """The channel or thread that the reply is in."""
        if self._mode is Mode.CHAIN:
            return self._key.channel
        return self._key.thread or self._key.channel

    async def open(self) -> None:
        """Make the thread where there is to be one, and type as long as nothing is there to see.

        Typing ends with a post, but not with an edit: beside a page that is there it would stay on.
        """
        if self._mode is Mode.THREAD:
            await self._make_thread()
        shown = any(page.message_id is not None for page in self._claim.pages)
        if self._typing is None and not shown and self._claim.conclusion is None:
            self._typing = asyncio.create_task(self._type(), name="typing")

    async def _make_thread(self) -> None:
        """Make the thread on the mention; where none can be, the reply chain takes its place."""
        if not await threads.is_made(self._wire, self._claim):
            self._mode, self._fell_back = Mode.CHAIN, True

    async def close(self) -> None:
        """Stop typing; Discord shows it for up to ten more seconds, or until a message comes."""
        task, self._typing = self._typing, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _type(self) -> None:
        """Show that the reply is being worked on, until its first text."""
        try:
            while not self._posted:
                place = self._place
                await self._wire.ask(w.typing_in(place), self._typed, priority=Priority.BACKGROUND)
                await self._wire.clock.sleep(TYPING_SECONDS)
        except PlatformError as error:
            log.debug("typing was not shown", error=repr(error))

    async def _typed(self, client: discord.Client) -> None:
        if not self._posted:
            await client.http.send_typing(int(self._place))

    # ── after a crash ─────────────────────────────────────────────────────────────────────────
    async def recover(self, pages: Sequence[PageRecord]) -> Shown:
        """The pages in the ledger, and those that were posted without getting there."""
        known = [self._found(page.number, page.message_id, page.channel) for page in pages]
        there = [page for page in known if page is not None]
        lost = {page.number for page in pages if page.message_id is None}
        if lost:
            taken = {page.message_id for page in there}
            there += await self._look_for(lost, taken)
        return Shown(tuple(sorted(there, key=lambda page: page.number)))

    def _found(self, number: int, message_id: str | None, channel: str) -> ShownPage | None:
        if message_id is None:
            return None
        return ShownPage(number, message_id, channel or self._place, text=None)

    async def _look_for(self, lost: set[int], taken: set[str]) -> list[ShownPage]:
        found = await self._search(self._place, self._mode is Mode.CHAIN, taken).find(lost)
        if not found and self._mode is Mode.THREAD:
            # Perhaps an earlier attempt was refused the thread that we could make now.
            found = await self._search(self._key.channel, True, taken).find(lost)
            if found:
                self._mode = Mode.CHAIN
                await threads.give_up(self._wire, self._key.thread)
        return [
            ShownPage(number, str(message.id), str(message.channel.id), text=None)
            for number, message in found.items()
        ]

    def _search(self, place: str, in_chain: bool, taken: set[str]) -> Search:
        return Search(
            wire=self._wire, claim=self._claim, place=place, in_chain=in_chain, taken=taken
        )

    # ── showing ───────────────────────────────────────────────────────────────────────────────
    def plan(self, shown: Shown, frame: Frame) -> Request | None:
        """The next request; see `plan_by_edits`."""
        return plan_by_edits(shown, frame, render=self._render, scopes=self._scopes)

    def _scopes(self, action: Action, _page: int) -> tuple[str, ...]:
        deletions = w.deletions_in(self._place)
        if (
            action is Action.REMOVE
            and self.rate_limiter.delay(*deletions) < self._wire.waits.removal
        ):
            return deletions
        return w.messages_in(self._place)

    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Send it. Raises FilesRefused when the file alone is not taken."""
        try:
            return await self._opened(request, shown)
        except (Gone, Refused) as error:
            if not files.refused(request, error):
                raise
            if code_of(error) == w.NO_PERMISSION:
                self._wire.without_files[self._key.channel] = True
            raise FilesRefused(str(error)) from error

    async def _opened(self, request: Request, shown: Shown) -> Shown:
        """Send it; what an archived thread refused is sent again once the thread is opened."""
        try:
            return await self._perform(request, shown)
        except Gone as error:
            if code_of(error) != w.ARCHIVED or self._mode is Mode.CHAIN:
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
        again = request.page in self._posted
        await self._settle_on_a_place()
        self._posted.add(request.page)
        try:
            message = await self._sent(request)
        except Refused as error:
            if code_of(error) != w.CANNOT_REFER or not self._refers:
                raise
            self._refers = False
            message = await self._sent(request)
        after = carried_out(shown, request, message_id=message, channel=self._place)
        # A nonce that was sent before brings back the message of then, with the text of then.
        return forgotten(after, request.page) if again else after

    async def _settle_on_a_place(self) -> None:
        """Before the first page: a thread that was made after all is used, or is too late."""
        if not self._fell_back:
            return
        self._fell_back = False
        if await threads.appeared(self._wire, self._key.thread):
            self._mode = Mode.THREAD
        else:
            self._wire.chained[self._key.thread] = True

    async def _sent(self, request: Request) -> str:
        return await self._wire.send(
            self._place,
            request.text,
            nonce=self._nonce(request.page),
            reference=self._reference(),
            view=self._view(request),
            **files.attached(request),
        )

    async def _edit(self, request: Request, shown: Shown) -> Shown:
        old = next((page for page in shown.pages if page.number == request.page), None)
        place = old.channel if old is not None else self._place
        changes = old is None or old.text is None or old.controls != request.controls
        view = self._view(request) if changes else discord.utils.MISSING
        parts = files.replaced(request, old)
        await self._wire.edit(
            place, request.message_id or "0", content=request.text, view=view, **parts
        )
        self._posted.add(request.page)
        return carried_out(shown, request)

    async def _remove(self, request: Request, shown: Shown) -> Shown:
        """Delete a page; one that cannot be deleted now is emptied, and deleted later.

        The end of the turn never waits for it.
        """
        message = request.message_id or "0"
        self._wire.own_deletions[message] = True
        try:
            await self._delete(message)
        except PlatformError as error:
            if code_of(error) == w.ARCHIVED:
                raise
            if code_of(error) != w.UNKNOWN_MESSAGE:  # else a person removed it
                log.warning("a page is removed later", message=message, error=str(error))
                await self._empty(message)
                self._remove_later(message)
        self._posted.discard(request.page)
        self._removals += 1
        return carried_out(shown, request)

    async def _delete(self, message: str) -> None:
        """Delete it now; the budget is spent, or was closed when this was planned."""
        place, deletions = int(self._place), w.deletions_in(self._place)
        closed = self.rate_limiter.delay(*deletions)
        if closed > self._wire.waits.removal:
            raise Throttled(closed, deletions[:1])
        await self._wire.ask(
            (),
            lambda client: client.http.delete_message(place, int(message)),
            within=self._wire.waits.removal,
        )

    async def _empty(self, message: str) -> None:
        edited = self._wire.edit(
            self._place, message, content=texts.REMOVED, view=None, attachments=[]
        )
        try:
            await attempt(edited, within=self._wire.waits.removal)
        except PlatformError as error:
            log.info("a page that is to be removed still shows", error=str(error))

    def _remove_later(self, message: str) -> None:
        place = self._place

        async def work() -> None:
            with contextlib.suppress(Gone):  # a person removed it
                await self._wire.ask(
                    w.deletions_in(place),
                    lambda client: client.http.delete_message(int(place), int(message)),
                    priority=Priority.BACKGROUND,
                )

        self._wire.upkeep.add(f"removing the message {message}", work)

    async def _unarchive(self, request: Request) -> None:
        """Only sending opens an archived thread. A locked one stays closed: Gone."""
        place = int(self._place)
        try:
            await self._wire.ask(
                w.at("change", place),
                lambda client: client.http.edit_channel(place, archived=False),
                priority=Priority.FINAL,
            )
        except Throttled as error:  # until then nothing can be shown in this thread
            raise Throttled(error.retry_after, request.scopes[:1]) from error

    # ── a message's parts ─────────────────────────────────────────────────────────────────────
    def _nonce(self, page: int) -> str:
        """One for each page and attempt, at most 25 characters, and another after a removal.

        Not for the page alone: the nonce of a message that was deleted since is refused.
        """
        nonce = f"{packed(self._question.message_id)}-{page}-{self._claim.fence.attempt}"
        return f"{nonce}-{self._removals}" if self._removals else nonce

    def _reference(self) -> discord.MessageReference | None:
        if self._mode is not Mode.CHAIN or not self._refers:
            return None
        return discord.MessageReference(
            message_id=int(self._question.message_id),
            channel_id=int(self._place),
            fail_if_not_exists=False,
        )

    def _view(self, request: Request) -> discord.ui.View | None:
        if not request.controls:
            return None
        return control_view(request.controls, Identity(self._claim.fence.turn, request.page))


def _mode(claim: Claim) -> Mode:
    """Where the reply goes; what earlier attempts posted decides it first."""
    modes = {question.route.get("mode") for question in claim.questions}
    key = claim.conversation.key
    in_channel = any(page.channel == key.channel for page in claim.pages)
    if Mode.CHAIN.value in modes or (key.thread and in_channel):
        return Mode.CHAIN
    return Mode.THREAD if Mode.THREAD.value in modes else Mode.HERE
