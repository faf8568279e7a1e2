"""The terminal as a platform: each line is a message, and the store keeps named conversations."""

from __future__ import annotations

import asyncio
import getpass
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TextIO

from adapters.console.attachments import Attachments
from adapters.console.interrupt import stop_on_interrupt
from adapters.console.lines import LineReader
from adapters.console.output import ReplyOutput
from adapters.console.surface import (
    ConsoleRenderer,
    ConsoleSurface,
    PipeSurface,
    ReplyText,
    limits,
)
from bot.common.clock import rising_microseconds
from bot.domain import access_texts, terminal_texts, texts
from bot.domain.attachments import Download, Omission
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import AnswerFailed, AttachmentError, StoreUnavailable
from bot.domain.health import Finding, Health
from bot.domain.inbox import Address, Command, CommandReply, Incoming, Receipt
from bot.domain.turns import Claim
from bot.inbox import commands
from bot.policy.open_directory import OpenDirectory
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox
from bot.ports.model import ModelCatalog
from bot.ports.platform import Surface
from bot.ports.policy import Directory
from bot.replies.ratelimit.limiter import AccountRateLimiter

NAME = "console"


class ConsoleAdapter:
    """One conversation between the bot and the person at the keyboard, or a pipe.

    `attachments` go with the next message; `models` are the names that /model accepts.
    """

    def __init__(
        self,
        *,
        conversation: str,
        lines: LineReader,
        clock: Clock,
        models: ModelCatalog,
        out: TextIO = sys.stdout,
        piped: bool = False,
        attachments: Attachments | None = None,
    ) -> None:
        self._key = ConversationKey(NAME, "local", "terminal", conversation)
        self._author = Author(id="local", name=_user_name())
        self._lines, self._clock, self._piped = lines, clock, piped
        self._attachments, self._models = attachments or Attachments(), models
        self._out = ReplyOutput(out)
        self._reply = ReplyText(self._out)  # the newest one's
        self.turn: int | None = None  # the newest reply's
        self._rate_limiter = AccountRateLimiter(limits, clock)
        self._answered = asyncio.Event()
        self._directory = OpenDirectory(self._tell, is_admin=lambda _user: True)
        # Messages in one conversation never share a number, even across restarts.
        self._numbers = rising_microseconds(time.time)

    @property
    def name(self) -> str:
        """The platform's name in conversation keys."""
        return NAME

    @property
    def directory(self) -> Directory:
        """The person at the keyboard, who administers the bot because they own the database."""
        return self._directory

    async def _tell(self, _key: ConversationKey, _author: Author, _text: str) -> None:
        """Do nothing: a refused line has already printed the reason."""

    async def run(self, inbox: Inbox) -> None:
        """Read lines until the end of input, each one after the reply to the previous one.

        Raises BrokenPipeError or AnswerFailed if a reply cannot be written.
        """
        await inbox.connected(NAME)
        async for line in self._lines:
            with stop_on_interrupt(lambda: self._stop(inbox)):
                await self._handle_line(inbox, line)
            self._out.require()

    def greet(self, model: str) -> None:
        """Print the model that answers and the conversation's name."""
        self._print(terminal_texts.greeting(model, self._key.thread, running=False))

    def surface(self, claim: Claim) -> Surface:
        """Create the surface for this turn's reply, on the terminal or pipe."""
        self.turn, self._out.text = claim.fence.turn, ""
        kind = PipeSurface if self._piped else ConsoleSurface
        surface = kind(
            claim, out=self._out, rate_limiter=self._rate_limiter, on_close=self._answered.set
        )
        self._reply = surface.text
        return surface

    def finish(self, content: str) -> None:
        """In a pipe, write the rest of the newest answer, rendered like its beginning.

        Raises BrokenPipeError or AnswerFailed if it cannot be written.
        """
        written, text = self._out.text, self._reply.whole(content)
        rest = text[len(written) :] if text.startswith(written) else f"\n{text}"
        self._out.write(rest + "\n" if written or text else "")
        self._out.flush()
        self._out.require()

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        """Empty: no one wrote in the terminal before the conversation."""
        return ()

    def is_own_link(self, _url: str) -> bool:
        """See `Adapter.is_own_link`."""
        return False

    async def download(
        self, key: ConversationKey, locator: Mapping[str, str], *, limit: int
    ) -> Download:
        """See `Adapter.download`."""
        raise AttachmentError(Omission.GONE)

    async def say(self, incoming: Incoming, answer: CommandReply) -> None:
        """Print a command's answer. If it has no text, a reply follows, and its end is awaited."""
        if not answer.text:
            return
        self._print(ConsoleRenderer().render(answer.whole))
        self._answered.set()

    def _print(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()

    async def check(self) -> Sequence[Finding]:
        """Empty: the terminal needs no connection."""
        return ()

    def health(self) -> Health:
        """Always healthy."""
        return Health(ok=True)

    async def _stop(self, inbox: Inbox) -> None:
        try:
            await inbox.command(Command(name="stop", key=self._key, author=self._author))
        except StoreUnavailable:
            self._print(texts.STORE_DOWN)

    async def _handle_line(self, inbox: Inbox, line: str) -> None:
        answer = None if self._piped else await self._attachments.execute(line)
        if answer is not None:
            self._print(answer)
            return
        incoming = self._incoming(line)
        if commands.parse(incoming, self._models.names) is None:
            incoming = replace(incoming, attachments=self._attachments.take())
        if not incoming.text and not incoming.attachments:
            return
        self._answered.clear()
        try:
            receipt = await inbox.receive(incoming)
        except StoreUnavailable:
            if self._piped:
                raise
            self._attachments.put_back(incoming.attachments)
            self._print(texts.STORE_DOWN)
            return
        if receipt is Receipt.REFUSED:
            await self._refuse(inbox)
        if receipt is Receipt.TOO_EARLY:
            seconds = await inbox.wait_seconds(self._key, self._author)
            self._fail(access_texts.too_early(seconds, own=True))
        if receipt in (Receipt.QUESTION, Receipt.COMMAND):
            await self._wait_for_answer(inbox)

    async def _wait_for_answer(self, inbox: Inbox) -> None:
        """Wait for the end of the reply, and stop the reply if it cannot be written any more."""
        waits = [asyncio.ensure_future(e.wait()) for e in (self._answered, self._out.failed)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self._answered.is_set():
            await self._stop(inbox)
            await self._answered.wait()

    async def _refuse(self, inbox: Inbox) -> None:
        """Print why the person may not ask. Raises AnswerFailed in a pipe."""
        self._fail(await inbox.refusal(self._key, self._author) or texts.INTERNAL)

    def _fail(self, reason: str) -> None:
        """Print why there is no answer. Raises AnswerFailed in a pipe."""
        if self._piped:
            raise AnswerFailed(reason)
        self._print(reason)

    def _incoming(self, line: str) -> Incoming:
        number = next(self._numbers)
        return Incoming(
            key=self._key,
            channel=self._key.thread,
            message_id=str(number),
            position=number,
            author=self._author,
            text=line.strip(),
            address=Address.DIRECT,
            sent_at=self._clock.time(),
        )


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        return "you"
