"""People in control, to be killed in: stop, again, an edit, a deletion, start over and back.

What somebody did is done once and for all, whatever happens to the process: words after a mention,
edits and deletions are found again by reading; a button is pressed again by who sees no effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tests.kills.script import NotWithin, Scene
from tests.support.scenes import ThreadRef
from tests.support.transcript import Asked

SLOW = 8.0  # tokens a second: one to be stopped takes longer than a death and a new start
PRESSES = 6  # of one button, until somebody gives up
PRESSED_WITHIN = 4.0  # seconds until a press shows its effect


@dataclass(slots=True)
class Acts(Scene):
    """What people can do beside asking; each returns when it is certain."""

    settings: ClassVar[Mapping[str, str]] = {"DELETE_REPLY_WITH_QUESTION": "true"}

    # ── words after a mention ─────────────────────────────────────────────────────────────────
    async def word(self, place: ThreadRef, word: str) -> str:
        """Say it, and wait until it is recorded; gives the message's id."""
        said = str(await self.world.stage.mention_in(place, word))
        self.commands.append(said)

        async def recorded() -> bool:
            return self.recorded(said)

        await self.until(recorded, f"the record of {word!r}")
        return said

    async def retry(self, asked: Asked) -> None:
        """Have it answered once more, in words."""
        before = self._opened(asked)
        await self.word(self.places[asked.where], "retry")
        await self._opened_since(asked, before, self.patience)
        await self.over(asked)

    async def stop(self, asked: Asked) -> None:
        """Once its first words are there, have them be the last."""
        await self.until(lambda: self.shows(asked, 0), f"the first words for {asked.name}")
        await self.word(self.places[asked.where], "stop")
        self.change(asked, ends="stopped")
        await self.over(asked)

    async def undo(self, place: ThreadRef) -> None:
        """Take the last reset back: what was said before it counts again."""
        await self.word(place, "undo")
        where = self.world.location(place)
        section = self.sections[where]
        for asked in [
            one for one in self.asked if (one.where, one.section) == (where, section - 1)
        ]:
            self.change(asked, section=section)

    # ── buttons, edits, deletions ─────────────────────────────────────────────────────────────
    async def press_retry(self, asked: Asked) -> None:
        """Have it answered once more, by the button: again when a press had no effect.

        A platform tells a bot that is down nothing of a press, and never again.
        """
        place, before = self.places[asked.where], self._opened(asked)
        for _ in range(PRESSES):
            await self.world.stage.press(place, "retry")
            if await self._comes(lambda: self._is_open_since(asked, before), PRESSED_WITHIN):
                await self.over(asked)
                return
            self.notes.append("a button was pressed again")
        raise NotWithin(f"an effect of the button under {asked.name}")

    async def edit(self, asked: Asked, text: str, within: float | None = None) -> None:
        """Change its text, which is answered again in place; learned of `within` so many s."""
        await self.over(asked)
        changed, before = self.change(asked, edited=text), self._opened(asked)
        place, said = self.places[asked.where], self.native(asked)
        spelled = f"{asked.name}, {text}"
        await self.world.stage.edit(place, said, spelled, mention=said == place.question)
        await self._opened_since(changed, before, within or self.patience)
        await self.over(changed)

    async def delete(self, asked: Asked, within: float | None = None) -> None:
        """Take it back, with its answer; learned of `within` so many seconds."""
        await self.over(asked)
        self.change(asked, gone=True)
        await self.world.stage.delete(self.places[asked.where], self.native(asked))

        async def gone() -> bool:
            sql = "SELECT 1 FROM messages WHERE message_id = ? AND erased_at IS NOT NULL"
            return bool(self.world.look(sql, asked.id))

        await self.until(gone, f"the end of {asked.name}, which was deleted", within)
        await self.over(asked)

    # ── the state of a question ───────────────────────────────────────────────────────────────
    async def over(self, asked: Asked) -> None:
        """Wait until its turn is at its end."""

        async def done() -> bool:
            return self._turn(asked, "state") == "done"

        await self.until(done, f"the end of the turn of {asked.name}")

    def change(self, asked: Asked, **changes: Any) -> Asked:
        """Note what became of a question; gives it as it is now."""
        number = next(n for n, one in enumerate(self.asked) if one.name == asked.name)
        self.asked[number] = replace(self.asked[number], **changes)
        return self.asked[number]

    def native(self, asked: Asked) -> Any:
        """Its id as the platform's simulator takes it."""
        return int(asked.id) if self.world.stage.name == "discord" else asked.id

    def _turn(self, asked: Asked, column: str) -> Any:
        sql = f"SELECT turns.{column} FROM turns JOIN messages ON turns.id = turn_id"
        rows = self.world.look(f"{sql} WHERE message_id = ? AND kind = 'question'", asked.id)
        return rows[0][0] if rows else None

    def _opened(self, asked: Asked) -> int:
        """The attempt at which it was last opened again."""
        return self._turn(asked, "opened") or 0

    async def _is_open_since(self, asked: Asked, before: int) -> bool:
        return self._opened(asked) > before

    async def _opened_since(self, asked: Asked, before: int, seconds: float) -> None:
        await self.until(
            lambda: self._is_open_since(asked, before), f"another turn for {asked.name}", seconds
        )


@dataclass(slots=True)
class Control(Acts):
    """Four people who change their minds, each in a place of their own."""

    async def prologue(self) -> None:
        """The bot has run before, and is down."""
        await self.first_start()

    def people(self) -> list[Awaitable[None]]:
        """What each of them does."""
        return [self._dave(), self._erin(), self._frank(), self._grace()]

    async def _dave(self) -> None:
        question = await self.begin("once more")
        await self.answered(question)
        await self.over(question)
        await self.retry(question)
        await self.answered(question)
        await self.press_retry(question)
        await self.answered(question)

    async def _erin(self) -> None:
        question = await self.begin("at length", user="bob", words=250, rate=SLOW)
        await self.stop(question)

    async def _frank(self) -> None:
        question = await self.begin("at first")
        await self.answered(question)
        await self.edit(question, "or rather otherwise")
        place = self.places[question.where]
        await self.reset(place)
        await self.undo(place)

    async def _grace(self) -> None:
        question = await self.begin("to be kept", user="bob")
        await self.answered(question)
        secret = await self.ask(self.places[question.where], "to be forgotten", user="bob")
        await self.answered(secret)
        await self.delete(secret)
