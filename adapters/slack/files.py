"""Files of one reply in Slack: uploaded, shared in the thread, found again, and deleted.

Slack shares a file some time after it has said yes, tells no ts, and takes no metadata with it: the
file's name carries the identity (turn, page) and a digest, and the thread is read until the message
is there. A file is completed once; after a lost answer it is looked for before it goes up again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from adapters.slack.api import COMPLETIONS, FILE_DELETIONS, UPLOADS, WebApi
from adapters.slack.render import harmless
from bot.domain.errors import FilesRefused, Gone, PlatformError, Refused, Unsettled
from bot.domain.replies import File, Frame, Request, Shown, ShownPage
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

MOST_BYTES = 10_000_000
"""Slack takes 1 GB; this much goes up within the time limit of a request."""

SHARE_SECONDS = 10.0
"""How long a shared file may take to appear: Slack looks into it first, usually for a second."""

UPLOAD_TRIES = 3
"""So many failed uploads in one reply, and the code goes as text: people wait for the rest."""

PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between looks into the thread; the last is repeated."""

DIGITS = 8
"""Hexadecimal digits of the digest: two texts of one page that share them are not to be feared."""

_NAME = re.compile(rf"\A.*-(?P<turn>\d+)-(?P<page>\d+)-[0-9a-f]{{{DIGITS}}}\.[^.]+")

Messages = Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]


def upload_name(turn: int, page: int, file: File) -> str:
    """What the file is called when people save it; its title is the plain name."""
    digest = hashlib.sha256(file.name.encode() + b"\0" + file.data).hexdigest()[:DIGITS]
    stem, _, ending = file.name.rpartition(".")
    return f"{stem}-{turn}-{page}-{digest}.{ending}"


def file_of(message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The file that a message of ours shares, if it is a page of a reply."""
    files = message.get("files")
    for file in files if isinstance(files, list) else ():
        if isinstance(file, dict) and _NAME.fullmatch(str(file.get("name"))) and file.get("id"):
            return file
    return None


def identified(message: Mapping[str, Any]) -> tuple[int, int] | None:
    """The turn and page of a message with a file, by the file's name."""
    file = file_of(message)
    found = _NAME.fullmatch(str(file["name"])) if file is not None else None
    return (int(found["turn"]), int(found["page"])) if found is not None else None


def recognised(shown: Shown, frame: Frame, turn: int, render: Callable[[str], str]) -> Shown:
    """`shown`, with the pages known whose file, found again, is the one that they should have."""
    return replace(shown, pages=tuple(_known(page, frame, turn, render) for page in shown.pages))


def _known(page: ShownPage, frame: Frame, turn: int, render: Callable[[str], str]) -> ShownPage:
    wanted = frame.pages[page.number] if page.number < len(frame.pages) else None
    if page.text is not None or page.file is None or wanted is None or wanted.file is None:
        return page
    if page.file.name != upload_name(turn, page.number, wanted.file):
        return page
    return replace(page, text=render(wanted.text), file=wanted.file, end=wanted.end, sealed=True)


class Files:
    """The files of one turn; `messages` reads what the bot wrote in the thread, and `remove`
    removes a message (by its ts) with its file.
    """

    def __init__(
        self,
        *,
        api: WebApi,
        clock: Clock,
        channel: str,
        thread: str,
        turn: int,
        messages: Messages,
        remove: Callable[[str], Awaitable[None]],
        seconds: float = SHARE_SECONDS,
    ) -> None:
        self._api, self._clock = api, clock
        self._messages, self._remove = messages, remove
        self._channel, self._thread, self._turn = channel, thread, turn
        self._seconds = seconds
        self._ids: dict[str, str] = {}  # by the message's ts
        self._doubtful: set[int] = set()  # pages that may yet appear
        self._unfinished: set[int] = set()  # of which an upload failed before anything was shown
        self._failures = 0

    def doubt(self, page: int) -> None:
        """An earlier attempt may have shared this page: it is looked for before it goes up."""
        if page not in self._unfinished:
            self._doubtful.add(page)

    def is_doubtful(self, page: int) -> bool:
        """Whether the page may have been shared, so that it is not to be given up unseen."""
        return page in self._doubtful

    def found(self, message: Mapping[str, Any]) -> File | None:
        """The file that a message shares, by its name alone; it is remembered for `forget`."""
        file = file_of(message)
        if file is None:
            return None
        self._ids[str(message["ts"])] = str(file["id"])
        return File(str(file["name"]), "")

    async def share(self, request: Request, comment: str) -> str:
        """Show the file of a request below `comment`; the ts of the message.

        Raises FilesRefused when Slack takes no file, or fails at it again and again; else as
        `Surface.perform`.
        """
        if request.file is None:
            raise ValueError("the request has no file")
        name = upload_name(self._turn, request.page, request.file)
        within = self._seconds if request.page in self._doubtful else 0.0
        there = await self._look_for(name, request.page, within)  # Gone, when the thread is
        if there is not None:
            return there
        if request.page not in self._doubtful:
            self._unfinished.add(request.page)
        file_id = await self._upload(name, request.file.data)
        self._unfinished.discard(request.page)
        self.doubt(request.page)
        await self._complete(file_id, request, comment)
        try:
            ts = await self._look_for(name, request.page, self._seconds)
        except Gone:
            await self._delete(file_id)  # wherever Slack has shown it without its thread
            raise
        if ts is None:
            raise Unsettled("a shared file has not appeared in its thread")
        self._doubtful.discard(request.page)
        return ts

    async def forget(self, ts: str) -> None:
        """The message is removed: delete its file, which would stay among the workspace's."""
        file_id = self._ids.pop(ts, None)
        if file_id is not None:
            await self._delete(file_id)

    # ── the steps ─────────────────────────────────────────────────────────────────────────────
    async def _upload(self, name: str, data: bytes) -> str:
        try:
            answer = await self._api.write_form(UPLOADS, filename=name, length=len(data))
            url, file_id = answer.text("upload_url"), answer.text("file_id")
            await self._api.upload(url, data)
        except (Gone, Refused) as error:
            raise _of_file(error) from error
        except Unsettled as error:  # nothing is shown before it is completed
            self._failures += 1
            if self._failures >= UPLOAD_TRIES:
                raise FilesRefused(f"the upload failed {self._failures} times") from error
            raise
        return file_id

    async def _complete(self, file_id: str, request: Request, comment: str) -> None:
        title = request.file.name if request.file is not None else ""
        try:
            await self._api.write_form(
                COMPLETIONS,
                files=json.dumps([{"id": file_id, "title": harmless(title)}]),
                channel_id=self._channel,
                thread_ts=self._thread,
                initial_comment=comment,
            )
        except (Gone, Refused) as error:
            raise _of_file(error) from error

    async def _look_for(self, name: str, page: int, seconds: float) -> str | None:
        """The message with the file of this name, if it is there within so many seconds.

        Another file of this page is an earlier text's, and goes. Raises Gone when the thread is.
        """
        until, looks = self._clock.monotonic() + seconds, 0
        while True:
            there = await self._among(await self._messages(), name, page)
            pause = PAUSES[min(looks, len(PAUSES) - 1)]
            if there is not None or self._clock.monotonic() + pause > until:
                return there
            await self._clock.sleep(pause)
            looks += 1

    async def _among(
        self, messages: Sequence[Mapping[str, Any]], name: str, page: int
    ) -> str | None:
        there = None
        for message in messages:
            file, ts = self.found(message), str(message["ts"])
            if file is not None and file.name == name and there is None:
                there = ts
            elif identified(message) == (self._turn, page):
                await self._remove(ts)
        return there

    async def _delete(self, file_id: str) -> None:
        try:
            await self._api.paced_write(FILE_DELETIONS, file=file_id)
        except PlatformError as error:
            log.warning("a file could not be deleted", file=file_id, error=repr(error))


def _of_file(error: Gone | Refused) -> Gone | Refused:
    """A refusal of the file alone as FilesRefused; what concerns the place stays as it is."""
    if isinstance(error, Gone) and str(error) != "missing_scope":
        return error
    return FilesRefused(str(error))
