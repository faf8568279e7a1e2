"""A scenario with files: three people ask about files they send, while the bot is killed.

Alice sends a log and a picture while the bot is down, Bob a document while it runs, and Grace a
file that is deleted before the bot reads it. Each request to the model has the files of its
questions, and no file is downloaded again once its bytes are stored.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.kills.scenario import Scenario
from tests.sims.model.answers import plain_text
from tests.sims.model.images import image_parts
from tests.support.attachment_driver import break_downloads, downloads
from tests.support.platform_driver import Files
from tests.support.small_files import png
from tests.support.transcript import Question, Verdict

LOG: Files = [("walrus.log", "text/plain", b"the walrus is full")]
PICTURE: Files = [("heron.png", "image/png", png())]
NOTES: Files = [("otter.md", "text/markdown", b"the otter is late")]
GONE: Files = [("dodo.txt", "text/plain", b"the dodo is gone")]
# How the texts of files begin in a request.
LABELS = ('File "', '(The image of "', '[Attachment "')


@dataclass(slots=True)
class AttachmentScenario(Scenario):
    """Three people with files, each in a separate thread."""

    settings: ClassVar[Mapping[str, str]] = {}

    wanted: dict[str, str] = field(default_factory=dict)  # each question's text in a request
    stored: dict[str, int] = field(default_factory=dict)  # downloads of files stored at a death

    # ── people ────────────────────────────────────────────────────────────────────────────────
    async def prologue(self) -> None:
        """The bot has run before and is down; Alice asks."""
        await self.first_start()
        await break_downloads(self.world.driver, "dodo", "gone")
        await self._send("the walrus is full", files=[*LOG, *PICTURE])

    def people(self) -> list[Awaitable[None]]:
        """One coroutine for each person."""
        return [self.wait_answered(self.questions[0]), self._bob(), self._grace()]

    async def _bob(self) -> None:
        await self.wait_answered(await self._send("the otter is late", files=NOTES, user="bob"))

    async def _grace(self) -> None:
        missing = '"dodo.txt": not readable, because it no longer exists'
        await self.wait_answered(await self._send(missing, files=GONE, user="bob"))

    async def _send(self, wanted: str, *, files: Files, user: str = "alice") -> Question:
        question = await self.begin("what is this?", user=user, files=files)
        self.wanted[question.name] = wanted
        return question

    # ── judging ───────────────────────────────────────────────────────────────────────────────
    async def check_after_death(self) -> None:
        """Also remember which files need no further download."""
        # `dataclass(slots=True)` makes a new class, which `super()` without arguments misses.
        await super(AttachmentScenario, self).check_after_death()
        rows = self.world.query("SELECT name FROM attachments WHERE digest IS NOT NULL")
        for (name,) in rows:
            self.stored.setdefault(name, len(await downloads(self.world.driver, name)))

    async def requests(self) -> Sequence[Mapping[str, Any]]:
        """The requests without their files, after asserting that each has the files of its
        questions."""
        found = await super(AttachmentScenario, self).requests()
        asked = {name for name in self.wanted if any(f"{name}, " in str(body) for body in found)}
        assert asked == set(self.wanted), "a question that no request has"
        return [self._without_files(copy.deepcopy(dict(body))) for body in found]

    def _without_files(self, body: dict[str, Any]) -> dict[str, Any]:
        for message in body["messages"]:
            if message["role"] != "user":
                continue
            parts = plain_text(message["content"]).split("\n\n")
            for name, wanted in self.wanted.items():
                if any(re.match(rf"(\w+: )?{name}", part) for part in parts):
                    self._check(name, wanted, parts, len(list(image_parts(message))))
            message["content"] = "\n\n".join(p for p in parts if not p.startswith(LABELS))
        return body

    def _check(self, name: str, wanted: str, parts: Sequence[str], images: int) -> None:
        texts = [part for part in parts if wanted in part and part.startswith(LABELS)]
        expected = 1 if name == self.questions[0].name else 0
        if len(texts) != 1 or images != expected:
            self.violations.append(f"files: {name} was asked with {parts}, {images} images")

    async def verdict(self) -> Verdict:
        """The judge's verdict, plus any repeated downloads."""
        for file, *_ in (*LOG, *PICTURE, *NOTES):
            count = len(await downloads(self.world.driver, file))
            if count != self.stored.get(file, count) or count > 1 + self.world.bot.deaths:
                self.violations.append(f"repeated: {count} downloads of {file}")
        return await super(AttachmentScenario, self).verdict()
