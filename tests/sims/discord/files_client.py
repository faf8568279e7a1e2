"""The part of `DiscordSim` for files: those that people send, and failures of the CDN."""

from __future__ import annotations

import base64
from typing import Any

from tests.sims.discord import constants as c
from tests.sims.kit import SimProcess

JSON = dict[str, Any]


class FilesClient(SimProcess):
    """The controls of files."""

    async def paste(
        self,
        text: str,
        content: str = "",
        *,
        user: int = c.ALICE,
        channel: int = c.CHANNEL,
        **more: Any,
    ) -> int:
        """Paste a text after `content`, as `message.txt` if both are too long for a message.

        `more` as in `say`.
        """
        return await self._id(
            "paste", user=user, channel=channel, text=text, content=content, **more
        )

    async def voice(
        self, audio: bytes, *, user: int = c.ALICE, channel: int = c.CHANNEL, **more: Any
    ) -> int:
        """Send a voice message and return its id. `more`: seconds, reply_to."""
        sent = base64.b64encode(audio).decode()
        return await self._id("voice", user=user, channel=channel, audio=sent, **more)

    async def forward(self, message: int, *, user: int = c.ALICE, channel: int = c.CHANNEL) -> int:
        """Forward a message and return the new message's id."""
        return await self._id("forward", user=user, channel=channel, message=message)

    async def set_cdn(self, **settings: Any) -> None:
        """lifetime (seconds until a new URL expires), expired_status, base (another host)."""
        await self.call("set_cdn", **settings)

    async def spoil_downloads(
        self, kind: str, times: int = 1, match: str = "", target: str = ""
    ) -> None:
        """Spoil the next downloads: endless, slow, truncated, page (HTML), gzip (only declared),
        redirect (to `target`), partial (206)."""
        await self.call("spoil_downloads", kind=kind, times=times, match=match, target=target)

    async def file(self, message: JSON, number: int = 0) -> bytes:
        """The bytes of a message's attachment, from the simulated CDN."""
        url = await self.call("file_url", message=message["id"], number=number)
        async with self._session.get(url) as response:
            assert response.status == 200, response.status
            return await response.read()

    async def _id(self, name: str, /, **body: Any) -> int:
        found = await self.call(name, **body)
        assert isinstance(found, int)
        return found

    async def _json(self, name: str, /, **body: Any) -> JSON:
        found = await self.call(name, **body)
        assert isinstance(found, dict)
        return found
