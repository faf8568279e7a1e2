"""The control scenario: stop, retry, edit, delete, reset and undo, while the bot is killed.

Each action takes effect exactly once, whenever the process dies. The bot finds words after a
mention, edits and deletions by reading history; people press a button again if it has no visible
effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tests.kills.scenario import NotWithin, Scenario
from tests.support.platform_driver import ThreadRef
from tests.support.transcript import Question

SLOW = 8.0  # tokens per second: a reply to be stopped outlasts a kill and a restart
PRESSES = 6  # presses of one button before the test fails
PRESSED_WITHIN = 4.0  # seconds until a press shows its effect


@dataclass(slots=True)
class UserActions(Scenario):
    """Actions other than asking; each method returns once the action took effect."""

    settings: ClassVar[Mapping[str, str]] = {"DELETE_REPLY_WITH_QUESTION": "true"}

    # ── words after a mention ─────────────────────────────────────────────────────────────────
    async def word(self, thread: ThreadRef, word: str) -> str:
        """Send a command word and wait until it is recorded; returns the message's id."""
        said = str(await self.world.driver.mention_in(thread, word))
        self.commands.append(said)

        async def is_recorded() -> bool:
            return self.recorded(said)

        await self.until(is_recorded, f"the record of {word!r}")
        return said

    async def retry(self, question: Question) -> None:
        """Retry a turn with the command word."""
        before = self._opened(question)
        await self.word(self.threads[question.where], "retry")
        await self._wait_reopened(question, before, self.patience)
        await self.wait_turn_done(question)

    async def stop(self, question: Question) -> None:
        """Wait for the first words of the reply, then stop it."""
        await self.until(lambda: self.shows(question, 0), f"the first words for {question.name}")
        await self.word(self.threads[question.where], "stop")
        self.change(question, ends="stopped")
        await self.wait_turn_done(question)

    async def undo(self, thread: ThreadRef) -> None:
        """Undo the last reset: earlier messages count again."""
        await self.word(thread, "undo")
        where = self.world.location(thread)
        section = self.sections[where]
        for question in [
            one for one in self.questions if (one.where, one.section) == (where, section - 1)
        ]:
            self.change(question, section=section)

    # ── buttons, edits, deletions ─────────────────────────────────────────────────────────────
    async def press_retry(self, question: Question) -> None:
        """Retry a turn with the button; press again if a press had no effect.

        Platforms never deliver a press that happened while the bot was down.
        """
        thread, before = self.threads[question.where], self._opened(question)
        for _ in range(PRESSES):
            await self.world.driver.press(thread, "retry")
            if await self._comes(lambda: self._is_open_since(question, before), PRESSED_WITHIN):
                await self.wait_turn_done(question)
                return
            self.notes.append("a button was pressed again")
        raise NotWithin(f"an effect of the button under {question.name}")

    async def edit(self, question: Question, text: str, within: float | None = None) -> None:
        """Edit a question; the bot must notice `within` seconds and rewrite the reply in place."""
        await self.wait_turn_done(question)
        changed, before = self.change(question, edited=text), self._opened(question)
        thread, said = self.threads[question.where], self.native(question)
        spelled = f"{question.name}, {text}"
        await self.world.driver.edit(thread, said, spelled, mention=said == thread.question)
        await self._wait_reopened(changed, before, within or self.patience)
        await self.wait_turn_done(changed)

    async def delete(self, question: Question, within: float | None = None) -> None:
        """Delete a question; the bot must notice `within` seconds and delete the reply."""
        await self.wait_turn_done(question)
        self.change(question, gone=True)
        await self.world.driver.delete(self.threads[question.where], self.native(question))

        async def gone() -> bool:
            sql = "SELECT 1 FROM messages WHERE message_id = ? AND erased_at IS NOT NULL"
            return bool(self.world.query(sql, question.id))

        await self.until(gone, f"the end of {question.name}, which was deleted", within)
        await self.wait_turn_done(question)

    # ── the state of a question ───────────────────────────────────────────────────────────────
    async def wait_turn_done(self, question: Question) -> None:
        """Wait until the question's turn has ended."""

        async def is_done() -> bool:
            return self._turn(question, "state") == "done"

        await self.until(is_done, f"the end of the turn of {question.name}")

    def change(self, question: Question, **changes: Any) -> Question:
        """Update the record of a question; returns the new record."""
        number = next(n for n, one in enumerate(self.questions) if one.name == question.name)
        self.questions[number] = replace(self.questions[number], **changes)
        return self.questions[number]

    def native(self, question: Question) -> Any:
        """The message id as the platform's simulator expects it."""
        return int(question.id) if self.world.driver.name == "discord" else question.id

    def _turn(self, question: Question, column: str) -> Any:
        sql = f"SELECT turns.{column} FROM turns JOIN messages ON turns.id = turn_id"
        rows = self.world.query(f"{sql} WHERE message_id = ? AND kind = 'question'", question.id)
        return rows[0][0] if rows else None

    def _opened(self, question: Question) -> int:
        """The attempt at which the question's turn was last reopened."""
        return self._turn(question, "opened") or 0

    async def _is_open_since(self, question: Question, before: int) -> bool:
        return self._opened(question) > before

    async def _wait_reopened(self, question: Question, before: int, seconds: float) -> None:
        await self.until(
            lambda: self._is_open_since(question, before),
            f"another turn for {question.name}",
            seconds,
        )


@dataclass(slots=True)
class ControlScenario(UserActions):
    """Four people who change their minds, each in a separate thread."""

    async def prologue(self) -> None:
        """The bot has run before and is down."""
        await self.first_start()

    def people(self) -> list[Awaitable[None]]:
        """One coroutine for each person."""
        return [self._dave(), self._erin(), self._frank(), self._grace()]

    async def _dave(self) -> None:
        question = await self.begin("once more")
        await self.wait_answered(question)
        await self.wait_turn_done(question)
        await self.retry(question)
        await self.wait_answered(question)
        await self.press_retry(question)
        await self.wait_answered(question)

    async def _erin(self) -> None:
        question = await self.begin("at length", user="bob", words=250, rate=SLOW)
        await self.stop(question)

    async def _frank(self) -> None:
        question = await self.begin("at first")
        await self.wait_answered(question)
        await self.edit(question, "or rather otherwise")
        thread = self.threads[question.where]
        await self.reset(thread)
        await self.undo(thread)

    async def _grace(self) -> None:
        question = await self.begin("to be kept", user="bob")
        await self.wait_answered(question)
        secret = await self.ask(self.threads[question.where], "to be forgotten", user="bob")
        await self.wait_answered(secret)
        await self.delete(secret)
