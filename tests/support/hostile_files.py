"""Files that attack parsers, and mutations of valid files."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping

from bot.domain.attachments import Omission
from tests.support import reader_files as files

MEGABYTE = 1024 * 1024


def bombs() -> Mapping[str, tuple[bytes, Omission]]:
    """Small files that unpack into something huge, each with the expected reason for its
    refusal."""
    zeros = "A" * (300 * MEGABYTE)
    text = f"<w:p><w:r><w:t>{zeros}</w:t></w:r></w:p>"
    return {
        "docx of 300 MB": (files.docx(text), Omission.EXPANDS),
        "png of 3.6 gigapixels": (_png(60_000, 60_000), Omission.EXPANDS),
        "gif of 4 gigapixels": (_gif(65_000, 65_000), Omission.EXPANDS),
        "bmp of 4 gigapixels": (_bmp(65_000, 65_000), Omission.EXPANDS),
        "gzip of 300 MB": (gzip.compress(zeros.encode()), Omission.EXPANDS),
        "xlsx of many members": (
            files.zipped({
                **{f"xl/x{number}": "" for number in range(25_000)},
                **_members(files.xlsx({"S": [["a"]]})),
            }),
            Omission.EXPANDS,
        ),
    }  # fmt: skip


def _members(data: bytes) -> Mapping[str, bytes]:
    archive = zipfile.ZipFile(io.BytesIO(data))
    return {name: archive.read(name) for name in archive.namelist()}


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", zlib.compress(b"\0" * 1_000))
        + chunk(b"IEND", b"")
    )


def _gif(width: int, height: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0)
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0" * 6
    return head + frame + b"\2\1\0\0;"


def _bmp(width: int, height: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head + b"\0" * 64


def entities() -> Iterator[tuple[str, bytes]]:
    """XML with entities that expand, or that refer to files and servers."""
    levels = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    laughs = f'<!DOCTYPE x [<!ENTITY a0 "lol">{levels}]>'
    external = '<!DOCTYPE x [<!ENTITY a11 SYSTEM "file:///etc/passwd">]>'
    remote = '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd" [<!ENTITY a11 SYSTEM "http://127.0.0.1:9/">]>'
    body = "<w:p><w:r><w:t>before &a11; after</w:t></w:r></w:p>"
    for name, prolog in (("laughs", laughs), ("file", external), ("server", remote)):
        yield f"docx {name}", files.docx(body, prolog)
        yield f"docx late {name}", files.docx(body, f"<!-- {'x' * 6_000} -->{prolog}")
        yield f"svg {name}", f"{prolog}<svg><text>&a11;</text></svg>".encode()
        yield f"html {name}", f"{prolog}<html><body>&a11; text</body></html>".encode()


def nested() -> Iterator[tuple[str, bytes]]:
    """Structures nested so deeply that a recursive parser exhausts its stack."""
    depth = 50_000
    # Lexbor's time grows with the square of the depth: 50,000 run into the limit of CPU time.
    yield "html", b"<html><body>" + b"<div>" * (depth // 5) + b"deep" + b"</div>" * depth
    yield "html lists", b"<html><body>" + b"<ul><li>" * (depth // 10) + b"deep"
    yield "html tables", b"<html><body>" + b"<table><tr><td>" * (depth // 10) + b"deep"
    yield (
        "docx",
        files.docx("<w:tbl><w:tr><w:tc>" * depth + "<w:p/>" + "</w:tc></w:tr></w:tbl>" * depth),
    )
    yield "docx runs", files.docx("<w:p>" * depth + "</w:p>" * depth)
    yield "odt", files.odt("<text:span>" * depth + "deep" + "</text:span>" * depth)
    yield "epub", files.epub(["<div>" * depth + "deep" + "</div>" * depth])
    yield "rtf", b"{\\rtf1 " + b"{" * depth + b"deep" + b"}" * depth
    yield "pdf arrays", files.pdf(["deep"], extra=["/X " + "[" * depth + "]" * depth])
    yield "json", b"[" * depth + b"]" * depth
    mail = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(5_000)
    )
    yield "mail", b"From: a@b\nTo: c@d\nSubject: x\n" + mail + b"\ndeep"
    inner = b"x"
    for _ in range(60):
        inner = files.zipped({"inner.zip": inner})
    yield "zip", inner


def loops() -> Iterator[tuple[str, bytes]]:
    """Structures that refer to themselves, or that claim to be endless."""
    yield "pdf pages", files.assemble_pdf([
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [2 0 R 3 0 R] /Count 2000000000 >>",
        b"<< /Type /Pages /Kids [2 0 R] /Count 1000000000 /Parent 2 0 R >>",
        b"<< >>", b"<< >>",
    ])  # fmt: skip
    yield "pdf outline", files.pdf(["text"], extra=["/Outlines << /First 1 0 R /Next 1 0 R >>"])
    itself = b"/Resources << /XObject << /X 4 0 R >> >>"
    page = b"/Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 6 0 R "
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Length 5 "
    yield "pdf form", files.assemble_pdf([
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< " + page + itself + b" >>",
        b"<< " + form + itself + b" >>\nstream\n/X Do\nendstream",
        b"<< >>",
        b"<< /Length 5 >>\nstream\n/X Do\nendstream",
    ])  # fmt: skip
    yield "pdf page of a mile", files.pdf([None]).replace(b"[0 0 595 842]", b"[0 0 9e9 9e9]")
    yield "pdf thin page", files.pdf([None]).replace(b"[0 0 595 842]", b"[0 0 .01 99]")
    paint = "0 0 m " + "9 9 99 999 9 0 c " * 400_000 + "f"
    yield "pdf of curves", _pdf_content(paint.encode())
    yield "pdf of patterns", _pdf_content(b"q 1 0 0 1 1 1 cm " * 300_000)
    yield "xlsx of one far cell", _far_cell()


def _pdf_content(content: bytes) -> bytes:
    packed = zlib.compress(content)
    return files.assemble_pdf([
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 999 999] /Contents 4 0 R >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed),
        b"<< >>",
    ])  # fmt: skip


def _far_cell() -> bytes:
    members = dict(_members(files.xlsx({"S": [["a"]]})))
    sheet = members["xl/worksheets/sheet1.xml"]
    far = b'<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>far</t></is></c></row>'
    end = b"</sheetData>"
    members["xl/worksheets/sheet1.xml"] = sheet.replace(end, far + end)
    return files.zipped(members)


def slow_page() -> bytes:
    """A web page that takes minutes to parse: Lexbor's time grows with the square of the depth."""
    return b"<html><body>" + b"<ul><li>" * 200_000


def scripted_pdf() -> bytes:
    """A PDF whose actions would write a file, open a page and start a program."""
    actions = (
        "/OpenAction << /S /JavaScript /JS (app.launchURL\\('http://127.0.0.1:9/'\\)) >>",
        "/AA << /WC << /S /Launch /F (/bin/sh) >> >>",
    )
    return files.pdf(["visible"], extra=actions)


def polyglots() -> Iterator[tuple[bytes, str]]:
    """Files that are valid in two formats, with the media type that their first bytes suggest."""
    zipped = files.zipped({"a.txt": "x"})
    yield files.picture("PNG") + zipped, "image/png"
    yield files.picture("GIF") + files.pdf(["x"]), "image/gif"
    yield files.picture("JPEG") + b"<script>alert(1)</script>", "image/jpeg"
    yield files.pdf(["x"]) + zipped, "application/pdf"
    yield zipped + files.pdf(["x"]), "application/zip"


def seeds() -> Mapping[str, bytes]:
    """Valid files of every kind, to mutate."""
    return {
        "a.pdf": files.pdf(["First page\nwith lines", None, "Third"], title="T"),
        "a.docx": files.docx_paragraphs(["One", "Two", "Three"]),
        "a.xlsx": files.xlsx({"S": [["a", 1], ["b", 2.5]], "T": [["x"]]}),
        "a.pptx": files.pptx(["One", "Two"]),
        "a.odt": files.odt("Text"),
        "a.ods": files.ods("S", "x"),
        "a.epub": files.epub(["Text", "More"]),
        "a.xls": (files.FIXTURES / "sales.xls").read_bytes(),
        "a.rtf": rb"{\rtf1\ansi{\fonttbl{\f0 Arial;}}Hello {\b bold} \u8364? world\par}",
        "a.png": files.picture("PNG"),
        "a.jpg": files.picture("JPEG"),
        "a.gif": files.picture("GIF"),
        "a.webp": files.picture("WEBP"),
        "a.tif": files.picture("TIFF"),
        "a.bmp": files.picture("BMP"),
        "a.avif": files.picture("AVIF"),
        "a.heic": (files.FIXTURES / "two-colors.heic").read_bytes(),
        "a.html": b"<!doctype html><html><title>T</title><body><p>Text</p></body></html>",
        "a.eml": b"From: a@example.org\nTo: b@example.org\nSubject: =?utf-8?q?x?=\n"
        b'Content-Type: multipart/mixed; boundary="b"\n\n--b\n\nText\n--b--\n',
        "a.tar.gz": gzip.compress(b"x" * 600),
        "a.zip": files.zipped({"a.txt": "abc" * 50, "b/c.txt": "x"}),
        "a.txt": "Some text – with signs\n".encode() * 20,
    }


def mutate(data: bytes, random_: random.Random) -> bytes:
    """The data with some bytes changed, cut, repeated or inserted."""
    changed = bytearray(data)
    for _ in range(random_.choice((1, 1, 2, 5, 20))):
        at = random_.randrange(len(changed)) if changed else 0
        match random_.randrange(6):
            case 0 | 1:
                changed[at : at + 1] = bytes([random_.randrange(256)])
            case 2:
                del changed[at : at + random_.choice((1, 4, 64, len(changed)))]
            case 3:
                changed[at:at] = changed[at : at + random_.choice((4, 64, 1_000))]
            case 4:
                changed[at : at + 4] = random_.choice(_NUMBERS)
            case _:
                digits = random_.choice((b"999999999", b"-1", b"0", b"1e99"))
                changed[at : at + 1] = digits
    return bytes(changed)


_NUMBERS = (
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
)


def mutate_member(data: bytes, random_: random.Random) -> bytes:
    """A ZIP container with one member mutated, so that its parser sees the damage."""
    members = dict(_members(data))
    name = random_.choice(sorted(members))
    members[name] = mutate(members[name], random_)
    return files.zipped(members, stored=["mimetype"])
