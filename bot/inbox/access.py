"""Decides who may ask and command, and which messages are questions, before anything is stored.

Invariant: nothing is stored or read from a person who may not ask. If the platform cannot say who
someone is, the message is stored but withheld from requests until `bot.turns.access` decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from bot.domain import access_texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.inbox import Address, Command, CommandReply, Incoming, Receipt
from bot.domain.policy import ALLOWED, Access, AnswerMode, Controllers, Verdict
from bot.inbox.background_replies import BackgroundReplies
from bot.inbox.commands import (
    CONTINUE,
    EFFORT,
    MODEL,
    RESET,
    RETRY,
    SHOW,
    STOP,
    UNDO,
    number_of,
)
from bot.inbox.feedback_commands import COMMENT, VOTE
from bot.ports.policy import Policy
from bot.ports.store import Store

log = structlog.stdlib.get_logger(__name__)

CONTROLS = frozenset({STOP, RETRY, SHOW, CONTINUE, UNDO, RESET})
"""Commands that change what others see; only people in the rules' `controls` may use them."""

FOR_ASKERS = frozenset({MODEL, EFFORT, VOTE, COMMENT})
"""Commands about answers; only people who may ask may use them. All other commands are open to
everyone who can see the conversation, or check permissions themselves."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A message that concerns the bot, with its effective address and its author's verdict."""

    incoming: Incoming
    verdict: Verdict

    @property
    def refused(self) -> bool:
        """Whether the message must not be stored."""
        return self.verdict.access is Access.REFUSED

    @property
    def withheld(self) -> bool:
        """Whether the message is stored but left out of requests: its author is unknown."""
        return self.verdict.access is Access.UNKNOWN


class AccessGate:
    """Applies the rules to messages and commands; if `policy` is None, there are no rules."""

    def __init__(self, *, policy: Policy | None, store: Store, replies: BackgroundReplies) -> None:
        self._policy, self._store, self._replies = policy, store, replies

    def listens(self, channel: ConversationKey, category: str = "") -> bool:
        """See `AccessLookup.listens`."""
        return self._policy is not None and self._policy.listens(channel, category)

    # ── messages ──────────────────────────────────────────────────────────────────────────────
    async def admit(self, incoming: Incoming) -> Admission | None:
        """None if the message does not concern the bot. Raises StoreUnavailable."""
        if not incoming.address.begins and await self._store.find(incoming.key) is None:
            return None
        address = await self._address(incoming)
        if address is None:
            return None
        return Admission(replace(incoming, address=address), await self.verdict(incoming))

    async def _address(self, incoming: Incoming) -> Address | None:
        """The message's address by its channel's rules; None if it does not concern the bot."""
        address = incoming.address
        if incoming.from_bot:
            return None if address.begins else Address.ASIDE
        if address is Address.FOLLOW_UP and await self._answers(incoming) is AnswerMode.MENTION:
            return Address.ASIDE
        if address is Address.CHANNEL:
            is_blank = not incoming.text and not incoming.attachments
            is_question = await self._answers(incoming) is AnswerMode.ALWAYS
            return address if is_question and not is_blank else None
        return address

    async def _answers(self, incoming: Incoming) -> AnswerMode:
        if self._policy is None:
            return AnswerMode.THREAD
        return (await self._policy.effective(incoming.key)).answers.value

    async def verdict(self, incoming: Incoming) -> Verdict:
        """Whether the author may ask; rules about people do not apply to bots."""
        if incoming.from_bot:
            return ALLOWED
        return await self._may_ask(incoming.key, incoming.author)

    async def judge_edit(self, incoming: Incoming) -> Admission:
        """Judge an edit as its message's author, even if it is reported as a webhook's."""
        author = await self._store.author_of(incoming.source)
        if author is not None and author.id != incoming.author.id:
            incoming = replace(incoming, author=author, from_bot=False)
        return Admission(incoming, await self.verdict(incoming))

    async def _may_ask(self, key: ConversationKey, author: Author) -> Verdict:
        return ALLOWED if self._policy is None else await self._policy.may_ask(key, author)

    async def select_readable(
        self, messages: Sequence[Incoming], until: float
    ) -> Sequence[Incoming]:
        """The earlier messages whose authors may ask; all others stay unread.

        Each author is checked separately: if the platform does not describe one before `until`
        (event loop time), only that author's messages are left out.
        """
        checks = {
            _author(message): asyncio.create_task(self.verdict(message))
            for message in _one_of_each_author(messages)
        }
        if not checks:
            return ()
        try:
            seconds = until - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait(checks.values(), timeout=max(0.0, seconds))
        finally:
            for check in checks.values():
                check.cancel()
        readable = {author for author, check in checks.items() if check in done}
        readable = {author for author in readable if checks[author].result().allowed}
        return [message for message in messages if _author(message) in readable]

    # ── commands ──────────────────────────────────────────────────────────────────────────────
    async def refuse_command(self, command: Command) -> CommandReply | None:
        """The refusal if the person lacks permission, or else None. Raises StoreUnavailable."""
        verdict = await self._may_command(command)
        if verdict.allowed:
            return None
        if command.source:
            await self._store.record_command(command.source)
        text = access_texts.command_refused(verdict.reason)
        log.info("a command was refused", command=command.name, conversation=str(command.key))
        return CommandReply(text, refused=True)

    async def _may_command(self, command: Command) -> Verdict:
        key, author = command.key, command.author
        if self._policy is None or command.name not in CONTROLS | FOR_ASKERS:
            return ALLOWED
        if command.name in FOR_ASKERS:
            return await self._policy.may_ask(key, author)
        verdict = await self._may_control(self._policy, command)
        if verdict.allowed and command.name == CONTINUE:  # `continue` asks a question
            return await self._policy.may_ask(key, author)
        if verdict.allowed and command.name == RETRY:
            return await self._may_repeat(self._policy, command)
        return verdict

    async def _may_control(self, policy: Policy, command: Command) -> Verdict:
        key, author = command.key, command.author
        took_part = True
        if (await policy.effective(key)).controls.value is Controllers.PARTICIPANTS:
            # Without a conversation there is nothing to control; the command itself replies so.
            took_part = await self._store.took_part(key, author.id) is not False
        return await policy.may_control(key, author, took_part=took_part)

    async def _may_repeat(self, policy: Policy, command: Command) -> Verdict:
        """Whether an author of the answered questions may still ask; if not, the answer is kept."""
        authors = await self._store.askers(command.key, number_of(command))
        verdicts = await asyncio.gather(*(policy.may_ask(command.key, each) for each in authors))
        if verdicts and all(each.access is Access.REFUSED for each in verdicts):
            return Verdict(Access.REFUSED, access_texts.ASKER_REFUSED)
        return ALLOWED

    # ── people who may not ask ────────────────────────────────────────────────────────────────
    async def refusal(self, key: ConversationKey, author: Author) -> str:
        """See `AccessLookup.refusal`."""
        verdict = await self._may_ask(key, author)
        return await self._sentence(key, verdict) if verdict.access is Access.REFUSED else ""

    async def refuse(self, admission: Admission) -> Receipt:
        """Store nothing, and tell the author why at most once a day. Raises StoreUnavailable."""
        incoming, sentence = admission.incoming, await self._notice(admission)
        log.info("a person may not ask", conversation=str(incoming.key), notice=bool(sentence))
        if sentence:
            self._replies.tell(incoming, sentence)
        return Receipt.REFUSED

    async def _notice(self, admission: Admission) -> str:
        """The sentence to tell the author of a refused message now; "" if they were told today.

        A sentence counts as sent once it is returned. Raises StoreUnavailable.
        """
        incoming, reason = admission.incoming, admission.verdict.reason
        address = await self._address(incoming)  # an edit's address is still as reported
        if address in (None, Address.ASIDE, Address.CHANNEL) or incoming.late:
            return ""  # it asks the bot nothing, or its author no longer waits
        if not await self._store.refusal_due(incoming.key, incoming.author.id, reason):
            return ""
        return await self._sentence(incoming.key, admission.verdict)

    async def _sentence(self, key: ConversationKey, verdict: Verdict) -> str:
        admins = () if self._policy is None else (await self._policy.effective(key)).admins
        return access_texts.refused(verdict.reason, admins)


def _author(message: Incoming) -> tuple[ConversationKey, str, bool]:
    return message.key, message.author.id, message.from_bot


def _one_of_each_author(messages: Sequence[Incoming]) -> list[Incoming]:
    return list({_author(message): message for message in messages}.values())
