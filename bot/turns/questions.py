"""Selects the questions that one attempt answers, and waits for their attachments."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bot.context.turn_attachments import TurnAttachments
from bot.domain import attachment_labels, texts
from bot.domain.turns import Claim
from bot.replies.publisher import Publisher
from bot.turns.outcome import ReplyDraft, notice_for
from bot.turns.turn_ports import TurnPorts

READING_NOTE_SECONDS = 1.0
"""Seconds after which the reply says that files are being read."""


class TurnQuestions:
    """The claim, reduced to the questions that may be answered; the draft's notice follows it."""

    def __init__(self, ports: TurnPorts, claim: Claim, draft: ReplyDraft) -> None:
        self._ports, self._draft = ports, draft
        self._everyone = claim
        self.claim = claim
        self.attachments = TurnAttachments(ports.attachments, claim)

    async def check_askers(self, *, patient: bool = True) -> bool:
        """Keep the questions of people who may ask now; return whether the selection changed.

        Raises the same errors as `AskerCheck.check`.
        """
        left = await self._ports.askers.check(self._everyone, patient=patient)
        kept = {question.id: question for question in left.questions}
        everyone = (kept.get(q.id, replace(q, withheld=True)) for q in self._everyone.questions)
        self._everyone = replace(left, questions=tuple(everyone))
        if left.questions == self.claim.questions:
            return False
        self.claim, self._draft.notice = left, notice_for(left)
        self.attachments = TurnAttachments(self._ports.attachments, left)
        return True

    async def receive_attachments(self, reply: Publisher) -> None:
        """Wait for the questions' files and links, and say so if that takes long."""
        note = texts.note(attachment_labels.READING)
        timer = asyncio.get_running_loop().call_later(READING_NOTE_SECONDS, reply.note, note)
        try:
            await self.attachments.arrive()
        finally:
            timer.cancel()
        self._draft.add_notice(await self.attachments.spoken())

    def has_nothing_to_ask(self) -> bool:
        """Whether there is only an attachment that cannot be read; then the draft says why."""
        if any(question.text for question in self.claim.asked) or self.attachments.can_be_read:
            return False
        self._draft.unasked = self.attachments.has_any
        self._draft.omissions = self.attachments.unread()
        return self._draft.unasked
