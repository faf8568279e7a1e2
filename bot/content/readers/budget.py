"""Limits on reading one file, and a counter of the remaining CPU time.

They end a reader early and keep what it has read so far. The kernel's limits
(`bot.content.extraction.LIMITS`) would lose the whole result.
"""

from __future__ import annotations

import time

TEXT_CHARACTERS = 400_000
"""About 100,000 tokens: more than a turn can use of one file."""

EXPANDED_BYTES = 200 * 1024 * 1024
"""An archive's or office file's size when unpacked; files of 20 MB expand tenfold at most."""

EXPANDED_MEMBERS = 20_000
"""Files in an office file: each costs a parser some memory."""

IMAGES = 8
"""Pages or pictures of one document that are added as images."""

IMAGES_BYTES = 20 * 1024 * 1024
"""All images of one file together."""

IMAGE_BYTES = 5 * 1024 * 1024
"""One image; the smallest limit of the usual providers."""

IMAGE_SIDE = 2_000
"""Pixels; larger images are scaled down by most providers."""

PIXELS = 64_000_000
"""An image with more is not decoded: 64 million take 200 MB."""

JPEG_PIXELS = 250_000_000
"""A JPEG can be decoded at an eighth of its size, so that phones' 200 megapixels are readable."""

SOFT_SECONDS = 8.0
"""CPU time after which a document's further pages are left out."""


class CpuTime:
    """CPU time of this task."""

    def __init__(self, seconds: float = SOFT_SECONDS) -> None:
        self._end = time.process_time() + seconds

    def is_over(self) -> bool:
        """Whether the task used up its soft limit."""
        return time.process_time() > self._end
