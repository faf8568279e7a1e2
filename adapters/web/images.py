"""Images that browsers can show without running anything, recognized by their bytes rather than
by a name or a declared type."""

from __future__ import annotations

PNG, JPEG, GIF, WEBP = "image/png", "image/jpeg", "image/gif", "image/webp"
RASTER_TYPES = frozenset({PNG, JPEG, GIF, WEBP})


def raster_type(data: bytes) -> str | None:
    """The media type of a raster image, from its first bytes; None for everything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if data.startswith(b"\xff\xd8\xff"):
        return JPEG
    if data.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WEBP
    return None
