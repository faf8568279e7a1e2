"""Limits on reading one file, and a counter of the remaining CPU time.

At these limits a reader stops early and keeps what it has read so far. The kernel's limits
(`bot.content.extraction.LIMITS`) would lose the whole result.
"""

from __future__ import annotations

import time

TEXT_CHARACTERS = 400_000
"""About 100,000 tokens: more of one file than a turn can use."""

EXPANDED_BYTES = 200 * 1024 * 1024
"""The largest unpacked size of an archive or office file; files of 20 MB expand at most tenfold."""

EXPANDED_MEMBERS = 20_000
"""Files in an office file: each costs a parser some memory."""

IMAGES = 8
"""Pages or pictures of one document that are added as images."""

IMAGES_BYTES = 20 * 1024 * 1024
"""The limit for all images of one file together."""

IMAGE_BYTES = 5 * 1024 * 1024
"""The limit for one image: the smallest limit among the usual providers."""

IMAGE_SIDE = 2_000
"""Pixels; larger images are scaled down by most providers."""

PIXELS = 64_000_000
"""Images with more pixels are not decoded: 64 million pixels take 200 MB."""

JPEG_PIXELS = 250_000_000
"""The limit for a JPEG, decoded at an eighth of its size: phones' 200 megapixels fit."""

SOFT_SECONDS = 8.0
"""CPU seconds after which the remaining pages of a document are left out."""


class CpuTime:
    """Measures this task's CPU time."""

    def __init__(self, seconds: float = SOFT_SECONDS) -> None:
        self._end = time.process_time() + seconds

    def is_over(self) -> bool:
        """Whether the task used up its soft limit."""
        return time.process_time() > self._end
