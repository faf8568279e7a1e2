"""Readers of pictures and the detection of sound, in this process."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from bot.content.readers import images, task
from bot.content.readers.packing import Task, pack_extract, pack_task, unpack_extract, unpack_task
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.conversations import ImagePart
from bot.domain.errors import AttachmentError
from tests.support import reader_files as files


def read(data: bytes, name: str = "", *, media_type: str = "") -> Extract:
    return task.read(Task(name, media_type, data, 100))


def shown(part: ImagePart) -> Image.Image:
    image = Image.open(io.BytesIO(part.data))
    assert image.size == (part.width, part.height)
    assert image.format == {"image/png": "PNG", "image/jpeg": "JPEG"}[part.media_type]
    return image


def is_blue(image: Image.Image, at: tuple[int, int]) -> bool:
    red, _, blue = image.convert("RGB").getpixel(at)  # type: ignore[misc]
    return bool(blue > 150 and red < 100)


@pytest.mark.parametrize(
    ("form", "media_type", "becomes"),
    [
        ("PNG", "image/png", "image/png"),
        ("JPEG", "image/jpeg", "image/jpeg"),
        ("GIF", "image/gif", "image/png"),
        ("WEBP", "image/webp", "image/png"),
        ("BMP", "image/bmp", "image/png"),
        ("TIFF", "image/tiff", "image/png"),
        ("AVIF", "image/avif", "image/jpeg"),
    ],
)
def test_every_format_becomes_png_or_jpeg(form: str, media_type: str, becomes: str) -> None:
    found = read(files.picture(form), "lies.pdf", media_type="application/pdf")
    (part,) = found.images
    assert (found.kind, found.media_type) == (AttachmentKind.IMAGE, media_type)
    assert part.media_type == becomes
    assert is_blue(shown(part), (5, 20))
    assert not is_blue(shown(part), (55, 20))


def test_a_photo_of_an_iphone_is_read() -> None:
    (part,) = read((files.FIXTURES / "two-colors.heic").read_bytes()).images
    assert is_blue(shown(part), (5, 20))


def test_pictures_are_turned_upright_and_lose_their_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn right
    exif[0x010F] = "SecretCamera"
    data = files.picture("JPEG", exif=exif, icc_profile=b"profile" * 40, comment=b"SecretComment")
    (part,) = read(data).images
    image = shown(part)
    assert (part.width, part.height) == (40, 60)
    assert is_blue(image, (20, 5))
    assert b"Secret" not in part.data
    assert "icc_profile" not in image.info
    assert not image.getexif()


def test_large_pictures_are_scaled() -> None:
    (part,) = read(files.picture("PNG", (5_000, 1_000))).images
    assert (part.width, part.height) == (2_000, 400)
    (part,) = read(files.picture("JPEG", (6_000, 4_000))).images
    assert (part.width, part.height) == (2_000, 1_333)


def test_a_noisy_png_becomes_a_jpeg_below_the_limit() -> None:
    noise = Image.effect_noise((1_200, 1_200), 100).convert("RGB")
    sink = io.BytesIO()
    noise.save(sink, "PNG")
    (part,) = read(sink.getvalue()).images
    assert part.media_type == "image/jpeg"
    assert len(part.data) <= images.IMAGE_BYTES


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_color_mode_is_read(mode: str) -> None:
    sink = io.BytesIO()
    form = "TIFF" if mode in ("CMYK", "F", "I", "PA") else "PNG"
    image = Image.new("RGBA", (8, 8), (200, 100, 50, 128))
    gray = image.convert("L")
    made = (
        gray.convert(mode)
        if mode in ("I;16", "I", "F", "1", "L", "LA", "PA")
        else image.convert(mode)
    )
    try:
        made.save(sink, form)
    except OSError:
        pytest.skip("this mode cannot be written")
    (part,) = read(sink.getvalue()).images
    assert (part.width, part.height) == (8, 8)


def test_only_the_first_frame_of_an_animation_is_read() -> None:
    frames = [Image.new("RGB", (9, 9), color) for color in ("blue", "red")]
    sink = io.BytesIO()
    frames[0].save(sink, "GIF", save_all=True, append_images=frames[1:])
    found = read(sink.getvalue())
    assert is_blue(shown(found.images[0]), (4, 4))
    assert found.notes == ("Only the first picture of the animation was read.",)


@pytest.mark.parametrize(
    ("head", "name", "media_type", "expected"),
    [
        (b"ID3\x04", "a.mp3", "", "audio/mpeg"),
        (b"OggS\0\2" + b"\0" * 20 + b"OpusHead", "voice-message.ogg", "", "audio/ogg"),
        (b"RIFF\0\0\0\0WAVEfmt ", "a.wav", "", "audio/wav"),
        (b"fLaC\0\0", "a", "", "audio/flac"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "a.mp4", "", "audio/mp4"),
        (b"\0\0\0\x20ftypmp42\0\0\0\0", "clip.mp4", "audio/mp4", "audio/mp4"),
        (b"\x1a\x45\xdf\xa3\x01", "voice.webm", "audio/webm", "audio/webm"),
    ],
)
def test_sound_is_recognized_and_has_no_text(
    head: bytes, name: str, media_type: str, expected: str
) -> None:
    found = read(head + b"\0" * 100, name, media_type=media_type)
    assert found == Extract(kind=AttachmentKind.AUDIO, media_type=expected)


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\x20ftypisom\0\0\0\0" + b"\0" * 50,
        b"\x1a\x45\xdf\xa3" + b"\0" * 50,
        b"RIFF\0\0\0\0AVI LIST\0",
        b"\x7fELF\2\1\1",
        b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff" + b"\0" * 50,
        b"7z\xbc\xaf\x27\x1c\0\4",
        b"SQLite format 3\0\x10",
        b"\0asm\1\0\0\0",
    ],
    ids=["mp4", "webm", "avi", "elf", "exe", "7z", "sqlite", "wasm"],
)
def test_video_programs_and_others_are_unsupported(data: bytes) -> None:
    with pytest.raises(AttachmentError) as caught:
        read(data, "notes.txt", media_type="text/plain")
    assert caught.value.omission is Omission.UNSUPPORTED


def test_tasks_and_extracts_survive_the_pipe() -> None:
    given = Task("näme\n", "text/plain", b"\0\xffdata", 7)
    assert unpack_task(pack_task(given)) == given
    extract = Extract(
        kind=AttachmentKind.DOCUMENT,
        media_type="application/pdf",
        text="Text ☕",
        language="",
        title="T",
        date="D",
        images=(ImagePart("image/png", b"\0\1", 3, 4, "page 1"), ImagePart("image/png", b"", 1, 1)),
        notes=("A.", "B."),
    )
    assert unpack_extract(pack_extract(extract)) == extract
