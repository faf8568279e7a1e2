"""Prepares pictures: upright, without metadata, scaled, and in a format every provider accepts."""

from __future__ import annotations

import io
from typing import cast

import pi_heif
from PIL import Image, ImageFile

from bot.content.readers.budget import IMAGE_BYTES, IMAGE_SIDE, JPEG_PIXELS, PIXELS
from bot.domain import attachment_texts
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.conversations import ImagePart
from bot.domain.errors import AttachmentError

PNG_BYTES = 2 * 1024 * 1024
"""A larger PNG is a photo, or looks good as a JPEG."""

_FORMATS = {
    "image/png": ["PNG"], "image/jpeg": ["JPEG", "MPO"], "image/gif": ["GIF"],
    "image/webp": ["WEBP"], "image/bmp": ["BMP"], "image/tiff": ["TIFF"],
    "image/avif": ["AVIF"], "image/heic": ["HEIF"],
}  # fmt: skip

# `pixels` checks before decoding; Pillow's check would only warn below twice its limit.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = True  # as people's clients do; some phones write such files
pi_heif.options.DECODE_THREADS = 1  # each thread takes 64 MB of address space
pi_heif.register_heif_opener()
Image.init()  # imports the decoders now: the child may not open files later


def read(media_type: str, data: bytes) -> Extract:
    """Read a picture. Raises AttachmentError: EXPANDS for too many pixels, DAMAGED."""
    with Image.open(io.BytesIO(data), formats=_FORMATS[media_type]) as image:
        several = media_type in _SERIES and bool(getattr(image, "is_animated", False))
        part = encode(_load(image), photo=media_type in _PHOTOS)
    notes: tuple[str, ...] = ()
    if several:
        paper = media_type == "image/tiff"
        notes = (
            attachment_texts.IMAGE_FIRST_PAGE if paper else attachment_texts.ANIMATION_FIRST_FRAME,
        )
    return Extract(kind=AttachmentKind.IMAGE, media_type=media_type, images=(part,), notes=notes)


_SERIES = frozenset({"image/gif", "image/png", "image/webp", "image/tiff"})
_PHOTOS = frozenset({"image/jpeg", "image/heic", "image/avif"})


def encode(image: Image.Image, *, photo: bool, label: str = "") -> ImagePart:
    """Encode a picture as PNG, which keeps text sharp; photos and large pictures as JPEG."""
    data, media_type = b"", "image/png"
    if not photo:
        data = _save(image, "PNG", optimize=False)
    if photo or len(data) > PNG_BYTES:
        data, media_type = _jpeg(image), "image/jpeg"
    return ImagePart(media_type, data, image.width, image.height, label)


def _load(image: Image.Image) -> Image.Image:
    """Decode the first frame, scaled and upright."""
    _check_pixels(image)
    if image.format in ("JPEG", "MPO"):
        image.draft(None, (IMAGE_SIDE, IMAGE_SIDE))  # decodes at a fraction of the size
    orientation = image.getexif().get(_ORIENTATION, 1)
    scaled = scale(_simple(image))
    return scaled.transpose(_TURNS[orientation]) if orientation in _TURNS else scaled


_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def scale(image: Image.Image) -> Image.Image:
    """Scale a picture to at most `IMAGE_SIDE` pixels a side."""
    longest = max(image.size)
    if longest <= IMAGE_SIDE:
        return image.copy()
    size = [max(1, round(side * IMAGE_SIDE / longest)) for side in image.size]
    return image.resize((size[0], size[1]), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _check_pixels(image: Image.Image) -> None:
    limit = JPEG_PIXELS if image.format in ("JPEG", "MPO") else PIXELS
    if image.width * image.height > limit:
        raise AttachmentError(Omission.EXPANDS, f"{image.width}x{image.height}")
    if not image.width or not image.height:
        raise AttachmentError(Omission.EMPTY)


def _simple(image: Image.Image) -> Image.Image:
    """Convert the image to mode L, RGB or RGBA."""
    if image.mode in ("L", "RGB", "RGBA"):
        image.load()
        return image
    if image.mode.startswith(("I", "F")):
        return _gray_of_depth(image)
    transparent = image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info
    if transparent:
        return image.convert("RGBA")
    return image.convert("L" if image.mode == "1" else "RGB")


def _gray_of_depth(image: Image.Image) -> Image.Image:
    """Stretch 16-bit or 32-bit gray to 8 bits; a plain conversion would clip it."""
    values = image.convert("F")
    low, high = cast(tuple[float, float], values.getextrema())
    factor = 255.0 / (high - low or 1.0)
    return values.point(lambda value: value * factor - low * factor).convert("L")


def _jpeg(image: Image.Image) -> bytes:
    flat = image
    if image.mode == "RGBA":
        flat = Image.new("RGB", image.size, "white")
        flat.paste(image, mask=image.getchannel("A"))
    for quality in (88, 75, 50, 25):
        data = _save(flat, "JPEG", quality=quality)
        if len(data) <= IMAGE_BYTES:
            return data
    raise AttachmentError(Omission.TOO_LARGE, "jpeg")


def _save(image: Image.Image, form: str, **options: object) -> bytes:
    """Encode without EXIF, color profile and comments."""
    bare = image.copy() if image.info else image
    bare.info.clear()
    sink = io.BytesIO()
    bare.save(sink, form, exif=b"", icc_profile=None, **options)
    return sink.getvalue()
