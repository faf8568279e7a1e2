"""Uploads one reply's files to its Slack thread, finds them again and deletes them.

Slack shares a file some time after files.completeUploadExternal, without returning the message's ts
and without metadata. The file's name therefore carries the identity (turn, page) and a digest, and
the bot reads the thread until the message appears. A file is completed only once: after a lost
response, the bot looks for the file before uploading it again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import structlog

from adapters.slack.api import WebApi
from adapters.slack.rate_limits import COMPLETIONS, UPLOADS
from adapters.slack.removals import SlackRemovals
from adapters.slack.render import defuse_mentions
from adapters.slack.reply_thread import ReplyThread
from bot.common.retry import Backoff
from bot.domain.errors import FilesRefused, Gone, Refused, Throttled, Unsettled
from bot.domain.replies import File, Frame, Request, Shown, ShownPage
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

MAX_BYTES = 10_000_000
"""The largest upload, in bytes: Slack allows 1 GB, but only this much fits into a request's
timeout."""

SHARE_SECONDS = 10.0
"""Seconds to wait for a shared file; Slack usually needs a second to scan it."""

MAX_UPLOAD_FAILURES = 3
"""After this many failed uploads in one reply, code is sent as text: people wait for the rest."""

MAX_WAIT = 10.0
"""Code is sent as text if Slack accepts files only after this many seconds."""

SCOPES = (UPLOADS, COMPLETIONS)
"""The rate limits that apply to sharing a file."""

ALL_CHANNELS = ""
"""In `channels_without_files`, stands for every channel: Slack currently accepts no files."""

SEARCH_PAUSES = Backoff(first=0.2, longest=2.0)
"""Pauses between reads of the thread."""

DIGITS = 8
"""Hexadecimal digits of the digest: enough to distinguish the versions of one page."""

_NAME = re.compile(rf"\A.*-(?P<turn>\d+)-(?P<page>\d+)-[0-9a-f]{{{DIGITS}}}\.[^.]+")


def upload_name(turn: int, page: int, file: File) -> str:
    """The name under which people save the file; its title in Slack is `file.name`."""
    digest = hashlib.sha256(file.name.encode() + b"\0" + file.data).hexdigest()[:DIGITS]
    stem, _, ending = file.name.rpartition(".")
    return f"{stem}-{turn}-{page}-{digest}.{ending}"


def shared_file(message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The file in one of the bot's messages, if it is a page of a reply."""
    files = message.get("files")
    for file in files if isinstance(files, list) else ():
        if isinstance(file, dict) and _NAME.fullmatch(str(file.get("name"))) and file.get("id"):
            return file
    return None


def read_identity(message: Mapping[str, Any]) -> tuple[int, int] | None:
    """The turn and page in the name of a message's file."""
    file = shared_file(message)
    found = _NAME.fullmatch(str(file["name"])) if file is not None else None
    return (int(found["turn"]), int(found["page"])) if found is not None else None


def match_known_files(shown: Shown, frame: Frame, turn: int, render: Callable[[str], str]) -> Shown:
    """Mark each page in `shown` as up to date if its file has the right content."""
    pages = (_match_file(page, frame, turn, render) for page in shown.pages)
    return replace(shown, pages=tuple(pages))


def _match_file(
    page: ShownPage, frame: Frame, turn: int, render: Callable[[str], str]
) -> ShownPage:
    wanted = frame.pages[page.number] if page.number < len(frame.pages) else None
    if page.text is not None or page.file is None or wanted is None or wanted.file is None:
        return page
    if page.file.name != upload_name(turn, page.number, wanted.file):
        return page
    return replace(page, text=render(wanted.text), file=wanted.file, end=wanted.end, sealed=True)


class ReplyFiles:
    """The files of one turn's reply in `thread`.

    All turns share `channels_without_files`: the channels in which Slack refused a file a few
    minutes ago.
    """

    def __init__(
        self,
        *,
        api: WebApi,
        clock: Clock,
        thread: ReplyThread,
        removals: SlackRemovals,
        turn: int,
        channels_without_files: MutableMapping[str, bool],
        seconds: float = SHARE_SECONDS,
    ) -> None:
        self._api, self._clock, self._thread, self._turn = api, clock, thread, turn
        self._removals = removals
        self._channels_without_files, self._seconds = channels_without_files, seconds
        self._ids: dict[str, str] = {}  # by the message's ts
        self._maybe_shared: set[int] = set()  # pages whose file may still appear
        self._not_completed: set[int] = set()  # pages whose upload began and was never shown
        self._failures = 0

    @property
    def accepted(self) -> bool:
        """Whether Slack has not refused a file in this channel in the last few minutes."""
        channels = self._channels_without_files
        return self._thread.channel not in channels and ALL_CHANNELS not in channels

    def mark_maybe_shared(self, page: int) -> None:
        """Search for this page's file before uploading it: an earlier attempt may have shared
        it."""
        if page not in self._not_completed:
            self._maybe_shared.add(page)

    def register(self, message: Mapping[str, Any]) -> File | None:
        """Return the file in a message, recognized by its name; remembers its id for `delete`."""
        file = shared_file(message)
        if file is None:
            return None
        self._ids[str(message["ts"])] = str(file["id"])
        return File(str(file["name"]), "")

    async def share(self, request: Request, comment: str) -> str:
        """Share the request's file with `comment` above it; returns the message's ts.

        Raises FilesRefused if Slack refuses the file or repeatedly fails to accept it, and
        otherwise the errors of `Surface.perform`.
        """
        if not self.accepted and request.page not in self._maybe_shared:
            raise FilesRefused("Slack accepts no files here at the moment")
        try:
            return await self._share(request, comment)
        except FilesRefused:
            self._channels_without_files[self._thread.channel] = True
            raise
        except Throttled as error:
            if error.retry_after < MAX_WAIT or set(SCOPES).isdisjoint(error.scopes):
                raise
            self._api.rate_limiter.throttled(error.retry_after, *error.scopes)
            self._channels_without_files[ALL_CHANNELS] = True
            raise FilesRefused(f"files are throttled for {error.retry_after:g} s") from error

    async def _share(self, request: Request, comment: str) -> str:
        if request.file is None:
            raise ValueError("the request has no file")
        name = upload_name(self._turn, request.page, request.file)
        within = self._seconds if request.page in self._maybe_shared else 0.0
        found = await self._find(name, request.page, within)  # raises Gone without the thread
        if found is not None:
            return found
        if request.page not in self._maybe_shared:
            self._not_completed.add(request.page)
        file_id = await self._upload(name, request.file.data)
        self._not_completed.discard(request.page)
        self.mark_maybe_shared(request.page)
        await self._complete(file_id, request, comment)
        try:
            ts = await self._find(name, request.page, self._seconds)
        except Gone:
            # Slack may have shared it outside the deleted thread.
            await self._removals.remove_file(file_id)
            raise
        if ts is None:
            raise Unsettled("a shared file has not appeared in its thread")
        self._maybe_shared.discard(request.page)
        return ts

    @asynccontextmanager
    async def delete_after(self, ts: str) -> AsyncIterator[None]:
        """Wrap the deletion of a message, then delete its file as `delete` does."""
        file_id = self._ids.get(ts)
        if file_id is None:
            yield
            return
        async with self._removals.remove_file_after(file_id):
            yield
            self._ids.pop(ts, None)

    async def delete(self, ts: str) -> None:
        """Delete a removed message's file, which would otherwise stay in the workspace."""
        file_id = self._ids.pop(ts, None)
        if file_id is not None:
            await self._removals.remove_file(file_id)

    # ── the steps ─────────────────────────────────────────────────────────────────────────────
    async def _upload(self, name: str, data: bytes) -> str:
        try:
            response = await self._api.write_form(UPLOADS, filename=name, length=len(data))
            url, file_id = response.text("upload_url"), response.text("file_id")
            await self._api.upload(url, data)
        except (Gone, Refused) as error:
            raise _as_files_refused(error) from error
        except Unsettled as error:  # Slack shows nothing before the upload is completed
            self._failures += 1
            if self._failures >= MAX_UPLOAD_FAILURES:
                raise FilesRefused(f"the upload failed {self._failures} times") from error
            raise
        return file_id

    async def _complete(self, file_id: str, request: Request, comment: str) -> None:
        title = request.file.name if request.file is not None else ""
        try:
            await self._api.write_form(
                COMPLETIONS,
                files=json.dumps([{"id": file_id, "title": defuse_mentions(title)}]),
                channel_id=self._thread.channel,
                thread_ts=self._thread.root,
                initial_comment=comment,
            )
        except (Gone, Refused) as error:
            raise _as_files_refused(error) from error

    async def _find(self, name: str, page: int, seconds: float) -> str | None:
        """The ts of the message with the file `name`, if it appears within `seconds`.

        Deletes files left by an earlier version of this page. Raises Gone if the thread is gone.
        """
        until = self._clock.monotonic() + seconds
        for pause in SEARCH_PAUSES:
            found = await self._select(await self._thread.own_messages(), name, page)
            if found is not None or self._clock.monotonic() + pause > until:
                return found
            await self._clock.sleep(pause)
        return None

    async def _select(
        self, messages: Sequence[Mapping[str, Any]], name: str, page: int
    ) -> str | None:
        found = None
        for message in messages:
            file, ts = self.register(message), str(message["ts"])
            if file is not None and file.name == name and found is None:
                found = ts
            elif read_identity(message) == (self._turn, page):
                await self._removals.remove_message(ts)
                await self.delete(ts)
        return found


def _as_files_refused(error: Gone | Refused) -> Gone | Refused:
    """Convert a refusal of the file to FilesRefused; return an error about the channel
    unchanged."""
    if isinstance(error, Gone) and error.code != "missing_scope":
        return error
    return FilesRefused(str(error), code=error.code)
